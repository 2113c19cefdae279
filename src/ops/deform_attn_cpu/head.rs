//! Rows of one head of one image. In (B,S,M,D) they lie M·D numbers apart, a power of two as a rule: few cache sets and
//! many pages. Where most rows are read more than once, one copy of them side by side pays: it halves the time.

use std::ops::Range;

use super::samples::Sizes;
use crate::ops::simd::instruction_set::InstructionSet;
use crate::ops::simd::numbers::{Element, Real};

/// Copies that a thread reuses from task to task.
pub(super) struct Scratch<E: Element> {
    value: Vec<E>,
    grad: Vec<E::Real>,
}

impl<E: Element> Default for Scratch<E> {
    fn default() -> Self {
        Self { value: vec![], grad: vec![] }
    }
}

/// One head of one image, and some of its cells.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) image: usize,
    pub(super) head: usize,
    pub(super) cells: Range<usize>,
}

/// Where row `cell` lies: at `origin` + `cell` · `stride`.
#[derive(Clone, Copy)]
pub(super) struct Rows<P> {
    origin: P,
    stride: usize,
}

impl<T> Rows<*const T> {
    /// N numbers of row `cell` from `channel` on.
    ///
    /// # Safety
    /// `cell` is one of the head's cells and channel + N ≤ D.
    #[inline(always)]
    pub(super) unsafe fn block<const N: usize>(&self, cell: i32, channel: usize) -> &[T; N] {
        &*self.origin.wrapping_add(cell as usize * self.stride + channel).cast()
    }
}

impl<T> Rows<*mut T> {
    /// N numbers of row `cell` from `channel` on.
    ///
    /// # Safety
    /// `cell` is one of the head's cells, channel + N ≤ D, and nobody else holds this block.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // a view of memory that the task owns
    pub(super) unsafe fn block_mut<const N: usize>(&self, cell: i32, channel: usize) -> &mut [T; N] {
        &mut *self.origin.wrapping_add(cell as usize * self.stride + channel).cast()
    }
}

impl Head {
    fn first(&self, sizes: &Sizes) -> usize {
        (self.image * sizes.s * sizes.m + self.head) * sizes.d
    }

    /// The rows in `value` (B,S,M,D), copied side by side where the Q queries will read most of them again.
    #[inline(always)]
    pub(super) fn rows<'a, E: Element>(
        &self,
        sizes: &Sizes,
        value: &'a [E],
        scratch: &'a mut Scratch<E>,
    ) -> Rows<*const E> {
        let (first, stride, d) = (self.first(sizes), sizes.m * sizes.d, sizes.d);
        if 4 * sizes.q < sizes.s || sizes.m == 1 {
            return Rows { origin: value[first..].as_ptr(), stride };
        }
        scratch.value.clear();
        for cell in self.cells.clone() {
            scratch.value.extend_from_slice(&value[first + cell * stride..][..d]);
        }
        Rows { origin: scratch.value.as_ptr().wrapping_sub(self.cells.start * d), stride: d }
    }

    /// Zeroed rows to sum gradients in.
    #[inline(always)]
    pub(super) fn zeros<E: Element>(&self, sizes: &Sizes, scratch: &mut Scratch<E>) -> Rows<*mut E::Real> {
        scratch.grad.clear();
        scratch.grad.resize(self.cells.len() * sizes.d, E::Real::ZERO);
        Rows { origin: scratch.grad.as_mut_ptr().wrapping_sub(self.cells.start * sizes.d), stride: sizes.d }
    }

    /// Writes what was summed to `to` (B,S,M,D).
    ///
    /// # Safety
    /// `to` covers the whole tensor, and nobody else holds these rows.
    #[inline(always)]
    pub(super) unsafe fn write_sums<I: InstructionSet, E: Element>(
        &self,
        sizes: &Sizes,
        scratch: &Scratch<E>,
        to: *mut E,
    ) {
        let (first, stride) = (self.first(sizes), sizes.m * sizes.d);
        for (cell, row) in self.cells.clone().zip(scratch.grad.chunks_exact(sizes.d)) {
            let to = std::slice::from_raw_parts_mut(to.add(first + cell * stride), sizes.d);
            let ((blocks, rest), (to_blocks, to_rest)) = (row.as_chunks::<8>(), to.as_chunks_mut::<8>());
            for (from, to) in blocks.iter().zip(to_blocks) {
                E::store::<I, 8>(from, to);
            }
            for (from, to) in rest.iter().zip(to_rest) {
                E::store::<I, 1>(std::array::from_ref(from), std::array::from_mut(to));
            }
        }
    }
}
