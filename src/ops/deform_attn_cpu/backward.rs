//! Backward: from the four dot products ⟨value row, grad_out⟩ of a point follow the gradients of its coordinates and
//! its attention weight; the value rows themselves receive weight · grad_out.

use std::ops::Range;

use super::head::{Head, Rows, Scratch};
use super::samples::{Lanes, Located, Points, Samples, Sizes, LANES};
use crate::ops::simd::instruction_set::{InstructionSet, Task};
use crate::ops::simd::numbers::{Element, Real};

/// Gradients that tasks share, null where nobody needs them; see `DsctDeformAttnGradients`.
pub(super) struct Gradients<E: Element> {
    pub(super) value: *mut E,
    pub(super) points: *mut E::Real,
    pub(super) weights: *mut E::Real,
}
// SAFETY: tasks write disjoint elements, see `Part`.
unsafe impl<E: Element> Send for Gradients<E> {}
// SAFETY: as above.
unsafe impl<E: Element> Sync for Gradients<E> {}

/// One head of one image in some of the levels. An element of any gradient belongs to one image, head and level, so
/// parts write without atomics, and every sum has one order: the same bits for any number of threads.
pub(super) struct Part<'a, E: Element> {
    pub(super) sizes: &'a Sizes,
    /// (B,S,M,D).
    pub(super) value: &'a [E],
    pub(super) points: &'a Points<'a, E>,
    /// (B,Q,M,D).
    pub(super) grad_out: &'a [E],
    pub(super) grads: &'a Gradients<E>,
    pub(super) head: Head,
    /// The points that lie in the cells of `head`, among the L·P.
    pub(super) range: Range<usize>,
}

/// ⟨value row, grad_out⟩ for the four corners of eight points.
type Dots<T> = [Lanes<T>; 4];

/// A part and the memory of the thread that works on it.
pub(super) struct Work<'a, E: Element> {
    pub(super) part: Part<'a, E>,
    pub(super) scratch: &'a mut Scratch<E>,
}

impl<E: Element> Task for Work<'_, E> {
    #[inline(always)]
    fn run<I: InstructionSet>(self) {
        let Self { part, scratch } = self;
        let (sizes, head, d) = (part.sizes, &part.head, part.sizes.d);
        let value = head.rows(sizes, part.value, scratch);
        let sums = (!part.grads.value.is_null()).then(|| head.zeros(sizes, scratch));
        let mut samples = Samples::new(sizes);
        let mut dots = vec![[[E::Real::ZERO; LANES]; 4]; samples.located.len()];
        for query in 0..sizes.q {
            let item = (head.image * sizes.q + query) * sizes.m + head.head;
            samples.take::<I, E>(part.points, item, sizes.m);
            dots.fill([[E::Real::ZERO; LANES]; 4]);
            part.channels::<I>(&samples, &part.grad_out[item * d..][..d], &value, sums.as_ref(), &mut dots);
            part.write_points(&samples, &dots, item);
        }
        if sums.is_some() {
            // SAFETY: this task alone writes rows of its head and cells.
            unsafe { head.write_sums::<I, E>(sizes, scratch, part.grads.value) };
        }
    }
}

impl<E: Element> Part<'_, E> {
    /// The channels in blocks that fit the vector registers.
    #[inline(always)]
    fn channels<I: InstructionSet>(
        &self,
        samples: &Samples<E::Real>,
        grad: &[E],
        value: &Rows<*const E>,
        sums: Option<&Rows<*mut E::Real>>,
        dots: &mut [Dots<E::Real>],
    ) {
        let wants_dots = !self.grads.points.is_null() || !self.grads.weights.is_null();
        let (mut rest, mut channel) = (grad, 0);
        macro_rules! blocks {
            ($($n:literal)*) => {$(
                let (blocks, others) = rest.as_chunks::<$n>();
                for block in blocks {
                    let grad = E::load::<I, $n>(block);
                    if wants_dots {
                        self.multiply::<I, $n>(samples, &grad, value, channel, dots);
                    }
                    if let Some(sums) = sums {
                        self.scatter::<I, $n>(samples, &grad, sums, channel);
                    }
                    channel += $n;
                }
                rest = others;
            )*};
        }
        blocks!(32 16 8 1);
        debug_assert!(rest.is_empty());
    }

    /// Adds ⟨value, grad⟩ over N channels to the dot products.
    #[inline(always)]
    fn multiply<I: InstructionSet, const N: usize>(
        &self,
        samples: &Samples<E::Real>,
        grad: &[E::Real; N],
        value: &Rows<*const E>,
        channel: usize,
        dots: &mut [Dots<E::Real>],
    ) {
        for i in self.range.clone() {
            let (block, lane) = (&samples.located[i / LANES], i % LANES);
            if block.cells[0][lane] == Located::<E::Real>::NONE {
                continue;
            }
            let mut partial = [[E::Real::ZERO; 8]; 4];
            for (k, partial) in partial.iter_mut().enumerate() {
                // SAFETY: a located cell lies in its level, and the blocks together are D channels.
                let row = E::load::<I, N>(unsafe { value.block(block.cells[k][lane], channel) });
                *partial = E::Real::partial_dot::<I, N>(&row, grad);
            }
            let sums = E::Real::sum_rows::<I>(&partial);
            for k in 0..4 {
                dots[i / LANES][k][lane] += sums[k];
            }
        }
    }

    /// Adds weight · grad to N channels of the rows.
    #[inline(always)]
    fn scatter<I: InstructionSet, const N: usize>(
        &self,
        samples: &Samples<E::Real>,
        grad: &[E::Real; N],
        sums: &Rows<*mut E::Real>,
        channel: usize,
    ) {
        for i in self.range.clone() {
            let (block, lane) = (&samples.located[i / LANES], i % LANES);
            if block.cells[0][lane] == Located::<E::Real>::NONE {
                continue;
            }
            for k in 0..4 {
                // SAFETY: as in `multiply`; the sums belong to this task.
                let row = unsafe { sums.block_mut::<N>(block.cells[k][lane], channel) };
                let (old, weight) = (*row, block.weights[k][lane]);
                *row = std::array::from_fn(|c| grad[c].mul_add::<I>(weight, old[c]));
            }
        }
    }

    /// Derivatives with respect to cell coordinates (or locations) and attention weights, from the dot products.
    #[inline(always)]
    fn write_points(&self, samples: &Samples<E::Real>, dots: &[Dots<E::Real>], item: usize) {
        let first = item * self.sizes.points();
        let plain = matches!(self.points, Points::Located { .. });
        for i in self.range.clone() {
            let (block, lane) = (&samples.located[i / LANES], i % LANES);
            let s: [E::Real; 4] = std::array::from_fn(|k| dots[i / LANES][k][lane] * block.inside[k][lane]);
            let (fx, fy) = (block.fx[lane], block.fy[lane]);
            let (gx, gy) = (E::Real::ONE - fx, E::Real::ONE - fy);
            if !self.grads.points.is_null() {
                let attention = samples.attention[i / LANES][lane];
                let (width, height) = if plain { samples.map_size(i) } else { (E::Real::ONE, E::Real::ONE) };
                let dx = gy * (s[1] - s[0]) + fy * (s[3] - s[2]);
                let dy = gx * (s[2] - s[0]) + fx * (s[3] - s[1]);
                // SAFETY: the row of `item` lies in the tensor, and its `range` belongs to this task.
                unsafe {
                    *self.grads.points.add((first + i) * 2) = attention * width * dx;
                    *self.grads.points.add((first + i) * 2 + 1) = attention * height * dy;
                }
            }
            if !self.grads.weights.is_null() {
                let mean = gy * (gx * s[0] + fx * s[1]) + fy * (gx * s[2] + fx * s[3]);
                // SAFETY: as above.
                unsafe { *self.grads.weights.add(first + i) = mean };
            }
        }
    }
}

/// Turns gradients of attention weights into gradients of the logits, in place: a_i (g_i − Σ_j a_j g_j).
pub(super) struct SoftmaxRows<'a, E: Element> {
    pub(super) points: &'a Points<'a, E>,
    /// First of the items whose gradients these are.
    pub(super) first: usize,
    pub(super) per_item: usize,
    pub(super) grads: &'a mut [E::Real],
}

impl<E: Element> Task for SoftmaxRows<'_, E> {
    #[inline(always)]
    fn run<I: InstructionSet>(self) {
        let n = self.per_item;
        let mut attention = vec![[E::Real::ZERO; LANES]; n.div_ceil(LANES)];
        for (item, grads) in self.grads.chunks_exact_mut(n).enumerate() {
            self.points.attention::<I>(self.first + item, n, &mut attention);
            let (blocks, rest) = grads.as_chunks_mut::<LANES>();
            let mut means = [E::Real::ZERO; LANES];
            for (a, g) in attention.iter().zip(blocks.iter()) {
                for l in 0..LANES {
                    means[l] += a[l] * g[l];
                }
            }
            let last = &attention[blocks.len()..].as_flattened()[..rest.len()];
            for (l, (&a, &g)) in last.iter().zip(rest.iter()).enumerate() {
                means[l] += a * g;
            }
            let mut mean = E::Real::ZERO;
            for part in means {
                mean += part;
            }
            for (a, g) in attention.iter().zip(blocks) {
                for l in 0..LANES {
                    g[l] = a[l] * (g[l] - mean);
                }
            }
            for (&a, g) in last.iter().zip(rest) {
                *g = a * (*g - mean);
            }
        }
    }
}
