//! What the compiler says about the kernels: registers, spills, shared memory. Needs NVRTC, but no GPU.

use super::modules::{flags, Unit};
use super::nvrtc::{nvrtc, Target};

/// One kernel of one specialisation on one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelReport {
    /// Its name.
    pub kernel: String,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes per thread of registers that did not fit and arrays that are indexed at run time, both in slow local memory.
    pub local_bytes: u32,
    /// Static shared memory; launches ask for more.
    pub shared_bytes: u32,
}

/// The forward or the backward kernels of one specialisation on one architecture.
#[derive(Clone, Debug)]
pub struct Report {
    /// The compiler's defines.
    pub specialisation: String,
    /// Size of the machine code.
    pub cubin_bytes: usize,
    /// What the assembler says.
    pub kernels: Vec<KernelReport>,
}

/// Compiles for a compute capability that NVRTC knows.
pub(super) fn report((specialisation, pass): Unit, architecture: u32) -> Result<Report, String> {
    let nvrtc = nvrtc()?;
    let mut flags = flags(&specialisation);
    let specialisation = specialisation.defines().join(" ");
    flags.push("--ptxas-options=-v".to_owned());
    let compiled = nvrtc.compile(pass.source(), &flags, Target::Cubin(architecture))?;
    let kernels = read_log(&compiled.log);
    if kernels.is_empty() {
        return Err(format!("the assembler's log names no kernel:\n{}", compiled.log));
    }
    Ok(Report { specialisation, cubin_bytes: compiled.image.len(), kernels })
}

/// Reads what the assembler prints with `-v`:
/// ```text
/// ptxas info    : Function properties for k
/// ptxas         .     160 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 40 registers, used 1 barriers, 160 bytes cumulative stack size, 256 bytes smem
/// ```
fn read_log(log: &str) -> Vec<KernelReport> {
    let mut reports = Vec::new();
    let mut local_bytes = 0;
    let mut kernel = None;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split('\'').next().map(str::to_owned);
        } else if let Some(stack) = number_before(line, " bytes stack frame") {
            let spills = [" bytes spill stores", " bytes spill loads"].map(|what| number_before(line, what));
            local_bytes = spills.into_iter().flatten().fold(stack, u32::max);
        } else if let Some(registers) = number_before(line, " registers") {
            if let Some(kernel) = kernel.take() {
                let shared_bytes = number_before(line, " bytes smem").unwrap_or(0);
                reports.push(KernelReport { kernel, registers, local_bytes, shared_bytes });
            }
        }
    }
    reports
}

fn number_before(line: &str, words: &str) -> Option<u32> {
    let (front, _) = line.split_once(words)?;
    front.rsplit([' ', '\t']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{read_log, KernelReport};

    #[test]
    fn the_log_of_the_assembler_is_understood() {
        let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k2' for 'sm_90'
ptxas info    : Function properties for k2
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
ptxas info    : Compile time = 12.743 ms
ptxas info    : Compiling entry function 'k' for 'sm_90'
ptxas info    : Function properties for k
ptxas         .     160 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 160 bytes cumulative stack size, 256 bytes smem
";
        let report = |kernel: &str, registers, local_bytes, shared_bytes| KernelReport {
            kernel: kernel.to_owned(),
            registers,
            local_bytes,
            shared_bytes,
        };
        assert_eq!(read_log(log), [report("k2", 8, 0, 0), report("k", 40, 160, 256)]);
    }
}
