//! C entry points of the CUDA kernels, as declared in `cuda/registration/deform_attn.h`: plan, load, launch. No panic
//! crosses.

use std::ffi::c_void;
use std::panic::catch_unwind;

use super::call::{supports, Call};
use super::driver::{device, Device};
use super::modules::{self, Unit};
use super::params::DeformAttnParams;
use super::pass::Pass;
use super::plan::{self, Launch, Wants};
use crate::ops::c_abi::{status, DeformAttnGradients, DeformAttnInputs, DeformAttnShape};

/// Launches in order, in the context of the device. `complete` adds where the results go.
///
/// # Safety
/// All pointers are valid on the device until the kernels have run, and `stream` belongs to it.
unsafe fn run(
    device: &Device,
    call: &Call,
    (unit, launches): (Unit, &[Launch]),
    stream: *mut c_void,
    complete: impl Fn(&mut DeformAttnParams),
) -> Result<(), String> {
    let current = device.enter()?;
    for launch in launches {
        let mut params = DeformAttnParams::new(call, &unit.0, launch);
        complete(&mut params);
        let named = |error| format!("CUDA kernel {}: {error}", launch.kernel);
        let kernel = modules::kernel(&current, unit, launch).map_err(named)?;
        current.launch(kernel, launch, &params, stream).map_err(named)?;
    }
    Ok(())
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cuda_supports(shape: &DeformAttnShape, inputs: &DeformAttnInputs) -> i32 {
    i32::from(catch_unwind(|| supports(&Call::new(shape, inputs)).is_ok()).unwrap_or(false))
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`: contiguous tensors of the sizes in `shape` on `device`.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cuda_forward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    out: *mut c_void,
    ordinal: i32,
    stream: *mut c_void,
) -> i32 {
    status(|| {
        let call = Call::new(shape, inputs);
        supports(&call)?;
        let device = device(ordinal)?;
        let (specialisation, launch) = plan::forward(&call, &device.gpu);
        run(device, &call, ((specialisation, Pass::Forward), &[launch]), stream, |params| params.out = out)
    })
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`: contiguous tensors of the sizes in `shape` on `device`, or null
/// gradients.
#[no_mangle]
unsafe extern "C" fn dsct_deform_attn_cuda_backward(
    shape: &DeformAttnShape,
    inputs: &DeformAttnInputs,
    grad_out: *const c_void,
    grads: &DeformAttnGradients,
    fixed_point: *mut c_void,
    bound: *const f64,
    ordinal: i32,
    stream: *mut c_void,
) -> i32 {
    status(|| {
        let call = Call::new(shape, inputs);
        supports(&call)?;
        let device = device(ordinal)?;
        let wants =
            Wants { value: !grads.value.is_null(), points: !grads.points.is_null(), weights: !grads.weights.is_null() };
        let (specialisation, launches) = plan::backward(&call, &device.gpu, wants, !fixed_point.is_null());
        run(device, &call, ((specialisation, Pass::Backward), &launches), stream, |params| {
            params.grad_out = grad_out;
            params.grad_value = grads.value;
            params.grad_points = grads.points;
            params.grad_weights = grads.weights;
            params.fixed_point = fixed_point;
            params.bound = bound;
        })
    })
}
