//! DSCT (work in progress).

#![deny(missing_docs)]

pub mod config;
pub mod error;
pub mod model;
pub mod ops;
pub mod params;
#[cfg(feature = "python")]
mod python;

pub use config::DsctConfig;
pub use error::{Error, Result};
pub use model::Dsct;
pub use params::Params;
