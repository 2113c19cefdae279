//! Matching of predictions and ground truth, and the loss on the matched pairs (paper, section 3.3).
//!
//! All decoder layers go through together: [`Predictions`] are stacked (L, B, N, ·), [`Targets`] of all images lie one
//! after the other, T in all.

mod box_loss;
mod focal_loss;
mod hungarian_matcher;
mod linear_assignment;
mod predictions;
mod set_criterion;
mod targets;

pub use box_loss::box_losses;
pub use focal_loss::sigmoid_focal_loss;
pub use hungarian_matcher::{hungarian_matcher, Matching};
pub use linear_assignment::linear_assignment;
pub use predictions::Predictions;
pub use set_criterion::{set_criterion, Losses};
pub use targets::{Target, Targets};
