//! Ground truth of a batch, as the criterion takes it.

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
    pub(super) fn read<T: Copy + Into<f64>>(&self, config: &DsctConfig, host: &[T]) -> Result<Vec<Subject>> {
        let (boxes, labels) = host.split_at(4 * self.len());
        let classes = config.num_classes as usize;
        let mut subjects = Vec::with_capacity(self.len());
        for image in 0..self.batch() {
            let refuse = |key: &str, expected: &str, got: &[f64]| {
                Error::argument("criterion", &format!("targets[{image}][\"{key}\"]"), expected, got)
            };
            for subject in self.starts[image]..self.starts[image + 1] {
                let bounds = std::array::from_fn(|side| boxes[4 * subject + side].into());
                if bounds.iter().any(|side: &f64| !side.is_finite()) || bounds[2] < 0.0 || bounds[3] < 0.0 {
                    return Err(refuse("boxes", "finite cx, cy, w, h with w, h >= 0", &bounds));
                }
                let shows: Vec<bool> = if config.multi_label {
                    let row: Vec<f64> = labels[subject * classes..][..classes].iter().map(|&x| x.into()).collect();
                    if row.iter().any(|&x| x != 0.0 && x != 1.0) {
                        return Err(refuse("labels", "0 or 1 everywhere", &row));
                    }
                    row.iter().map(|&x| x == 1.0).collect()
                } else {
                    let label: f64 = labels[subject].into();
                    if !(0.0..classes as f64).contains(&label) {
                        return Err(refuse("labels", &format!("class numbers from 0 to {}", classes - 1), &[label]));
                    }
                    (0..classes).map(|class| class as f64 == label).collect()
                };
                subjects.push(Subject { bounds, shows });
            }
        }
        Ok(subjects)
    }
}

/// One subject as numbers.
pub(super) struct Subject {
    /// Centre and size.
    pub bounds: [f64; 4],
    /// Whether it shows each of the C classes.
    pub shows: Vec<bool>,
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
