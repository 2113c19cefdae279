//! The CPU kernel of `dropout`: number i is kept where a hash of (seed, i) says so. Threads share the work, the same seed
//! is the same mask for any number of threads, and the backward pass needs no mask in memory.

use std::ffi::c_void;

use super::c_abi::{checked_count, dispatch, slice, status};
use super::simd::instruction_set::{run, InstructionSet, Task};
use super::simd::numbers::{Element, Real};
use crate::threads;

/// Numbers that share a key.
const CHUNK: usize = 1 << 12;

/// `from` to `to`, of the same length.
fn dropout_cpu<E: Element>(from: &[E], to: &mut [E], p: f64, seed: u64, relu: bool, threads: usize) {
    threads::for_each_chunk(threads, to, CHUNK, |chunk, to| {
        let from = &from[chunk * CHUNK..][..to.len()];
        run(Chunk { from, to, p, key: key(seed, chunk as u64), relu });
    });
}

/// SplitMix64.
fn key(seed: u64, chunk: u64) -> u64 {
    let mut x = seed.wrapping_add(chunk.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A uniform number for number `i` of a chunk: a 32-bit mixer with low bias, keyed before and between its rounds.
#[inline(always)]
fn uniform(key: u64, i: u32) -> u32 {
    let mut x = i.wrapping_mul(0x9e37_79b1) ^ key as u32;
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_add((key >> 32) as u32).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

struct Chunk<'a, E> {
    from: &'a [E],
    to: &'a mut [E],
    p: f64,
    key: u64,
    relu: bool,
}

impl<E: Element> Task for Chunk<'_, E> {
    #[inline(always)]
    fn run<I: InstructionSet>(self) {
        let threshold = (self.p * 4_294_967_296.0) as u32;
        let scale = E::Real::ONE / E::Real::from_f64(1.0 - self.p);
        let least = if self.relu { E::Real::ZERO } else { E::Real::NEG_INFINITY };
        let (blocks, rest) = self.from.as_chunks::<8>();
        let (to_blocks, to_rest) = self.to.as_chunks_mut::<8>();
        for (block, (from, to)) in blocks.iter().zip(to_blocks).enumerate() {
            let mut x = E::load::<I, 8>(from);
            for (l, x) in x.iter_mut().enumerate() {
                *x = kept(*x, uniform(self.key, (8 * block + l) as u32) >= threshold, least, scale);
            }
            E::store::<I, 8>(&x, to);
        }
        for (l, (&from, to)) in rest.iter().zip(to_rest).enumerate() {
            let [x] = E::load::<I, 1>(&[from]);
            let keep = uniform(self.key, (8 * blocks.len() + l) as u32) >= threshold;
            E::store::<I, 1>(&[kept(x, keep, least, scale)], std::array::from_mut(to));
        }
    }
}

/// NaN stays NaN where it is kept.
#[inline(always)]
fn kept<T: Real>(x: T, keep: bool, least: T, scale: T) -> T {
    let x = if x < least { least } else { x };
    if keep {
        x * scale
    } else {
        T::ZERO
    }
}

unsafe fn dropout_raw<E: Element>(
    count: i64,
    p: f64,
    seed: i64,
    relu: bool,
    pointers: (*const c_void, *mut c_void),
    threads: i32,
) -> std::result::Result<(), String> {
    let count = checked_count("input", &[count])?;
    if !(0.0..1.0).contains(&p) {
        return Err(format!("p must be in [0, 1), got {p}"));
    }
    if count > 0 {
        let to = std::slice::from_raw_parts_mut(pointers.1.cast::<E>(), count);
        dropout_cpu(slice::<E>(pointers.0, count), to, p, seed as u64, relu, threads.max(1) as usize);
    }
    Ok(())
}

/// # Safety
/// As declared in `cuda/registration/deform_attn.h`: `count` numbers at both pointers.
#[no_mangle]
unsafe extern "C" fn dsct_dropout_cpu(
    dtype: i32,
    count: i64,
    p: f64,
    seed: i64,
    relu: bool,
    from: *const c_void,
    to: *mut c_void,
    threads: i32,
) -> i32 {
    status(|| dispatch!(dtype, dropout_raw(count, p, seed, relu, (from, to), threads)))
}
