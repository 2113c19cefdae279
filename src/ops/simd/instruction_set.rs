//! One kernel text, compiled once for every instruction set; which one runs is decided when the program runs.

use std::sync::OnceLock;

/// What a kernel may use. The compiler finds vector instructions by itself inside [`run`]; these constants are for
/// what must be decided in the text.
pub(crate) trait InstructionSet {
    /// Fused multiply-add is one instruction.
    const FMA: bool;
    /// AVX2, FMA and F16C are there (x86), for the intrinsics of `x86`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    const AVX2: bool;
}

/// Whatever every processor of this architecture has: SSE2, or NEON, which fuses.
pub(crate) struct Baseline;
impl InstructionSet for Baseline {
    const FMA: bool = cfg!(target_arch = "aarch64");
    const AVX2: bool = false;
}

/// AVX2, FMA and F16C: x86 since 2013.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;
#[cfg(target_arch = "x86_64")]
impl InstructionSet for Avx2 {
    const FMA: bool = true;
    const AVX2: bool = true;
}

/// Work that is compiled once for every instruction set. `run` must be `#[inline(always)]`, and so must whatever it
/// calls: a function that is not inlined is compiled for the baseline.
pub(crate) trait Task {
    fn run<I: InstructionSet>(self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Baseline,
    Avx2,
    Avx512,
}

/// The best that this processor has; `DSCT_CPU=baseline`, `avx2` or `avx512` in the environment asks for less.
fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| allowed(detected(), std::env::var("DSCT_CPU").ok().as_deref()))
}

fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx2 && is_x86_feature_detected!("f16c") {
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            let all = avx512 && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
            return if all { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Baseline
}

fn allowed(detected: Level, asked: Option<&str>) -> Level {
    match asked {
        Some("baseline") => Level::Baseline,
        Some("avx2") if detected == Level::Avx512 => Level::Avx2,
        _ => detected,
    }
}

/// Name of the instruction set that the CPU kernels use: `AVX-512`, `AVX2`, `NEON` or `baseline`.
pub fn name() -> &'static str {
    match level() {
        Level::Avx512 => "AVX-512",
        Level::Avx2 => "AVX2",
        Level::Baseline if cfg!(target_arch = "aarch64") => "NEON",
        Level::Baseline => "baseline",
    }
}

/// Runs `task` with the best instruction set.
pub(crate) fn run(task: impl Task) {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has what `detected` found.
        Level::Avx512 => unsafe { run_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { run_avx2(task) },
        _ => task.run::<Baseline>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2(task: impl Task) {
    task.run::<Avx2>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn run_avx512(task: impl Task) {
    task.run::<Avx2>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_can_only_lower_the_level() {
        assert_eq!(allowed(Level::Avx512, None), Level::Avx512);
        assert_eq!(allowed(Level::Avx512, Some("avx2")), Level::Avx2);
        assert_eq!(allowed(Level::Baseline, Some("avx2")), Level::Baseline);
        assert_eq!(allowed(Level::Avx2, Some("avx512")), Level::Avx2);
        assert_eq!(allowed(Level::Avx2, Some("baseline")), Level::Baseline);
    }
}
