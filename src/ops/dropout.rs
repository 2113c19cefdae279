//! Dropout, and relu with dropout in one pass, without a stored mask.
//!
//! The kernel of the CPU is in `dropout_cpu`; on other devices torch's own dropout runs.

use std::ffi::c_void;

use tch::{Device, Kind, Tensor};

use super::dispatcher::{call, pointer, Failure};
use crate::Result;

extern "C" {
    fn dsct_dropout(
        input: *const c_void,
        p: f64,
        seed: *const c_void,
        relu: bool,
        failure: *mut Failure,
    ) -> *mut c_void;
}

/// Zeroes each number with probability `p`, and divides the others by 1 − p; before that a relu where asked for. Draws
/// one number from torch's global generator. Same shape and dtype as `input`, always a tensor of its own.
///
/// # Errors
/// Torch's.
pub fn dropout(input: &Tensor, p: f64, relu: bool) -> Result<Tensor> {
    if input.device() == Device::Cpu {
        let seed = Tensor::f_randint(i64::MAX, [], (Kind::Int64, Device::Cpu))?;
        let [input, seed] = [input, &seed].map(pointer);
        // SAFETY: the tensors outlive the call, and the callee lets no exception out.
        return call(|failure| unsafe { dsct_dropout(input, p, seed, relu, failure) });
    }
    let input = if relu { input.f_relu()? } else { input.shallow_clone() };
    Ok(input.f_dropout(p, true)?)
}
