//! Differentiable operators without parameters: tensors in, tensors out.

pub mod deform_attn;
mod deform_attn_cpu;
pub mod deform_attn_cuda;
mod deform_attn_entry;
pub mod deform_attn_reference;
mod dropout;

pub use deform_attn::{ms_deform_attn, ms_deform_attn_fused};
pub use deform_attn_cpu::instruction_set::name as cpu_instruction_set;
pub use dropout::dropout;
