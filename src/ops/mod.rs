//! Differentiable operators without parameters: tensors in, tensors out.

mod c_abi;
#[cfg(feature = "torch")]
pub mod deform_attn;
mod deform_attn_cpu;
pub mod deform_attn_cuda;
pub mod deform_attn_reference;
#[cfg(feature = "torch")]
mod dispatcher;
#[cfg(feature = "torch")]
mod dropout;
mod dropout_cpu;
mod simd;

pub use c_abi::DTYPE_CODES;
#[cfg(feature = "torch")]
pub use deform_attn::{ms_deform_attn, ms_deform_attn_fused};
#[cfg(feature = "torch")]
pub use dropout::dropout;
pub use simd::instruction_set::name as cpu_instruction_set;
