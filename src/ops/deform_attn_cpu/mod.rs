//! CPU kernels of [`super::ms_deform_attn`] and its fused form: forward and backward on contiguous slices, threads over
//! heads, and where those are few over queries or levels. Half types are stored, float32 is computed.
//!
//! A call comes in through `entry`; `samples` finds the cells, `head` lays out their rows, `forward` and `backward`
//! read and write them, compiled for each instruction set by `simd`.

mod backward;
mod entry;
mod forward;
mod head;
mod samples;

use super::simd::instruction_set::run;
use super::simd::numbers::Element;
use crate::threads;
use backward::{Gradients, SoftmaxRows};
use head::{Head, Scratch};
use samples::{Level, Points, Sizes, Stored};

/// value (B,S,M,D) and `points` -> out (B,Q,M,D), none of them empty.
fn forward<E: Element>(sizes: &Sizes, value: &[E], points: &Points<E>, out: &mut [E], threads: usize) {
    // One part per head reads a head's rows once; where that is too few for the threads, heads share their queries.
    let heads = sizes.b * sizes.m;
    let chunks = (2 * threads).div_ceil(heads).min(sizes.q);
    let out = forward::Output(out.as_mut_ptr());
    threads::for_each_with(threads, heads * chunks, Scratch::default, |scratch, index| {
        let (pair, chunk) = (index / chunks, index % chunks);
        let queries = chunk * sizes.q / chunks..(chunk + 1) * sizes.q / chunks;
        let head = Head { image: pair / sizes.m, head: pair % sizes.m, cells: 0..sizes.s };
        run(forward::Part { sizes, value, points, out, head, queries, scratch });
    });
}

/// Fills `grads` from grad_out (B,Q,M,D).
///
/// # Safety
/// Every non-null pointer of `grads` covers the whole tensor of its name.
unsafe fn backward<E: Element>(
    sizes: &Sizes,
    value: &[E],
    points: &Points<E>,
    grad_out: &[E],
    grads: &Gradients<E>,
    threads: usize,
) {
    // One part per head keeps an item's points together; where that is too few for the threads, one per level too.
    let heads = sizes.b * sizes.m;
    let split = heads < 2 * threads;
    let parts = if split { sizes.levels.len() } else { 1 };
    threads::for_each_with(threads, heads * parts, Scratch::default, |scratch, index| {
        let (pair, part) = (index / parts, index % parts);
        let levels = if split { part..part + 1 } else { 0..sizes.levels.len() };
        let range = levels.start * sizes.p..levels.end * sizes.p;
        let head = Head { image: pair / sizes.m, head: pair % sizes.m, cells: sizes.cells(levels) };
        let part = backward::Part { sizes, value, points, grad_out, grads, head, range };
        run(backward::Work { part, scratch });
    });
    if matches!(points, Points::Offset { .. }) && !grads.weights.is_null() {
        // SAFETY: covers the whole tensor, and the parts are done with it.
        let grads = unsafe { std::slice::from_raw_parts_mut(grads.weights, sizes.items() * sizes.points()) };
        softmax_backward(sizes, points, grads, threads);
    }
}

fn softmax_backward<E: Element>(sizes: &Sizes, points: &Points<E>, grads: &mut [E::Real], threads: usize) {
    const ITEMS: usize = 256;
    let per_item = sizes.points();
    threads::for_each_chunk(threads, grads, ITEMS * per_item, |chunk, grads| {
        run(SoftmaxRows { points, first: chunk * ITEMS, per_item, grads });
    });
}
