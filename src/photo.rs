//! Image files for Rust programs: read, resize as in evaluation, normalise. Python reads images with Pillow instead,
//! which also knows EXIF orientation and CMYK.

use std::path::Path;

use ndarray::{concatenate, s, Array3, ArrayView3, Axis};
use tch::{vision, Kind, Tensor};

use crate::checkpoint::Preprocess;
use crate::{Error, Result};

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

/// Reads a JPEG or PNG as RGB: (3, H, W) uint8. Grey becomes three equal channels, alpha is dropped.
///
/// # Errors
/// The file is missing or no image.
pub fn read(path: impl AsRef<Path>) -> Result<Array3<u8>> {
    let path = path.as_ref();
    std::fs::metadata(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let image = vision::image::load(path).map_err(|e| Error::Value(format!("{}: {e}", path.display())))?;
    let (channels, h, w) = image.size3()?;
    let size = (channels as usize, h as usize, w as usize);
    let image = Array3::from_shape_vec(size, Vec::try_from(image.f_flatten(0, -1)?)?)?;
    match size.0 {
        1 | 2 => {
            let grey = image.slice(s![..1, .., ..]);
            Ok(concatenate![Axis(0), grey, grey, grey])
        }
        3 => Ok(image),
        4 => Ok(image.slice_move(s![..3, .., ..])),
        _ => Err(Error::argument("photo", "image", "(1 to 4, H, W)", image.shape())),
    }
}

/// Resizes (3, H, W) uint8 as in evaluation, scales to [0, 1], normalises and adds the batch dimension:
/// (1, 3, H', W') float32.
///
/// # Errors
/// Another shape, or one without pixels; torch's.
pub fn prepare(image: ArrayView3<u8>, preprocess: Preprocess) -> Result<Tensor> {
    let (channels, h, w) = image.dim();
    if channels != 3 || h == 0 || w == 0 {
        return Err(Error::argument("photo", "image", "(3, H, W), at least one pixel", image.shape()));
    }
    let (h, w) = (h as i64, w as i64);
    let pixels: Vec<u8> = image.iter().copied().collect();
    let mut batch = Tensor::f_from_slice(&pixels)?.f_view([1, 3, h, w])?;
    let size = resized(h, w, preprocess);
    if size != [h, w] {
        // Of 8-bit pixels, which it rounds after each direction, as Pillow does.
        batch = batch.f_internal_upsample_bilinear2d_aa(size, false, None, None)?;
    }
    let row = |values: [f64; 3]| -> Result<Tensor> {
        Ok(Tensor::f_from_slice(&values)?.f_to_kind(Kind::Float)?.f_view([1, 3, 1, 1])?)
    };
    let pixels = batch.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?;
    Ok(pixels.f_sub(&row(IMAGENET_MEAN)?)?.f_div(&row(IMAGENET_STD)?)?)
}

/// [height, width] after the evaluation resize, with torchvision's rounding.
fn resized(h: i64, w: i64, Preprocess { short_side, long_side }: Preprocess) -> [i64; 2] {
    let Some(short_side) = short_side else { return [h, w] };
    let (short, long) = (h.min(w), h.max(w));
    let (mut new_short, mut new_long) = (short_side, short_side * long / short);
    if new_long > long_side {
        (new_short, new_long) = (long_side * new_short / new_long, long_side);
    }
    if h < w {
        [new_short, new_long]
    } else {
        [new_long, new_short]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_another_shape_is_refused() {
        for shape in [(1, 4, 4), (3, 0, 4), (3, 4, 0)] {
            let text = prepare(Array3::zeros(shape).view(), Preprocess::default()).unwrap_err().to_string();
            assert!(text.starts_with("photo: image must be (3, H, W), at least one pixel, got ("), "{text}");
        }
    }

    #[test]
    fn any_layout_is_the_same_image() {
        let image = Array3::from_shape_fn((3, 5, 7), |(c, y, x)| (80 * c + 13 * y + x) as u8);
        let rule = Preprocess { short_side: Some(8), long_side: 20 };
        let by_pixel = image.view().permuted_axes([1, 2, 0]).as_standard_layout().into_owned();
        let (one, other) =
            (prepare(image.view(), rule).unwrap(), prepare(by_pixel.view().permuted_axes([2, 0, 1]), rule).unwrap());
        assert_eq!(one, other);
        assert_eq!(one.size(), [1, 3, 8, 11]);
    }

    #[test]
    fn resize_follows_the_short_side_until_the_long_side_is_full() {
        let rule = Preprocess::default();
        assert_eq!(resized(480, 640, rule), [800, 1066]);
        assert_eq!(resized(640, 480, rule), [1066, 800]);
        assert_eq!(resized(400, 1000, rule), [533, 1333]);
        assert_eq!(resized(240, 320, Preprocess { short_side: None, long_side: 1333 }), [240, 320]);
    }
}
