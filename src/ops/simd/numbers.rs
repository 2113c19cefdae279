//! Number types of the kernels: what is computed in, what is stored, and which instructions may be used for it.
//!
//! Blocks are arrays of a fixed length: inside a function that is compiled for an instruction set, the compiler keeps
//! them in vector registers. Explicit intrinsics stand only where it does not find the instruction by itself.

use half::{bf16, f16};

use super::instruction_set::InstructionSet;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Arithmetic type.
pub(crate) trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    const ZERO: Self;
    const HALF: Self;
    const ONE: Self;
    const MINUS_ONE: Self;
    const NEG_INFINITY: Self;
    fn from_size(n: usize) -> Self;
    fn from_f64(x: f64) -> Self;
    fn from_index(n: i32) -> Self;
    /// Towards zero.
    ///
    /// # Safety
    /// `self` is finite and fits.
    unsafe fn truncate(self) -> i32;
    /// For x ≤ 0; NaN stays NaN.
    fn exp(self) -> Self;
    /// self · b + c, in one rounding where the instruction set has it.
    fn mul_add<I: InstructionSet>(self, b: Self, c: Self) -> Self;

    /// Eight sums whose sum is ⟨a, b⟩: float addition is not associative, so the compiler cannot split it by itself.
    #[inline(always)]
    fn partial_dot<I: InstructionSet, const N: usize>(a: &[Self; N], b: &[Self; N]) -> [Self; 8] {
        let mut sums = [Self::ZERO; 8];
        for c in 0..N {
            sums[c % 8] = a[c].mul_add::<I>(b[c], sums[c % 8]);
        }
        sums
    }

    /// The sum of each row.
    #[inline(always)]
    fn sum_rows<I: InstructionSet>(rows: &[[Self; 8]; 4]) -> [Self; 4] {
        let mut sums = [Self::ZERO; 4];
        for (x, sum) in rows.iter().zip(&mut sums) {
            *sum = ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
        }
        sums
    }
}

macro_rules! impl_real {
    ($t:ident, $exp:expr, { $($faster:item)* }) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const HALF: Self = 0.5;
            const ONE: Self = 1.0;
            const MINUS_ONE: Self = -1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            #[inline(always)]
            fn from_size(n: usize) -> Self {
                n as $t
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn from_index(n: i32) -> Self {
                n as $t
            }
            #[inline(always)]
            unsafe fn truncate(self) -> i32 {
                self.to_int_unchecked()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn mul_add<I: InstructionSet>(self, b: Self, c: Self) -> Self {
                // Without the instruction `mul_add` is a library call.
                if I::FMA {
                    $t::mul_add(self, b, c)
                } else {
                    self * b + c
                }
            }
            $($faster)*
        }
    };
}
impl_real!(f64, f64::exp, {});
impl_real!(f32, exp_f32, {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn partial_dot<I: InstructionSet, const N: usize>(a: &[f32; N], b: &[f32; N]) -> [f32; 8] {
        if I::AVX2 && N.is_multiple_of(8) {
            // SAFETY: both were asked for.
            return unsafe { x86::partial_dot(a, b) };
        }
        let mut sums = [0.0; 8];
        for c in 0..N {
            sums[c % 8] += a[c] * b[c];
        }
        sums
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn sum_rows<I: InstructionSet>(rows: &[[f32; 8]; 4]) -> [f32; 4] {
        if I::AVX2 {
            // SAFETY: asked for.
            return unsafe { x86::sum_rows(rows) };
        }
        rows.map(|x| x.iter().sum())
    }
});

/// eˣ for x ≤ 0 without a library call, so that a loop over it becomes vector instructions: 2ⁿ · eʳ with
/// |r| ≤ ln 2 / 2 and a Taylor polynomial whose remainder, r⁷ / 7!, is below 1.3e-7.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it leaves the nearest whole number in the low bits
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with so few bits that its product with n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let tail = r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)));
    let polynomial = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + tail))));
    let exponent = (shifted.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    polynomial * f32::from_bits(exponent)
}

/// Storage type of value and output, and the type that it is computed in.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    type Real: Real;

    /// N consecutive numbers.
    fn load<I: InstructionSet, const N: usize>(from: &[Self; N]) -> [Self::Real; N];
    /// Rounds to nearest, ties to even.
    fn store<I: InstructionSet, const N: usize>(from: &[Self::Real; N], to: &mut [Self; N]);
}

macro_rules! impl_plain_element {
    ($t:ty) => {
        impl Element for $t {
            type Real = $t;
            #[inline(always)]
            fn load<I: InstructionSet, const N: usize>(from: &[Self; N]) -> [$t; N] {
                *from
            }
            #[inline(always)]
            fn store<I: InstructionSet, const N: usize>(from: &[$t; N], to: &mut [Self; N]) {
                *to = *from;
            }
        }
    };
}
impl_plain_element!(f32);
impl_plain_element!(f64);

impl Element for bf16 {
    type Real = f32;
    #[inline(always)]
    fn load<I: InstructionSet, const N: usize>(from: &[Self; N]) -> [f32; N] {
        let mut to = [0.0; N];
        for c in 0..N {
            to[c] = f32::from_bits(u32::from(from[c].to_bits()) << 16);
        }
        to
    }
    #[inline(always)]
    fn store<I: InstructionSet, const N: usize>(from: &[f32; N], to: &mut [Self; N]) {
        let mut halves = [0u32; N];
        for c in 0..N {
            let bits = from[c].to_bits();
            let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16;
            // Rounding up could carry a NaN's payload into an infinity.
            let quiet = bits >> 16 | 0x40;
            halves[c] = if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded };
        }
        for c in 0..N {
            to[c] = bf16::from_bits(halves[c] as u16);
        }
    }
}

impl Element for f16 {
    type Real = f32;
    #[inline(always)]
    fn load<I: InstructionSet, const N: usize>(from: &[Self; N]) -> [f32; N] {
        #[cfg(target_arch = "x86_64")]
        if I::AVX2 && N.is_multiple_of(8) {
            // SAFETY: both were asked for.
            return unsafe { x86::load_f16(from) };
        }
        from.map(f16::to_f32)
    }
    #[inline(always)]
    fn store<I: InstructionSet, const N: usize>(from: &[f32; N], to: &mut [Self; N]) {
        #[cfg(target_arch = "x86_64")]
        if I::AVX2 && N.is_multiple_of(8) {
            // SAFETY: both were asked for.
            return unsafe { x86::store_f16(from, to) };
        }
        for (&x, to) in from.iter().zip(to) {
            *to = f16::from_f32(x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::simd::instruction_set::{run, Baseline, Task};

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        let worst = (0..2_000_000)
            .map(|i| -f64::from(i) * 4.3e-5)
            .map(|x| (f64::from(exp_f32(x as f32)) / f64::from(x as f32).exp() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 3.6e-7, "{worst:e}");
        assert_eq!(exp_f32(0.0), 1.0);
        assert!(exp_f32(f32::NAN).is_nan());
        assert!(exp_f32(f32::NEG_INFINITY) < 1e-37);
    }

    struct RoundTrip<'a, E: Element>(&'a [E; 8], &'a mut [E; 8]);
    impl<E: Element> Task for RoundTrip<'_, E> {
        #[inline(always)]
        fn run<I: InstructionSet>(self) {
            E::store::<I, 8>(&E::load::<I, 8>(self.0), self.1);
        }
    }

    #[test]
    fn every_half_number_survives_loading_and_storing() {
        for start in (0..=u16::MAX).step_by(8) {
            let f16s: [f16; 8] = std::array::from_fn(|i| f16::from_bits(start + i as u16));
            let bf16s: [bf16; 8] = std::array::from_fn(|i| bf16::from_bits(start + i as u16));
            let (mut one, mut other) = ([f16::ZERO; 8], [bf16::ZERO; 8]);
            run(RoundTrip(&f16s, &mut one));
            run(RoundTrip(&bf16s, &mut other));
            for i in 0..8 {
                assert!(one[i].to_bits() == f16s[i].to_bits() || (one[i].is_nan() && f16s[i].is_nan()));
                assert!(other[i].to_bits() == bf16s[i].to_bits() || (other[i].is_nan() && bf16s[i].is_nan()));
            }
        }
    }

    #[test]
    fn storing_rounds_as_the_half_crate_does_with_and_without_instructions() {
        struct Store<'a>(&'a [f32; 8], &'a mut [f16; 8], &'a mut [bf16; 8]);
        impl Task for Store<'_> {
            #[inline(always)]
            fn run<I: InstructionSet>(self) {
                f16::store::<I, 8>(self.0, self.1);
                bf16::store::<I, 8>(self.0, self.2);
            }
        }
        let mut bits = 1u32;
        for _ in 0..20_000 {
            let x: [f32; 8] = std::array::from_fn(|_| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits)
            });
            for baseline in [false, true] {
                let (mut one, mut other) = ([f16::ZERO; 8], [bf16::ZERO; 8]);
                let task = Store(&x, &mut one, &mut other);
                if baseline {
                    task.run::<Baseline>();
                } else {
                    run(task);
                }
                for i in 0..8 {
                    assert!(x[i].is_nan() && one[i].is_nan() || one[i] == f16::from_f32(x[i]), "{}", x[i]);
                    assert!(x[i].is_nan() && other[i].is_nan() || other[i] == bf16::from_f32(x[i]), "{}", x[i]);
                }
            }
        }
    }
}
