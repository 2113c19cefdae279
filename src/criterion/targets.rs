//! Ground truth of a batch, as the criterion takes it.

use ndarray::{Array2, ArrayView2};
use tch::{Device, Kind, Tensor};

use super::predictions::shape;
use crate::{DsctConfig, Error, Result};

/// Ground truth of one image with n subjects.
pub struct Target {
    /// (n,) int64 class numbers, or (n, C) of 0 and 1 for a multi-label configuration.
    pub labels: Tensor,
    /// (n, 4), centre and size in [0, 1].
    pub boxes: Tensor,
}

/// The T subjects of all images, checked, one image after the other.
pub struct Targets {
    /// (T,) int64, or (T, C) in the dtype of `boxes`.
    pub labels: Tensor,
    /// (T, 4) in the dtype of the predicted boxes.
    pub boxes: Tensor,
    /// The subjects of image b are `starts[b]..starts[b + 1]`.
    pub starts: Vec<usize>,
}

impl Targets {
    /// Checks and concatenates the targets of a batch. Values are checked by the matcher, which sees them on the host.
    ///
    /// # Errors
    /// Shapes, dtypes and devices that do not fit, by `targets[i]` and key.
    pub fn new(config: &DsctConfig, targets: &[Target], device: Device, kind: Kind) -> Result<Self> {
        let mut starts = vec![0];
        for (image, target) in targets.iter().enumerate() {
            check(config, image, target, device)?;
            starts.push(starts[image] + target.boxes.size()[0] as usize);
        }
        // Images without people may hold empty tensors of any shape and dtype, such as torch.tensor([]).
        let inhabited = |image: &usize| starts[image + 1] > starts[*image];
        let of = |part: fn(&Target) -> &Tensor| -> Vec<&Tensor> {
            (0..targets.len()).filter(inhabited).map(|image| part(&targets[image])).collect()
        };
        let join = |tensors: Vec<&Tensor>, width: &[i64], kind: Kind| {
            if tensors.is_empty() {
                let size: Vec<i64> = std::iter::once(0).chain(width.iter().copied()).collect();
                return Tensor::f_zeros(size, (kind, device));
            }
            Tensor::f_cat(&tensors, 0)?.f_to_kind(kind)
        };
        let labels = of(|target| &target.labels);
        let labels = match config.multi_label {
            true => join(labels, &[config.num_classes], kind)?,
            false => join(labels, &[], Kind::Int64)?,
        };
        Ok(Self { labels, boxes: join(of(|target| &target.boxes), &[4], kind)?, starts })
    }

    /// Images B.
    pub fn batch(&self) -> usize {
        self.starts.len() - 1
    }

    /// Subjects T of all images.
    pub fn len(&self) -> usize {
        self.starts[self.batch()]
    }

    /// Whether no image has a subject.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The subjects as numbers, from `host`: boxes (T, 4), then labels (T,) or (T, C).
    ///
    /// # Errors
    /// A box that is not finite or has a negative side, a label that is not a class, not 0 or not 1.
    pub(super) fn read<T: Copy + Into<f64>>(&self, config: &DsctConfig, host: &[T]) -> Result<Subjects> {
        let (subjects, classes) = (self.len(), config.num_classes as usize);
        let (bounds, labels) = host.split_at(4 * subjects);
        let width = if config.multi_label { classes } else { 1 };
        let bounds = ArrayView2::from_shape((subjects, 4), bounds)?.mapv(Into::into);
        let labels = ArrayView2::from_shape((subjects, width), labels)?.mapv(Into::into);
        self.check_values(config, &bounds, &labels)?;
        let shows = match config.multi_label {
            true => labels.mapv(|label| label == 1.0),
            false => Array2::from_shape_fn((subjects, classes), |(row, class)| labels[[row, 0]] == class as f64),
        };
        Ok(Subjects { bounds, shows })
    }

    fn check_values(&self, config: &DsctConfig, bounds: &Array2<f64>, labels: &Array2<f64>) -> Result<()> {
        for image in 0..self.batch() {
            let refuse = |key: &str, expected: &str, got: Vec<f64>| {
                Err(Error::argument("criterion", &format!("targets[{image}][\"{key}\"]"), expected, got))
            };
            for subject in self.starts[image]..self.starts[image + 1] {
                let (bounds, labels) = (bounds.row(subject), labels.row(subject));
                if bounds.iter().any(|side| !side.is_finite()) || bounds[2] < 0.0 || bounds[3] < 0.0 {
                    return refuse("boxes", "finite cx, cy, w, h with w, h >= 0", bounds.to_vec());
                }
                if config.multi_label && labels.iter().any(|&label| label != 0.0 && label != 1.0) {
                    return refuse("labels", "0 or 1 everywhere", labels.to_vec());
                }
                if !config.multi_label && !(0.0..config.num_classes as f64).contains(&labels[0]) {
                    let expected = format!("class numbers from 0 to {}", config.num_classes - 1);
                    return refuse("labels", &expected, labels.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// The T subjects of all images as numbers.
pub(super) struct Subjects {
    /// (T, 4) centre and size.
    pub bounds: Array2<f64>,
    /// (T, C) whether a subject shows a class.
    pub shows: Array2<bool>,
}

fn check(config: &DsctConfig, image: usize, target: &Target, device: Device) -> Result<()> {
    let Target { labels, boxes } = target;
    let argument = |key: &str| format!("targets[{image}][\"{key}\"]");
    let (size, label_size) = (boxes.size(), labels.size());
    let n = size.first().copied().unwrap_or(-1);
    if size != [n, 4] && size != [0] {
        return Err(Error::argument("criterion", &argument("boxes"), "(n, 4)", size));
    }
    let expected = if config.multi_label { vec![n, config.num_classes] } else { vec![n] };
    if label_size != expected && !(n == 0 && label_size.first() == Some(&0)) {
        let expected = format!("{}, one row per box", shape(&expected));
        return Err(Error::argument("criterion", &argument("labels"), expected, label_size));
    }
    if n > 0 && !boxes.is_floating_point() {
        return Err(Error::Type(format!(
            "criterion: {} must be floating point, got {:?}",
            argument("boxes"),
            boxes.kind()
        )));
    }
    if n > 0 && !config.multi_label && labels.kind() != Kind::Int64 {
        return Err(Error::Type(format!(
            "criterion: {} must be int64 class numbers, got {:?}",
            argument("labels"),
            labels.kind()
        )));
    }
    for (key, tensor) in [("labels", labels), ("boxes", boxes)] {
        if tensor.device() != device {
            let expected = format!("on the device of pred_logits, {device:?}");
            return Err(Error::argument("criterion", &argument(key), expected, tensor.device()));
        }
    }
    Ok(())
}
