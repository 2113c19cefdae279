//! The few x86 instructions that the compiler does not find by itself. All functions are for use inside code that is
//! compiled for AVX2, FMA and F16C, into which they are inlined.

use std::arch::x86_64::{
    _mm256_castps256_ps128, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_hadd_ps,
    _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm_add_ps, _mm_loadu_si128, _mm_storeu_ps, _mm_storeu_si128,
};

use half::f16;

/// Eight sums whose sum is ⟨a, b⟩.
///
/// # Safety
/// The processor has AVX and FMA; N is a multiple of 8.
#[inline(always)]
pub(super) unsafe fn partial_dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> [f32; 8] {
    let mut sum = _mm256_setzero_ps();
    for start in (0..N).step_by(8) {
        let (a, b) = (_mm256_loadu_ps(a.as_ptr().add(start)), _mm256_loadu_ps(b.as_ptr().add(start)));
        sum = _mm256_fmadd_ps(a, b, sum);
    }
    let mut to = [0.0; 8];
    _mm256_storeu_ps(to.as_mut_ptr(), sum);
    to
}

/// The sum of each row.
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn sum_rows(rows: &[[f32; 8]; 4]) -> [f32; 4] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|k| rows[k].as_ptr());
    let ab = _mm256_hadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b));
    let cd = _mm256_hadd_ps(_mm256_loadu_ps(c), _mm256_loadu_ps(d));
    let halves = _mm256_hadd_ps(ab, cd);
    let mut to = [0.0; 4];
    let sum = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
    _mm_storeu_ps(to.as_mut_ptr(), sum);
    to
}

/// # Safety
/// The processor has F16C; N is a multiple of 8.
#[inline(always)]
pub(super) unsafe fn load_f16<const N: usize>(from: &[f16; N]) -> [f32; N] {
    let mut to = [0.0; N];
    for start in (0..N).step_by(8) {
        let half = _mm_loadu_si128(from.as_ptr().add(start).cast());
        _mm256_storeu_ps(to.as_mut_ptr().add(start), _mm256_cvtph_ps(half));
    }
    to
}

/// Rounds to nearest, ties to even.
///
/// # Safety
/// The processor has F16C; N is a multiple of 8.
#[inline(always)]
pub(super) unsafe fn store_f16<const N: usize>(from: &[f32; N], to: &mut [f16; N]) {
    for start in (0..N).step_by(8) {
        let half = _mm256_cvtps_ph::<0>(_mm256_loadu_ps(from.as_ptr().add(start)));
        _mm_storeu_si128(to.as_mut_ptr().add(start).cast(), half);
    }
}
