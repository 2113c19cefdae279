#![doc = include_str!("../README.md")]

pub mod average_precision;
pub mod boxes;
pub mod checkpoint;
pub mod config;
pub mod criterion;
pub mod error;
mod memory;
pub mod model;
pub mod ops;
pub mod params;
pub mod photo;
pub mod post_process;
#[cfg(feature = "python")]
mod python;
mod threads;

pub use config::DsctConfig;
pub use error::{Error, Result};
pub use model::Dsct;
pub use params::Params;
