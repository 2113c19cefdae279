//! What the decoder layers predict, as the criterion takes it.

use tch::{Kind, Tensor};

use crate::{DsctConfig, Error, Result};

/// Outputs of all L decoder layers, checked. float32, or float64 where that came: half precision is widened.
pub struct Predictions {
    /// (L, B, N, C'), the last layer last.
    pub logits: Tensor,
    /// (L, B, N, 4), centre and size in [0, 1].
    pub boxes: Tensor,
}

/// What messages call the output `name` of `layer`, in terms of the model's output.
pub(super) fn output_name(name: &str, layer: usize, layers: usize) -> String {
    if layer + 1 == layers {
        name.to_owned()
    } else {
        format!("aux_outputs[{layer}][\"{name}\"]")
    }
}

/// A shape as Python writes it.
pub(super) fn shape(size: &[i64]) -> String {
    format!("{size:?}").replace('[', "(").replace(']', ")")
}

fn stack(name: &str, layers: &[Tensor], width: i64) -> Result<Tensor> {
    let expected = layers.last().map(Tensor::size).unwrap_or_default();
    for (index, tensor) in layers.iter().enumerate().rev() {
        let (name, size) = (output_name(name, index, layers.len()), tensor.size());
        if size.len() != 3 || size[2] != width {
            return Err(Error::argument("criterion", &name, format!("(B, N, {width})"), size));
        }
        if size != expected {
            return Err(Error::argument(
                "criterion",
                &name,
                format!("of the last layer's shape {}", shape(&expected)),
                size,
            ));
        }
        if !tensor.is_floating_point() {
            return Err(Error::Type(format!("criterion: {name} must be floating point, got {:?}", tensor.kind())));
        }
    }
    let stacked = Tensor::f_stack(layers, 0)?;
    Ok(match stacked.kind() {
        Kind::Float | Kind::Double => stacked,
        _ => stacked.f_to_kind(Kind::Float)?,
    })
}

impl Predictions {
    /// Stacks `logits` (B, N, C') and `boxes` (B, N, 4), one of each per decoder layer, the last layer last.
    ///
    /// # Errors
    /// Shapes, dtypes and devices that do not fit, by the names that they have in the model's output.
    pub fn stack(config: &DsctConfig, logits: &[Tensor], boxes: &[Tensor]) -> Result<Self> {
        if logits.is_empty() || logits.len() != boxes.len() {
            let got = (logits.len(), boxes.len());
            return Err(Error::argument("criterion", "outputs", "logits and boxes of at least one layer", got));
        }
        let logits = stack("pred_logits", logits, config.num_logits())?;
        let boxes = stack("pred_boxes", boxes, 4)?;
        if logits.size()[..3] != boxes.size()[..3] {
            let expected = format!("(B, N, 4) with (B, N) = {} of pred_logits", shape(&logits.size()[1..3]));
            return Err(Error::argument("criterion", "pred_boxes", expected, &boxes.size()[1..]));
        }
        if logits.device() != boxes.device() {
            let expected = format!("on the device of pred_logits, {:?}", logits.device());
            return Err(Error::argument("criterion", "pred_boxes", expected, boxes.device()));
        }
        Ok(Self { logits, boxes })
    }

    /// Decoder layers L.
    pub fn layers(&self) -> usize {
        self.logits.size()[0] as usize
    }

    /// Images B.
    pub fn batch(&self) -> usize {
        self.logits.size()[1] as usize
    }

    /// Subject queries N.
    pub fn queries(&self) -> usize {
        self.logits.size()[2] as usize
    }
}
