//! Blocks with parameters, one file per block of the paper's Figure 3. Knows nothing of Python or of the loss.
//!
//! Shape letters: B images, Q queries (context first, then subjects), N subject and M_c context queries, M heads,
//! D channels per head, E = M·D, L levels, P points, S = Σ H_l·W_l, C classes.

pub mod backbone;
pub mod decoder;
pub mod dsct;
pub mod encoder;
pub mod heads;
pub mod input_projection;
pub mod layers;
pub mod ms_deform_attn;
pub mod position_encoding;
pub mod relational_aggregation;

pub use dsct::{Dsct, Output};

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Refuses a tensor whose sizes differ from `expected`, where `-1` fits anything.
pub(crate) fn check_shape(
    op: &'static str,
    argument: &str,
    tensor: &Tensor,
    letters: &str,
    expected: &[i64],
) -> Result<()> {
    let size = tensor.size();
    let fits = size.len() == expected.len() && size.iter().zip(expected).all(|(&got, &want)| want == -1 || got == want);
    if fits {
        return Ok(());
    }
    let sizes: Vec<String> = expected.iter().map(|&n| if n == -1 { "any".into() } else { n.to_string() }).collect();
    Err(Error::argument(op, argument, format!("{letters} = ({})", sizes.join(", ")), size))
}

/// Refuses a tensor whose first dimension is neither 1 nor B.
pub(crate) fn check_batch(op: &'static str, argument: &str, tensor: &Tensor, batch: i64) -> Result<()> {
    match tensor.size().first() {
        Some(&images) if images == 1 || images == batch => Ok(()),
        _ => Err(Error::argument(op, argument, format!("of 1 or B = {batch} images"), tensor.size())),
    }
}

/// Coordinates and softmax weights are computed in float32 beside half-precision features.
pub(crate) fn coordinate_kind(kind: Kind) -> Kind {
    if kind == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    }
}
