//! Backbone: a ResNet whose `layer2`, `layer3` and `layer4` outputs are the feature maps (paper, section 3 and Table 9).
//!
//! Must agree with torchvision's ResNets under their parameter names, without `fc`; bottlenecks stride in the 3×3
//! convolution. `tiny` has one basic block of 16, 32, 64 and 128 channels per stage. Differs in that a frozen batch
//! norm never runs on its own: its scale goes into the weights of the convolution before it, its shift into the bias,
//! at every call. That saves a pass over each activation and, under autocast, its promotion to float32.

use tch::Tensor;

use super::check_shape;
use super::layers::GroupNorm;
use crate::config::BACKBONES;
use crate::{Error, Params, Result};

/// Groups of a norm that is not a frozen batch norm.
const NORM_GROUPS: i64 = 8;

/// `backbone.0.body.{conv1, bn1, layer1 … layer4}`.
pub struct Backbone {
    stem: ConvNorm,
    stages: [Vec<Residual>; 4],
}

impl Backbone {
    /// Binds the architecture `name`, one of [`BACKBONES`]. Widths and kinds of norm are those of the parameters.
    ///
    /// # Errors
    /// An unknown name, or a parameter is missing.
    pub fn new(name: &str, params: &Params) -> Result<Self> {
        let (depths, kind) = architecture(name)?;
        let stage = |number: usize| {
            let at = params / format!("layer{number}");
            let block = |i| Residual::new(&(&at / i), kind, if i == 0 && number > 1 { 2 } else { 1 });
            (0..depths[number - 1]).map(block).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            stem: ConvNorm::new(&(params / "conv1"), &(params / "bn1"), 2)?,
            stages: [stage(1)?, stage(2)?, stage(3)?, stage(4)?],
        })
    }

    /// `images` (B, 3, H, W), ImageNet-normalised, in the parameters' dtype -> maps (B, C_l, H_l, W_l) at strides 8,
    /// 16 and 32. Each stride-2 step rounds sizes up.
    ///
    /// # Errors
    /// [`Error::Argument`] for another shape or an empty image, [`Error::Type`] for integers.
    pub fn forward(&self, images: &Tensor) -> Result<[Tensor; 3]> {
        check_images(images, self.stem.inputs)?;
        let stem = self.stem.forward(&channels_last(images)?)?.f_relu_()?.f_max_pool2d(
            [3, 3],
            [2, 2],
            [1, 1],
            [1, 1],
            false,
        )?;
        let [layer1, layer2, layer3, layer4] = &self.stages;
        let stride8 = run(layer2, &run(layer1, &stem)?)?;
        let stride16 = run(layer3, &stride8)?;
        let stride32 = run(layer4, &stride16)?;
        Ok([stride8, stride16, stride32])
    }
}

/// The same tensor with its channels side by side in memory. All convolutions, norms and sums after it keep that
/// layout: 1×1 convolutions are then plain matrix products, and flattening a map into rows of E copies nothing.
fn channels_last(images: &Tensor) -> Result<Tensor> {
    Ok(images.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// Kind of residual block.
#[derive(Clone, Copy)]
enum Kind {
    /// 3×3, 3×3.
    Basic,
    /// 1×1, 3×3, 1×1.
    Bottleneck,
}

/// Blocks per stage and their kind.
fn architecture(name: &str) -> Result<([usize; 4], Kind)> {
    match name {
        "tiny" => Ok(([1, 1, 1, 1], Kind::Basic)),
        "resnet18" => Ok(([2, 2, 2, 2], Kind::Basic)),
        "resnet34" => Ok(([3, 4, 6, 3], Kind::Basic)),
        "resnet50" | "wide_resnet50_2" => Ok(([3, 4, 6, 3], Kind::Bottleneck)),
        "resnet101" | "wide_resnet101_2" => Ok(([3, 4, 23, 3], Kind::Bottleneck)),
        "resnet152" => Ok(([3, 8, 36, 3], Kind::Bottleneck)),
        _ => Err(Error::argument("backbone", "name", format!("one of {}", BACKBONES.join(", ")), name)),
    }
}

fn check_images(images: &Tensor, channels: i64) -> Result<()> {
    check_shape("backbone", "images", images, "(B, 3, H, W)", &[-1, channels, -1, -1])?;
    if !images.f_is_floating_point()? {
        let kind = images.f_kind()?;
        return Err(Error::Type(format!("backbone: images must be a floating-point tensor, got {kind:?}")));
    }
    if images.size()[2..].contains(&0) {
        return Err(Error::argument("backbone", "images", "at least one pixel high and wide", images.size()));
    }
    Ok(())
}

/// One residual block: relu(convolutions(x) + shortcut(x)), with a relu between its convolutions.
struct Residual {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Residual {
    fn new(params: &Params, kind: Kind, stride: i64) -> Result<Self> {
        let layer = |i, stride| ConvNorm::new(&(params / format!("conv{i}")), &(params / format!("bn{i}")), stride);
        let (conv1, conv2, conv3) = match kind {
            Kind::Basic => (layer(1, stride)?, layer(2, 1)?, None),
            Kind::Bottleneck => (layer(1, 1)?, layer(2, stride)?, Some(layer(3, 1)?)),
        };
        let outputs = conv3.as_ref().unwrap_or(&conv2).outputs;
        let downsample = if stride != 1 || conv1.inputs != outputs {
            let at = params / "downsample";
            Some(ConvNorm::new(&(&at / 0), &(&at / 1), stride)?)
        } else {
            None
        };
        Ok(Self { conv1, conv2, conv3, downsample })
    }

    // In place only on what a convolution or a group norm returned: neither keeps its output for the gradient.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut out = self.conv2.forward(&self.conv1.forward(x)?.f_relu_()?)?;
        if let Some(conv3) = &self.conv3 {
            out = conv3.forward(&out.f_relu_()?)?;
        }
        let mut sum = match &self.downsample {
            Some(downsample) => out.f_add_(&downsample.forward(x)?)?,
            None => out.f_add_(x)?,
        };
        Ok(sum.f_relu_()?)
    }
}

fn run(stage: &[Residual], x: &Tensor) -> Result<Tensor> {
    stage.iter().try_fold(x.shallow_clone(), |x, block| block.forward(&x))
}

/// A convolution without bias, padded by half its kernel, and the norm after it.
struct ConvNorm {
    weight: Tensor,
    norm: Norm,
    inputs: i64,
    outputs: i64,
    stride: i64,
    padding: i64,
}

impl ConvNorm {
    fn new(convolution: &Params, norm: &Params, stride: i64) -> Result<Self> {
        let weight = convolution.get("weight")?;
        let (outputs, inputs, kernel, _) = weight.size4()?;
        Ok(Self { weight, norm: Norm::new(norm)?, inputs, outputs, stride, padding: kernel / 2 })
    }

    /// (B, inputs, H, W) -> (B, outputs, ⌈H / stride⌉, ⌈W / stride⌉), a tensor of its own.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.norm {
            Norm::Group(norm) => norm.forward(&self.convolve(x, &self.weight, None)?),
            Norm::Frozen(norm) => {
                let scale = norm.scale()?;
                let weight = self.weight.f_mul(&scale.f_reshape([-1, 1, 1, 1])?)?;
                self.convolve(x, &weight, Some(&norm.shift(&scale)?))
            }
        }
    }

    fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(x.f_conv2d(weight, bias, [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }
}

enum Norm {
    Frozen(FrozenBatchNorm),
    Group(GroupNorm),
}

impl Norm {
    fn new(params: &Params) -> Result<Self> {
        if params.has("running_mean") {
            Ok(Self::Frozen(FrozenBatchNorm::new(params)?))
        } else {
            Ok(Self::Group(GroupNorm::new(params, NORM_GROUPS)?))
        }
    }
}

/// y = x · scale + shift per channel, from four fixed tensors (C); eps 1e-5.
struct FrozenBatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl FrozenBatchNorm {
    fn new(params: &Params) -> Result<Self> {
        Ok(Self {
            weight: params.get("weight")?,
            bias: params.get("bias")?,
            running_mean: params.get("running_mean")?,
            running_var: params.get("running_var")?,
        })
    }

    fn scale(&self) -> Result<Tensor> {
        Ok(self.weight.f_mul(&self.running_var.f_add_scalar(1e-5)?.f_rsqrt()?)?)
    }

    fn shift(&self, scale: &Tensor) -> Result<Tensor> {
        Ok(self.bias.f_sub(&self.running_mean.f_mul(scale)?)?)
    }
}
