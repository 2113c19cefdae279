//! Differentiable operators without parameters: tensors in, tensors out.

mod c_abi;
pub mod deform_attn;
mod deform_attn_cpu;
pub mod deform_attn_cuda;
pub mod deform_attn_reference;
mod dispatcher;
mod dropout;
mod simd;

pub use c_abi::DTYPE_CODES;
pub use deform_attn::{ms_deform_attn, ms_deform_attn_fused};
pub use dropout::dropout;
pub use simd::instruction_set::name as cpu_instruction_set;
