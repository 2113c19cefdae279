//! Random calls of the C boundary of the CPU kernels (`cuda/registration/deform_attn.h`): as the registration makes
//! them, beside the obvious loops and with guard zones around every result; and as nobody should: those are refused.
//!
//! `PROPTEST_CASES` asks for more.

use std::ffi::{c_char, c_void, CStr};

use dsct::ops::deform_attn_reference::{forward as obvious, ReferenceShape};
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

#[repr(C)]
struct Shape {
    sizes: [i64; 7], // b, s, m, d, q, l, p
    spatial_shapes: *const i64,
}

#[repr(C)]
struct Inputs {
    dtype: i32,
    points_dtype: i32,
    reference_size: i32,
    value: *const c_void,
    reference: *const c_void,
    points: *const c_void,
    weights: *const c_void,
}

#[repr(C)]
struct Gradients {
    value: *mut c_void,
    points: *mut c_void,
    weights: *mut c_void,
}

extern "C" {
    fn dsct_last_error() -> *const c_char;
    fn dsct_deform_attn_cpu_forward(shape: &Shape, inputs: &Inputs, out: *mut c_void, threads: i32) -> i32;
    fn dsct_deform_attn_cpu_backward(
        shape: &Shape,
        inputs: &Inputs,
        grad_out: *const c_void,
        grads: &Gradients,
        threads: i32,
    ) -> i32;
    fn dsct_dropout_cpu(
        dtype: i32,
        count: i64,
        p: f64,
        seed: i64,
        relu: bool,
        from: *const c_void,
        to: *mut c_void,
        threads: i32,
    ) -> i32;
}

fn last_error() -> String {
    // SAFETY: a C string until this thread's next call.
    unsafe { CStr::from_ptr(dsct_last_error()) }.to_string_lossy().into_owned()
}

trait Number: Copy + PartialEq + std::fmt::Debug {
    /// Largest relative error of a result that is rounded to this type.
    const TOLERANCE: f64;
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;
}
macro_rules! impl_number {
    ($t:ident, $tolerance:expr, $of:expr, $wide:expr) => {
        impl Number for $t {
            const TOLERANCE: f64 = $tolerance;
            fn of(x: f64) -> Self {
                $of(x)
            }
            fn wide(self) -> f64 {
                $wide(self)
            }
        }
    };
}
impl_number!(f64, 1e-9, |x| x, |x| x);
impl_number!(f32, 1e-4, |x| x as f32, f64::from);
// From f64 these types do not round to nearest.
impl_number!(f16, 4e-3, |x| f16::from_f32(x as f32), f16::to_f64);
impl_number!(bf16, 3e-2, |x| bf16::from_f32(x as f32), bf16::to_f64);

/// No result is this number, which every type holds.
const UNWRITTEN: f64 = -12288.0;

/// `len` numbers between zones that nobody may write to.
struct Guarded<T>(Vec<T>);

impl<T: Number> Guarded<T> {
    const ZONE: usize = 64;

    fn new(len: usize) -> Self {
        Self(vec![T::of(UNWRITTEN); len + 2 * Self::ZONE])
    }

    fn pointer(&mut self) -> *mut c_void {
        self.0[Self::ZONE..].as_mut_ptr().cast()
    }

    fn numbers(&self) -> &[T] {
        &self.0[Self::ZONE..self.0.len() - Self::ZONE]
    }

    /// Nothing is written beside the numbers and, where there was a `result`, each of them is.
    fn check(&self, name: &str, result: bool) -> Result<(), TestCaseError> {
        let zones = self.0[..Self::ZONE].iter().chain(&self.0[self.0.len() - Self::ZONE..]);
        prop_assert!(zones.into_iter().all(|x| x.wide() == UNWRITTEN), "written beside {name}");
        let written = |x: &T| (x.wide() != UNWRITTEN) == result;
        prop_assert!(self.numbers().iter().all(written), "{name}: {:?}", self.numbers());
        Ok(())
    }
}

/// A stream of numbers by SplitMix64.
struct Stream(u64);

impl Stream {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [low, high), or where `wild` now and then a number that is none or lies far off.
    fn number(&mut self, low: f64, high: f64, wild: bool) -> f64 {
        const WILD: [f64; 12] = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e30,
            -1e30,
            2_147_483_648.0,
            -2_147_483_649.0,
            9.3e18,
            0.0,
            1.0,
            -0.0,
            f64::MIN_POSITIVE,
        ];
        if wild && self.bits().is_multiple_of(8) {
            return WILD[self.bits() as usize % WILD.len()];
        }
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn numbers<T: Number>(&mut self, count: usize, (low, high): (f64, f64), wild: bool) -> Vec<T> {
        (0..count).map(|_| T::of(self.number(low, high, wild))).collect()
    }
}

/// A call that the registration could make.
#[derive(Clone, Debug)]
struct Call {
    shape: ReferenceShape,
    dtype: i32,
    /// Offsets and logits are in `dtype`, not in the arithmetic type.
    low: bool,
    reference_size: usize,
    /// Where points lie: anywhere, also nowhere.
    wild_points: bool,
    /// NaN and infinity among values and weights.
    wild: bool,
    /// Which gradients are asked for.
    wanted: [bool; 3],
    threads: i32,
    seed: u64,
}

fn calls() -> impl Strategy<Value = Call> {
    let levels = prop::collection::vec((1..6usize, 1..7usize), 0..4);
    let sizes = (0..3usize, 0..4usize, select(vec![0, 1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 40, 64, 71]), 0..24usize);
    let kind = (0..4, any::<bool>(), select(vec![0, 2, 4]));
    let rest = (any::<bool>(), prop::bool::weighted(0.2), any::<[bool; 3]>(), 0..4, any::<u64>());
    (sizes, 0..5usize, levels, kind, rest).prop_map(|((b, m, d, q), p, levels, (dtype, low, reference_size), rest)| {
        let (wild_points, wild, wanted, threads, seed) = rest;
        let shape = ReferenceShape { b, m, d, q, p, levels };
        Call { shape, dtype, low, reference_size, wild_points, wild, wanted, threads, seed }
    })
}

impl Call {
    fn items(&self) -> usize {
        self.shape.b * self.shape.q * self.shape.m
    }

    fn points(&self) -> usize {
        self.items() * self.shape.levels.len() * self.shape.p
    }

    /// Locations and attention weights as the plain operator takes them.
    fn plain<R: Number, P: Number>(&self, reference: &[R], points: &[P], weights: &[P]) -> (Vec<f64>, Vec<f64>) {
        let ReferenceShape { m, p, levels, .. } = &self.shape;
        let (l, size) = (levels.len(), self.reference_size);
        let mut attention: Vec<f64> = weights.iter().map(|w| w.wide()).collect();
        if size == 0 {
            return (points.iter().map(|x| x.wide()).collect(), attention);
        }
        for row in attention.chunks_mut((l * p).max(1)) {
            let largest = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            row.iter_mut().for_each(|x| *x = (*x - largest).exp());
            let total: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= total);
        }
        let location = |(i, offset): (usize, &P)| {
            let (axis, point) = (i % 2, i / 2);
            let (level, item) = (point / p % l, point / p / l);
            let cells = if axis == 0 { levels[level].1 } else { levels[level].0 };
            let at = &reference[(item / m * l + level) * size..][..size];
            let step = if size == 2 { 1.0 / cells as f64 } else { at[2 + axis].wide() / 2.0 / *p as f64 };
            at[axis].wide() + offset.wide() * step
        };
        (points.iter().enumerate().map(location).collect(), attention)
    }

    fn run<E: Number, R: Number, P: Number>(&self, points_dtype: i32) -> Result<(), TestCaseError> {
        let ReferenceShape { b, m, d, q, p, levels } = &self.shape;
        let (s, l, n) = (self.shape.cells(), levels.len(), self.points());
        let mut stream = Stream(self.seed);
        let value: Vec<E> = stream.numbers(b * s * m * d, (-1.0, 1.0), self.wild);
        // Not both far off: their difference would be rounding noise.
        let wild_offsets = self.wild_points && (self.reference_size == 0 || self.seed.is_multiple_of(2));
        let wild_reference = self.wild_points && !wild_offsets;
        let reference: Vec<R> = stream.numbers(b * q * l * self.reference_size, (-0.1, 1.1), wild_reference);
        let range = if self.reference_size == 0 { (-0.3, 1.3) } else { (-3.0, 3.0) };
        let points: Vec<P> = stream.numbers(2 * n, range, wild_offsets);
        let weights: Vec<P> = stream.numbers(n, (-1.0, 2.0), self.wild);
        let grad_out: Vec<E> = stream.numbers(self.items() * d, (-1.0, 1.0), self.wild);

        let spatial_shapes: Vec<i64> = levels.iter().flat_map(|&(h, w)| [h as i64, w as i64]).collect();
        let shape = Shape {
            sizes: [*b, s, *m, *d, *q, l, *p].map(|size| size as i64),
            spatial_shapes: spatial_shapes.as_ptr(),
        };
        let inputs = Inputs {
            dtype: self.dtype,
            points_dtype,
            reference_size: self.reference_size as i32,
            value: value.as_ptr().cast(),
            reference: reference.as_ptr().cast(),
            points: points.as_ptr().cast(),
            weights: weights.as_ptr().cast(),
        };
        let mut out = Guarded::<E>::new(self.items() * d);
        // SAFETY: every pointer leads to as many numbers as `shape` says, also in the calls below.
        let status = unsafe { dsct_deform_attn_cpu_forward(&shape, &inputs, out.pointer(), self.threads) };
        prop_assert_eq!(status, 0, "{}", last_error());
        out.check("out", true)?;

        let mut grads =
            (Guarded::<E>::new(value.len()), Guarded::<R>::new(points.len()), Guarded::<R>::new(weights.len()));
        let pointers = [grads.0.pointer(), grads.1.pointer(), grads.2.pointer()];
        let [value_at, points_at, weights_at] =
            [0, 1, 2].map(|i| if self.wanted[i] { pointers[i] } else { std::ptr::null_mut() });
        let to = Gradients { value: value_at, points: points_at, weights: weights_at };
        let status =
            // SAFETY: as above.
            unsafe { dsct_deform_attn_cpu_backward(&shape, &inputs, grad_out.as_ptr().cast(), &to, self.threads) };
        prop_assert_eq!(status, 0, "{}", last_error());
        grads.0.check("the gradient of value", self.wanted[0])?;
        grads.1.check("the gradient of points", self.wanted[1])?;
        grads.2.check("the gradient of weights", self.wanted[2])?;
        if self.wild {
            return Ok(());
        }

        let (locations, attention) = self.plain(&reference, &points, &weights);
        let wide: Vec<f64> = value.iter().map(|x| x.wide()).collect();
        let expected = obvious(&self.shape, &wide, &locations, &attention);
        for (found, expected) in out.numbers().iter().zip(&expected) {
            let error = (found.wide() - expected).abs();
            prop_assert!(error <= E::TOLERANCE * (1.0 + expected.abs()), "{found:?} for {expected}");
        }
        // The operator is linear in the value and in the attention weights: ⟨gradient, argument⟩ = ⟨grad_out, out⟩.
        // A softmax does not see a constant: the gradients of its logits add up to 0.
        let inner = |a: &[f64]| -> f64 { a.iter().zip(&grad_out).map(|(a, g)| a * g.wide()).sum() };
        let (whole, size) = (inner(&expected), expected.iter().map(|x| x.abs()).sum::<f64>());
        let bound = (2.0 * E::TOLERANCE).max(R::TOLERANCE) * (1.0 + size + value.len() as f64);
        if self.wanted[0] {
            let found: f64 = grads.0.numbers().iter().zip(&wide).map(|(g, x)| g.wide() * x).sum();
            prop_assert!((found - whole).abs() <= bound, "gradient of value: {found} for {whole}");
        }
        if self.wanted[2] {
            let numbers = grads.2.numbers().iter().zip(&attention);
            let plain = self.reference_size == 0;
            let found: f64 = numbers.map(|(g, w)| if plain { g.wide() * w } else { g.wide() }).sum();
            let whole = if plain { whole } else { 0.0 };
            prop_assert!((found - whole).abs() <= bound, "gradient of weights: {found} for {whole}");
        }
        Ok(())
    }
}

/// Sizes that are possible by themselves and impossible together, or not possible at all.
fn size() -> impl Strategy<Value = i64> {
    let odd = select(vec![-1, i64::MIN, i64::MAX, 1 << 31, 1 << 32, 1 << 40, 1 << 61, 1 << 62, (1 << 62) + 1]);
    prop_oneof![5 => 0..4i64, 1 => odd]
}

/// Whether tensors of these sizes exist, and then how many numbers the largest has.
fn largest(sizes: [i64; 7], levels: &[i64], inputs: [i32; 3]) -> Option<i128> {
    let [dtype, points_dtype, reference_size] = inputs;
    let [b, s, m, d, q, l, p] = sizes.map(i128::from);
    let tensors: [&[i128]; 4] = [&[b, s, m, d], &[b, q, m, d], &[b, q, m, l, p, 2], &[b, q, l, 4]];
    let mut most = 0;
    for sizes in tensors {
        if sizes.iter().any(|&size| size < 0) {
            return None;
        }
        let count = sizes.iter().try_fold(8i128, |product, &size| product.checked_mul(size.max(1)))?;
        most = most.max(i64::try_from(count).ok().map(i128::from)? / 8);
    }
    let arithmetic = if dtype == 3 { 3 } else { 0 };
    let kernel = match reference_size {
        0 => points_dtype == arithmetic,
        2 | 4 => points_dtype == arithmetic || points_dtype == dtype,
        _ => false,
    };
    let levels = &levels[..levels.len().min(2 * l as usize)];
    let cells: i128 = levels.chunks_exact(2).map(|pair| i128::from(pair[0]) * i128::from(pair[1])).sum();
    let exist = l <= s && levels.iter().all(|&size| size >= 1) && (cells == s || l > levels.len() as i128 / 2);
    ((0..4).contains(&dtype) && kernel && exist && s <= i128::from(i32::MAX)).then_some(most)
}

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(4096), failure_persistence: None, rng_seed: RngSeed::Fixed(0), ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_call_is_right_and_stays_inside(call in calls()) {
        match (call.dtype, call.low && call.reference_size > 0) {
            (0, _) => call.run::<f32, f32, f32>(0)?,
            (1, true) => call.run::<f16, f32, f16>(1)?,
            (1, false) => call.run::<f16, f32, f32>(0)?,
            (2, true) => call.run::<bf16, f32, bf16>(2)?,
            (2, false) => call.run::<bf16, f32, f32>(0)?,
            _ => call.run::<f64, f64, f64>(3)?,
        }
    }

    #[test]
    fn impossible_calls_are_refused(
        mut sizes in prop::array::uniform7(size()),
        levels in prop::array::uniform8(size()),
        adds_up in any::<bool>(),
        inputs in (-1..6i32, -1..6i32, -1..6i32),
        threads in select(vec![i32::MIN, -1, 0, 1, 2, 7]),
    ) {
        const ROOM: usize = 4096;
        let inputs = [inputs.0, inputs.1, inputs.2];
        if adds_up && (0..=4).contains(&sizes[5]) {
            let pairs = levels.chunks_exact(2).take(sizes[5] as usize);
            sizes[1] = pairs.fold(0i64, |sum, pair| sum.wrapping_add(pair[0].wrapping_mul(pair[1])));
        }
        let possible = largest(sizes, &levels, inputs);
        if possible.is_some_and(|count| count > ROOM as i128 || sizes[5] > 4) {
            return Ok(()); // nobody can make such tensors here
        }
        let zeros = vec![0.0f64; ROOM];
        let at: *const c_void = zeros.as_ptr().cast();
        let [dtype, points_dtype, reference_size] = inputs;
        let inputs = Inputs { dtype, points_dtype, reference_size, value: at, reference: at, points: at, weights: at };
        let shape = Shape { sizes, spatial_shapes: levels.as_ptr() };
        let mut results = [(); 4].map(|()| Guarded::<f64>::new(ROOM));
        let [out, value, points, weights] = results.each_mut().map(Guarded::pointer);
        let grads = Gradients { value, points, weights };
        // SAFETY: what would need more than `ROOM` numbers has returned above, or is refused before a pointer is used.
        for status in unsafe {
            [
                dsct_deform_attn_cpu_forward(&shape, &inputs, out, threads),
                dsct_deform_attn_cpu_backward(&shape, &inputs, at, &grads, threads),
            ]
        } {
            prop_assert_eq!(status == 0, possible.is_some(), "{}", last_error());
        }
        if possible.is_none() {
            prop_assert!(!last_error().is_empty());
            results.iter().try_for_each(|result| result.check("a refused result", false))?;
        }
    }

    #[test]
    fn dropout_keeps_or_zeroes(
        count in prop_oneof![4 => 0..9000i64, 1 => size()],
        p in prop_oneof![4 => 0.0..1.0, 1 => select(vec![1.0, -0.1, f64::NAN, f64::INFINITY, 0.999_999_999_999])],
        seed in any::<i64>(),
        relu in any::<bool>(),
        dtype in 0..5i32,
        threads in select(vec![-1, 1, 3]),
    ) {
        const ROOM: usize = 9000;
        let possible = (0..i64::MAX / 8).contains(&count) && (0.0..1.0).contains(&p) && dtype < 4;
        if possible && count > ROOM as i64 {
            return Ok(());
        }
        let from: Vec<f64> = Stream(seed as u64).numbers(if possible { count as usize } else { ROOM }, (-1.0, 1.0), true);
        fn call<T: Number>(
            dtype: i32, count: i64, p: f64, seed: i64, relu: bool, from: &[f64], threads: i32,
        ) -> (i32, Vec<f64>, Guarded<T>) {
            let from: Vec<T> = from.iter().map(|&x| T::of(x)).collect();
            let mut to = Guarded::<T>::new(from.len());
            let at = from.as_ptr().cast();
            // SAFETY: both pointers lead to `from.len()` numbers; another `count` is refused.
            let status = unsafe { dsct_dropout_cpu(dtype, count, p, seed, relu, at, to.pointer(), threads) };
            (status, from.iter().map(|x| x.wide()).collect(), to)
        }
        macro_rules! check {
            ($t:ident, $arithmetic:ident) => {{
                let (status, from, to) = call::<$t>(dtype, count, p, seed, relu, &from, threads);
                prop_assert_eq!(status == 0, possible, "{}", last_error());
                to.check("to", possible)?;
                let scale = f64::from(1.0 as $arithmetic / (1.0 - p) as $arithmetic);
                for (&x, y) in from.iter().zip(to.numbers()).filter(|_| possible) {
                    let x = if relu && x < 0.0 { 0.0 } else { x };
                    let kept = $t::of(f64::from(x as $arithmetic * scale as $arithmetic));
                    let same = y.wide() == kept.wide() || y.wide().is_nan() && kept.wide().is_nan();
                    prop_assert!(same || y.wide() == 0.0, "{y:?} for {x}");
                }
            }};
        }
        match dtype {
            1 => check!(f16, f32),
            2 => check!(bf16, f32),
            0 => check!(f32, f32),
            _ => check!(f64, f64),
        }
    }
}
