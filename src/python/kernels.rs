//! The operators' kernels without a call: what is there, compiling ahead, what the compiler says.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use super::gateway::run;
use crate::ops::deform_attn_cuda::{self as kernels, Sizes, Status};

/// M, D, L, P.
type SizeNumbers = (u32, u32, u32, u32);
/// Name, registers, local bytes, static shared bytes.
type KernelRow = (String, u32, u32, u32);

fn sizes((heads, channels, levels, points): SizeNumbers) -> Sizes {
    Sizes { heads, channels, levels, points }
}

/// The instructions that the CPU kernels use.
#[pyfunction]
fn cpu_instruction_set() -> &'static str {
    crate::ops::cpu_instruction_set()
}

/// Code of each dtype that there are kernels for, by torch's name.
#[pyfunction]
fn dtype_codes(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    crate::ops::DTYPE_CODES.into_py_dict(py)
}

/// By name ("driver", "nvrtc", "cache"): whether it is there, and its version or place, or why it is not.
#[pyfunction]
fn cuda_status(py: Python<'_>) -> PyResult<BTreeMap<&'static str, (bool, String)>> {
    let Status { driver, nvrtc, cache } = run(py, || Ok(kernels::status()))?;
    let text = |found: Result<String, String>| match found {
        Ok(text) => (true, text),
        Err(reason) => (false, reason),
    };
    let driver = driver.map(|(major, minor)| format!("CUDA {major}.{minor}"));
    let nvrtc = nvrtc.map(|((major, minor), architectures)| {
        let names: Vec<_> = architectures.iter().map(u32::to_string).collect();
        format!("{major}.{minor}, compiles for {}", names.join(", "))
    });
    let cache = cache.map(|path| path.display().to_string());
    Ok(BTreeMap::from([("driver", text(driver)), ("nvrtc", text(nvrtc)), ("cache", text(cache))]))
}

/// Compiled, read from disk, known before: how many modules.
#[pyfunction]
fn cuda_warmup(py: Python<'_>, device: i32, dtype: i32, of: SizeNumbers) -> PyResult<(usize, usize, usize)> {
    let warmed = run(py, || kernels::warmup(device, dtype, sizes(of)))?;
    Ok((warmed.compiled, warmed.read, warmed.known))
}

/// Defines, bytes of machine code and kernels of each module.
#[pyfunction]
fn cuda_reports(
    py: Python<'_>,
    architecture: u32,
    dtype: i32,
    of: SizeNumbers,
) -> PyResult<Vec<(String, usize, Vec<KernelRow>)>> {
    let reports = run(py, || kernels::reports(architecture, dtype, sizes(of)))?;
    let kernel =
        |kernel: kernels::KernelReport| (kernel.kernel, kernel.registers, kernel.local_bytes, kernel.shared_bytes);
    let row = |report: kernels::Report| {
        (report.specialisation, report.cubin_bytes, report.kernels.into_iter().map(kernel).collect())
    };
    Ok(reports.into_iter().map(row).collect())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cpu_instruction_set, module)?)?;
    module.add_function(wrap_pyfunction!(dtype_codes, module)?)?;
    module.add_function(wrap_pyfunction!(cuda_status, module)?)?;
    module.add_function(wrap_pyfunction!(cuda_warmup, module)?)?;
    module.add_function(wrap_pyfunction!(cuda_reports, module)?)
}
