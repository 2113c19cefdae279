//! Differentiable operators without parameters: tensors in, tensors out.

pub mod deform_attn;
pub mod deform_attn_cpu;
pub mod deform_attn_reference;

pub use deform_attn::ms_deform_attn;
