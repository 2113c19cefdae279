//! Forward: out[item] = Σ over points and corners of weight · value row.

use std::ops::Range;

use super::head::{Head, Rows, Scratch};
use super::samples::{Located, Points, Samples, Sizes, LANES};
use crate::ops::simd::instruction_set::{InstructionSet, Task};
use crate::ops::simd::numbers::{Element, Real};

/// One head of one image for some of the queries.
pub(super) struct Part<'a, E: Element> {
    pub(super) sizes: &'a Sizes,
    /// (B,S,M,D).
    pub(super) value: &'a [E],
    pub(super) points: &'a Points<'a, E>,
    /// (B,Q,M,D).
    pub(super) out: Output<E>,
    pub(super) head: Head,
    pub(super) queries: Range<usize>,
    pub(super) scratch: &'a mut Scratch<E>,
}

/// The whole output, of which every task writes its own rows.
#[derive(Clone, Copy)]
pub(super) struct Output<E>(pub(super) *mut E);
// SAFETY: tasks write disjoint elements, see `Part`.
unsafe impl<E> Send for Output<E> {}
// SAFETY: as above.
unsafe impl<E> Sync for Output<E> {}

impl<E: Element> Task for Part<'_, E> {
    #[inline(always)]
    fn run<I: InstructionSet>(self) {
        let (sizes, (m, d)) = (self.sizes, (self.sizes.m, self.sizes.d));
        let rows = self.head.rows(sizes, self.value, self.scratch);
        let mut samples = Samples::new(sizes);
        for query in self.queries {
            let item = (self.head.image * sizes.q + query) * m + self.head.head;
            samples.take::<I, E>(self.points, item, m);
            // SAFETY: the row of `item` lies in the output and belongs to this task.
            let out = unsafe { std::slice::from_raw_parts_mut(self.out.0.add(item * d), d) };
            gather::<I, E>(&samples, &rows, out);
        }
    }
}

/// The channels in blocks that fit the vector registers.
#[inline(always)]
fn gather<I: InstructionSet, E: Element>(samples: &Samples<E::Real>, rows: &Rows<*const E>, out: &mut [E]) {
    let (mut rest, mut channel) = (out, 0);
    macro_rules! blocks {
        ($($n:literal)*) => {$(
            let (blocks, others) = rest.as_chunks_mut::<$n>();
            for block in blocks {
                let sum = gather_block::<I, E, $n>(samples, rows, channel);
                E::store::<I, $n>(&sum, block);
                channel += $n;
            }
            rest = others;
        )*};
    }
    blocks!(32 16 8 1);
    debug_assert!(rest.is_empty());
}

#[inline(always)]
fn gather_block<I: InstructionSet, E: Element, const N: usize>(
    samples: &Samples<E::Real>,
    rows: &Rows<*const E>,
    channel: usize,
) -> [E::Real; N] {
    let mut sum = [E::Real::ZERO; N];
    for block in &samples.located {
        for lane in 0..LANES {
            if block.cells[0][lane] == Located::<E::Real>::NONE {
                continue;
            }
            for k in 0..4 {
                // SAFETY: a located cell is below S, and the blocks together are D channels.
                let row = E::load::<I, N>(unsafe { rows.block(block.cells[k][lane], channel) });
                let weight = block.weights[k][lane];
                for c in 0..N {
                    sum[c] = row[c].mul_add::<I>(weight, sum[c]);
                }
            }
        }
    }
    sum
}
