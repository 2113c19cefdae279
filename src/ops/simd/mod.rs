//! Loops that become vector instructions: one text, compiled once for each instruction set that a processor may have.

pub(crate) mod instruction_set;
pub(crate) mod numbers;
#[cfg(target_arch = "x86_64")]
mod x86;
