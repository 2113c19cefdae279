//! CPU kernels of [`super::ms_deform_attn`]: forward and backward on contiguous slices, rayon over rows.
//!
//! Forward tasks own rows of the output; backward tasks own one (image, head) pair, so gradients need no atomics and
//! are the same bits in every run and for every number of threads. Half types are stored, float32 is computed.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::threads;

/// Arithmetic type of the kernels.
pub(super) trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    const ZERO: Self;
    const HALF: Self;
    const ONE: Self;
    fn from_size(n: i64) -> Self;
    fn floor(self) -> Self;
    fn to_index(self) -> i64;
}

macro_rules! impl_real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const HALF: Self = 0.5;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_size(n: i64) -> Self {
                n as $t
            }
            #[inline(always)]
            fn floor(self) -> Self {
                <$t>::floor(self)
            }
            #[inline(always)]
            fn to_index(self) -> i64 {
                self as i64
            }
        }
    };
}
impl_real!(f32);
impl_real!(f64);

/// Storage type of the value and the output, and the type it computes in.
pub(super) trait Element: Copy + Send + Sync + 'static {
    type Real: Real;
    fn load(self) -> Self::Real;
    fn store(real: Self::Real) -> Self;
}

macro_rules! impl_element {
    ($t:ty, $real:ty, $load:expr, $store:expr) => {
        impl Element for $t {
            type Real = $real;
            #[inline(always)]
            fn load(self) -> $real {
                $load(self)
            }
            #[inline(always)]
            fn store(real: $real) -> Self {
                $store(real)
            }
        }
    };
}
impl_element!(f32, f32, |x| x, |x| x);
impl_element!(f64, f64, |x| x, |x| x);
impl_element!(f16, f32, f16::to_f32, f16::from_f32);
impl_element!(bf16, f32, bf16::to_f32, bf16::from_f32);

/// Sizes of one call, checked by the registration; letters as in `cuda/deform_attn.h`.
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) s: usize,
    pub(super) m: usize,
    pub(super) d: usize,
    pub(super) q: usize,
    pub(super) p: usize,
    pub(super) levels: Vec<Level>,
}

/// One feature map; `start` is its first cell among the S.
pub(super) struct Level {
    pub(super) h: i64,
    pub(super) w: i64,
    pub(super) start: usize,
}

impl Sizes {
    /// L·P.
    pub(super) fn points(&self) -> usize {
        self.levels.len() * self.p
    }
}

/// The four cells around one sampling point; a corner outside the map has no cell.
struct Corners<T> {
    cells: [Option<usize>; 4],
    weights: [T; 4],
    fx: T,
    fy: T,
}

/// `None` when no corner lies inside, NaN coordinates included.
#[inline(always)]
fn corners<T: Real>(x: T, y: T, level: &Level) -> Option<Corners<T>> {
    let (w, h) = (T::from_size(level.w), T::from_size(level.h));
    let (x, y) = (x * w - T::HALF, y * h - T::HALF);
    let outside = T::ZERO - T::ONE;
    if !(x > outside && y > outside && x < w && y < h) {
        return None;
    }
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let (gx, gy) = (T::ONE - fx, T::ONE - fy);
    let (xi, yi) = (x0.to_index(), y0.to_index());
    let cell = |cx: i64, cy: i64| {
        let inside = cx >= 0 && cy >= 0 && cx < level.w && cy < level.h;
        inside.then(|| level.start + (cy * level.w + cx) as usize)
    };
    Some(Corners {
        cells: [cell(xi, yi), cell(xi + 1, yi), cell(xi, yi + 1), cell(xi + 1, yi + 1)],
        weights: [gy * gx, gy * fx, fy * gx, fy * fx],
        fx,
        fy,
    })
}

/// One output row of one head: `out[d] = Σ weights · value`. `DIM` is D where it is known at compile time, else 0.
#[inline(always)]
fn forward_item<E: Element, const DIM: usize>(
    sizes: &Sizes,
    value: &[E],
    locations: &[E::Real],
    weights: &[E::Real],
    sum: &mut [E::Real],
    head: usize,
) {
    let d = if DIM == 0 { sizes.d } else { DIM };
    let sum = &mut sum[..d];
    sum.fill(E::Real::ZERO);
    let mut point = 0;
    for level in &sizes.levels {
        for _ in 0..sizes.p {
            if let Some(c) = corners(locations[2 * point], locations[2 * point + 1], level) {
                for k in 0..4 {
                    if let Some(cell) = c.cells[k] {
                        let weight = c.weights[k] * weights[point];
                        let at = (cell * sizes.m + head) * d;
                        for (sum, value) in sum.iter_mut().zip(&value[at..at + d]) {
                            *sum += weight * value.load();
                        }
                    }
                }
            }
            point += 1;
        }
    }
}

/// value (B,S,M,D), locations (B,Q,M,L,P,2), weights (B,Q,M,L,P) -> out (B,Q,M,D), all contiguous.
pub(super) fn forward<E: Element, const DIM: usize>(
    sizes: &Sizes,
    value: &[E],
    locations: &[E::Real],
    weights: &[E::Real],
    out: &mut [E],
    threads: usize,
) {
    const ROWS: usize = 16;
    let (row, image, lp) = (sizes.m * sizes.d, sizes.s * sizes.m * sizes.d, sizes.points());
    let task = |(index, out): (usize, &mut [E])| {
        let mut sum = vec![E::Real::ZERO; sizes.d];
        for (item, out) in out.chunks_exact_mut(sizes.d).enumerate() {
            let item = index * ROWS * sizes.m + item;
            let value = &value[item / (sizes.q * sizes.m) * image..][..image];
            let (loc, att) = (&locations[item * lp * 2..][..lp * 2], &weights[item * lp..][..lp]);
            forward_item::<E, DIM>(sizes, value, loc, att, &mut sum, item % sizes.m);
            for (out, &sum) in out.iter_mut().zip(&sum) {
                *out = E::store(sum);
            }
        }
    };
    match threads::pool(threads) {
        Some(pool) => pool.install(|| out.par_chunks_mut(ROWS * row).enumerate().for_each(task)),
        None => out.chunks_mut(ROWS * row).enumerate().for_each(task),
    }
}

/// Output slices of the backward pass that tasks share. Each (image, head) task writes only its own rows.
pub(super) struct Gradients<T> {
    pub(super) value: *mut T,
    pub(super) locations: *mut T,
    pub(super) weights: *mut T,
}
// SAFETY: tasks write disjoint elements, see `backward`.
unsafe impl<T> Send for Gradients<T> {}
unsafe impl<T> Sync for Gradients<T> {}

/// # Safety
/// Every non-null pointer of `grads` covers the whole tensor of its name.
pub(super) unsafe fn backward<E: Element, const DIM: usize>(
    sizes: &Sizes,
    grad_out: &[E],
    value: &[E],
    locations: &[E::Real],
    weights: &[E::Real],
    grads: &Gradients<E::Real>,
    threads: usize,
) {
    // SAFETY (of the writes inside): an element of any gradient belongs to exactly one (image, head) pair.
    let task = |pair: usize| backward_head::<E, DIM>(sizes, grad_out, value, locations, weights, grads, pair);
    threads::map(threads, sizes.b * sizes.m, task);
}

fn backward_head<E: Element, const DIM: usize>(
    sizes: &Sizes,
    grad_out: &[E],
    value: &[E],
    locations: &[E::Real],
    weights: &[E::Real],
    grads: &Gradients<E::Real>,
    pair: usize,
) {
    let d = if DIM == 0 { sizes.d } else { DIM };
    let (image, head, lp) = (pair / sizes.m, pair % sizes.m, sizes.points());
    let mut out_row = vec![E::Real::ZERO; d];
    for q in 0..sizes.q {
        let item = (image * sizes.q + q) * sizes.m + head;
        for (real, &stored) in out_row.iter_mut().zip(&grad_out[item * d..]) {
            *real = stored.load();
        }
        for point in 0..lp {
            let index = item * lp + point;
            let level = &sizes.levels[point / sizes.p];
            let attention = weights[index];
            let at = corners(locations[2 * index], locations[2 * index + 1], level);
            let mut dots = [E::Real::ZERO; 4];
            if let Some(c) = &at {
                for (k, dot_product) in dots.iter_mut().enumerate() {
                    if let Some(cell) = c.cells[k] {
                        let start = ((image * sizes.s + cell) * sizes.m + head) * d;
                        *dot_product = dot::<E, DIM>(&value[start..start + d], &out_row);
                        if !grads.value.is_null() {
                            // SAFETY: `start..start + d` lies in grad_value and belongs to this pair.
                            let row = unsafe { std::slice::from_raw_parts_mut(grads.value.add(start), d) };
                            add_scaled(row, c.weights[k] * attention, &out_row);
                        }
                    }
                }
            }
            let (grad_x, grad_y, grad_weight) = point_gradients(at, dots, attention, level);
            // SAFETY: `index` lies in both tensors and belongs to this pair.
            unsafe {
                if !grads.locations.is_null() {
                    *grads.locations.add(2 * index) = grad_x;
                    *grads.locations.add(2 * index + 1) = grad_y;
                }
                if !grads.weights.is_null() {
                    *grads.weights.add(index) = grad_weight;
                }
            }
        }
    }
}

/// Derivatives with respect to (x, y, weight) from the four dot products ⟨value at corner, grad_out⟩.
#[inline(always)]
fn point_gradients<T: Real>(corners: Option<Corners<T>>, s: [T; 4], attention: T, level: &Level) -> (T, T, T) {
    let Some(c) = corners else { return (T::ZERO, T::ZERO, T::ZERO) };
    let (gx, gy) = (T::ONE - c.fx, T::ONE - c.fy);
    let dx = gy * (s[1] - s[0]) + c.fy * (s[3] - s[2]);
    let dy = gx * (s[2] - s[0]) + c.fx * (s[3] - s[1]);
    let weight = c.weights[0] * s[0] + c.weights[1] * s[1] + c.weights[2] * s[2] + c.weights[3] * s[3];
    (attention * T::from_size(level.w) * dx, attention * T::from_size(level.h) * dy, weight)
}

#[inline(always)]
fn dot<E: Element, const DIM: usize>(value: &[E], grad: &[E::Real]) -> E::Real {
    // Eight partial sums let the compiler use vector registers: float addition is not associative.
    let mut partial = [E::Real::ZERO; 8];
    let (chunks, rest) = (value.len() / 8 * 8, value.len() % 8);
    for (value, grad) in value[..chunks].chunks_exact(8).zip(grad.chunks_exact(8)) {
        for i in 0..8 {
            partial[i] += value[i].load() * grad[i];
        }
    }
    for i in 0..rest {
        partial[i] += value[chunks + i].load() * grad[chunks + i];
    }
    partial.into_iter().fold(E::Real::ZERO, |sum, x| sum + x)
}

#[inline(always)]
fn add_scaled<T: Real>(row: &mut [T], scale: T, grad: &[T]) {
    for (row, &grad) in row.iter_mut().zip(grad) {
        *row += scale * grad;
    }
}
