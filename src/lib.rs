#![doc = include_str!("../README.md")]

#[cfg(feature = "torch")]
pub mod average_precision;
#[cfg(feature = "torch")]
pub mod boxes;
#[cfg(feature = "torch")]
pub mod checkpoint;
#[cfg(feature = "torch")]
pub mod config;
#[cfg(feature = "torch")]
pub mod criterion;
pub mod error;
#[cfg(feature = "torch")]
mod memory;
#[cfg(feature = "torch")]
pub mod model;
pub mod ops;
#[cfg(feature = "torch")]
pub mod params;
#[cfg(feature = "torch")]
pub mod photo;
#[cfg(feature = "torch")]
pub mod post_process;
#[cfg(feature = "python")]
mod python;
mod threads;
#[cfg(not(feature = "torch"))]
mod torch_threads;

#[cfg(feature = "torch")]
pub use config::DsctConfig;
pub use error::{Error, Result};
#[cfg(feature = "torch")]
pub use model::Dsct;
#[cfg(feature = "torch")]
pub use params::Params;
