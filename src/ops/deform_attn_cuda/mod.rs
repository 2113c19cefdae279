//! The CUDA kernels at run time: compiled by NVRTC for the GPU at hand, launched through the driver on torch's stream.
//! Neither nvcc nor a CUDA header takes part in the build.
//!
//! A call comes in through `entry`, which describes it as a `call`, asks `plan` for kernels and grids, `modules` for the
//! compiled kernels (with `nvrtc` and `cache` behind it), fills in `params` and has `driver` launch them. What is compiled
//! is the text of a `pass` for a `specialisation`. `report` compiles without a GPU.

mod cache;
mod call;
mod driver;
mod entry;
mod modules;
mod nvrtc;
mod params;
mod pass;
mod plan;
mod report;
mod shared_library;
mod specialisation;

use crate::{Error, Result};

pub use report::{KernelReport, Report};

/// What the CUDA kernels need, and whether it is there. Opens libraries, initialises nothing.
#[derive(Clone, Debug)]
pub struct Status {
    /// CUDA version (major, minor) that the driver serves, or why there is no driver.
    pub driver: std::result::Result<(i32, i32), String>,
    /// Version of NVRTC and the compute capabilities (90 is 9.0) that it compiles for, or why there is no NVRTC.
    pub nvrtc: std::result::Result<((i32, i32), Vec<u32>), String>,
    /// The directory of compiled kernels, or why there is none.
    pub cache: std::result::Result<std::path::PathBuf, String>,
}

/// Looks for the driver, NVRTC and the cache directory.
pub fn status() -> Status {
    Status {
        driver: driver::library().and_then(driver::Driver::version),
        nvrtc: nvrtc::nvrtc().map(|nvrtc| (nvrtc.version, nvrtc.architectures.clone())),
        cache: cache::Cache::from_environment().directory().map(std::path::Path::to_owned),
    }
}

/// How many modules [`warmup`] compiled, read from disk and found loaded: two per specialisation, forward and backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Compiled just now.
    pub compiled: usize,
    /// Read from the disk cache.
    pub read: usize,
    /// Loaded before.
    pub known: usize,
}

/// Sizes that the kernels are specialised for; by default those of DSCT and of Deformable DETR.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Heads (M).
    pub heads: u32,
    /// Channels per head (D).
    pub channels: u32,
    /// Levels (L).
    pub levels: u32,
    /// Points per level (P).
    pub points: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { heads: 8, channels: 32, levels: 4, points: 4 }
    }
}

fn units(gpu: &call::Gpu, dtype: i32, sizes: Sizes) -> std::result::Result<Vec<modules::Unit>, String> {
    let specialisations = specialisation::specialisations(gpu, dtype, sizes)?;
    Ok(pass::Pass::ALL.iter().flat_map(|&pass| specialisations.iter().map(move |&one| (one, pass))).collect())
}

/// Compiles and loads what calls of these sizes and this dtype ([`DTYPE_CODES`](super::DTYPE_CODES)) will need on a
/// device: plain and fused, few queries and many. A CUDA graph capture afterwards meets no compilation.
///
/// # Errors
/// No kernel for these sizes; no driver, no NVRTC, or one of them refused.
pub fn warmup(ordinal: i32, dtype: i32, sizes: Sizes) -> Result<Warmed> {
    let warm = || {
        let device = driver::device(ordinal)?;
        let current = device.enter()?;
        let mut warmed = Warmed::default();
        for unit in units(&device.gpu, dtype, sizes)? {
            match modules::load(&current, unit)? {
                modules::Origin::Compiled => warmed.compiled += 1,
                modules::Origin::Disk => warmed.read += 1,
                modules::Origin::Memory => warmed.known += 1,
            }
        }
        Ok(warmed)
    };
    warm().map_err(Error::Cuda)
}

/// Compiles all kernels of these sizes and this dtype for a compute capability (90 is 9.0), with no GPU present.
///
/// # Errors
/// No kernel for these sizes; no NVRTC, or one that does not know the architecture; a compilation that fails.
pub fn reports(architecture: u32, dtype: i32, sizes: Sizes) -> Result<Vec<Report>> {
    let known = &nvrtc::nvrtc().map_err(Error::Cuda)?.architectures;
    if !known.contains(&architecture) {
        return Err(Error::Value(format!("NVRTC compiles for {known:?}, got {architecture}")));
    }
    let units = units(&call::Gpu::any(), dtype, sizes).map_err(Error::Cuda)?;
    units.into_iter().map(|unit| report::report(unit, architecture).map_err(Error::Cuda)).collect()
}
