//! NVRTC, the run-time compiler that torch brings along: kernel text to machine code for the GPU at hand.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use super::shared_library::function_table;

// By soname and never by path: NVRTC finds its builtins only where they are loaded already, which `import torch` does.
const NAMES: &[&str] =
    if cfg!(windows) { &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"] } else { &["libnvrtc.so.13", "libnvrtc.so.12"] };

const FILE_NAME: &CStr = c"deform_attn.cu";

function_table! {
    /// `nvrtcResult` functions of libnvrtc.
    Functions {
        fn nvrtcVersion(*mut c_int, *mut c_int);
        fn nvrtcGetNumSupportedArchs(*mut c_int);
        fn nvrtcGetSupportedArchs(*mut c_int);
        fn nvrtcCreateProgram(
            *mut *mut c_void, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        );
        fn nvrtcCompileProgram(*mut c_void, c_int, *const *const c_char);
        fn nvrtcDestroyProgram(*mut *mut c_void);
        fn nvrtcGetProgramLogSize(*mut c_void, *mut usize);
        fn nvrtcGetProgramLog(*mut c_void, *mut c_char);
        fn nvrtcGetCUBINSize(*mut c_void, *mut usize);
        fn nvrtcGetCUBIN(*mut c_void, *mut c_char);
        fn nvrtcGetPTXSize(*mut c_void, *mut usize);
        fn nvrtcGetPTX(*mut c_void, *mut c_char);
    }
}

/// What to make for a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code for exactly this compute capability.
    Cubin(u32),
    /// The intermediate language of an older one, which the driver finishes: for a GPU that is newer than this NVRTC.
    Ptx(u32),
}

impl Target {
    /// For a GPU of this compute capability (90 is 9.0), given those that NVRTC knows.
    pub(super) fn choose(compute_capability: u32, known: &[u32]) -> Result<Self, String> {
        if known.contains(&compute_capability) {
            return Ok(Self::Cubin(compute_capability));
        }
        let older = known.iter().copied().filter(|&arch| arch < compute_capability).max();
        older.map(Self::Ptx).ok_or_else(|| {
            let (major, minor) = (compute_capability / 10, compute_capability % 10);
            format!(
                "a GPU of compute capability {major}.{minor} is too old for this NVRTC, which compiles for {known:?}"
            )
        })
    }

    /// The compiler's flag.
    pub(super) fn flag(self) -> String {
        match self {
            Self::Cubin(arch) => format!("--gpu-architecture=sm_{arch}"),
            Self::Ptx(arch) => format!("--gpu-architecture=compute_{arch}"),
        }
    }
}

/// The opened compiler.
pub(super) struct Nvrtc {
    functions: Functions,
    /// (major, minor).
    pub(super) version: (i32, i32),
    /// Compute capabilities that it compiles for.
    pub(super) architectures: Vec<u32>,
}

/// What came out of a compilation.
pub(super) struct Compiled {
    pub(super) image: Vec<u8>,
    pub(super) log: String,
}

/// The compiler of this process.
pub(super) fn nvrtc() -> Result<&'static Nvrtc, String> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    let nvrtc = NVRTC.get_or_init(Nvrtc::open);
    nvrtc.as_ref().map_err(|reason| format!("NVRTC, the CUDA run-time compiler, cannot be opened: {reason}"))
}

impl Nvrtc {
    fn open() -> Result<Self, String> {
        let functions = Functions::open(NAMES)?;
        let (mut major, mut minor, mut count) = (0, 0, 0);
        let mut architectures;
        // SAFETY: valid places for the results; the list is as long as NVRTC says it is.
        unsafe {
            check("nvrtcVersion", (functions.nvrtcVersion)(&mut major, &mut minor))?;
            check("nvrtcGetNumSupportedArchs", (functions.nvrtcGetNumSupportedArchs)(&mut count))?;
            architectures = vec![0; usize::try_from(count).unwrap_or_default()];
            check("nvrtcGetSupportedArchs", (functions.nvrtcGetSupportedArchs)(architectures.as_mut_ptr()))?;
        }
        let architectures = architectures.into_iter().map(i32::unsigned_abs).collect();
        Ok(Self { functions, version: (major, minor), architectures })
    }

    /// Compiles `source`; the error holds the compiler's log.
    pub(super) fn compile(&self, source: &str, flags: &[String], target: Target) -> Result<Compiled, String> {
        let program = Program::new(&self.functions, source)?;
        let mut flags = flags.to_vec();
        flags.push(target.flag());
        if self.version >= (13, 0) {
            flags.push("--no-cache".to_owned()); // its own cache asks the driver, which compiling does not need
        }
        let texts: Result<Vec<_>, _> = flags.iter().map(|flag| CString::new(flag.as_str())).collect();
        let texts = texts.map_err(|error| error.to_string())?;
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).map_err(|error| error.to_string())?;
        // SAFETY: as many flags as counted, alive during the call.
        let status = unsafe { (self.functions.nvrtcCompileProgram)(program.handle, count, pointers.as_ptr()) };
        let log = program.text(self.functions.nvrtcGetProgramLogSize, self.functions.nvrtcGetProgramLog);
        let log = String::from_utf8_lossy(&log.unwrap_or_default()).trim_end_matches('\0').trim().to_owned();
        let (major, minor) = self.version;
        check(&format!("NVRTC {major}.{minor} {}", flags.join(" ")), status)
            .map_err(|error| format!("{error}\n{log}"))?;
        let image = match target {
            Target::Cubin(_) => program.text(self.functions.nvrtcGetCUBINSize, self.functions.nvrtcGetCUBIN)?,
            Target::Ptx(_) => program.text(self.functions.nvrtcGetPTXSize, self.functions.nvrtcGetPTX)?,
        };
        Ok(Compiled { image, log })
    }
}

/// A program object, destroyed when dropped.
struct Program<'a> {
    functions: &'a Functions,
    handle: *mut c_void,
}

impl<'a> Program<'a> {
    fn new(functions: &'a Functions, source: &str) -> Result<Self, String> {
        let source = CString::new(source).map_err(|error| error.to_string())?;
        let mut handle = null_mut();
        // SAFETY: zero-terminated texts, which NVRTC copies; no headers.
        let status = unsafe {
            (functions.nvrtcCreateProgram)(&mut handle, source.as_ptr(), FILE_NAME.as_ptr(), 0, null(), null())
        };
        check("nvrtcCreateProgram", status)?;
        Ok(Self { functions, handle })
    }

    fn text(
        &self,
        size: unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int,
        fill: unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, String> {
        let mut bytes = 0;
        // SAFETY: a valid place for the result.
        check("NVRTC result", unsafe { size(self.handle, &mut bytes) })?;
        let mut text = vec![0; bytes];
        // SAFETY: a buffer of the size that NVRTC asked for.
        check("NVRTC result", unsafe { fill(self.handle, text.as_mut_ptr().cast()) })?;
        Ok(text)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed once.
        unsafe { (self.functions.nvrtcDestroyProgram)(&mut self.handle) };
    }
}

/// The enumerators of nvrtc.h that can occur here.
fn check(call: &str, status: c_int) -> Result<(), String> {
    let reason = match status {
        0 => return Ok(()),
        1 => "out of memory",
        5 => "an option is not valid",
        6 => "compilation failed",
        7 => "its builtins cannot be opened (import torch first)",
        11 => "internal error",
        _ => "failed",
    };
    Err(format!("{call}: {reason} (status {status})"))
}

#[cfg(test)]
mod tests {
    use super::Target;

    const KNOWN: [u32; 6] = [75, 80, 86, 90, 100, 120];

    #[test]
    fn known_gpu_gets_machine_code() {
        assert_eq!(Target::choose(90, &KNOWN), Ok(Target::Cubin(90)));
        assert_eq!(Target::Cubin(90).flag(), "--gpu-architecture=sm_90");
    }

    #[test]
    fn newer_gpu_gets_the_highest_known_intermediate_language() {
        assert_eq!(Target::choose(123, &KNOWN), Ok(Target::Ptx(120)));
        assert_eq!(Target::choose(99, &KNOWN), Ok(Target::Ptx(90)), "not of an architecture above the GPU's");
        assert_eq!(Target::Ptx(90).flag(), "--gpu-architecture=compute_90");
    }

    #[test]
    fn too_old_gpu_is_named() {
        let error = Target::choose(61, &KNOWN).unwrap_err();
        assert!(error.contains("6.1 is too old") && error.contains("75"), "{error}");
    }
}
