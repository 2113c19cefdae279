//! The CUDA driver: the few functions that load a module and launch its kernels on torch's stream.
//!
//! Torch's allocations live in the primary context of a device. A thread that has not called CUDA yet (a fresh one,
//! autograd's) has no current context, and a device guard sets none where the ordinal is right already. So every load
//! and every launch happens between a push and a pop of the primary context.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::call::Gpu;
use super::plan::Launch;
use super::shared_library::function_table;

const NAMES: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1"] };

// Enumerators of cuda.h.
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;
const MULTIPROCESSOR_COUNT: c_int = 16;
const MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: c_int = 97;
const FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES: c_int = 8;
const STREAM_CAPTURE_MODE_RELAXED: c_int = 2;

function_table! {
    /// `CUresult` functions of libcuda.
    Driver {
        fn cuInit(c_uint);
        fn cuDriverGetVersion(*mut c_int);
        fn cuDeviceGet(*mut c_int, c_int);
        fn cuDeviceGetAttribute(*mut c_int, c_int, c_int);
        fn cuDevicePrimaryCtxRetain(*mut *mut c_void, c_int);
        fn cuCtxPushCurrent_v2(*mut c_void);
        fn cuCtxPopCurrent_v2(*mut *mut c_void);
        fn cuThreadExchangeStreamCaptureMode(*mut c_int);
        fn cuModuleLoadData(*mut *mut c_void, *const c_void);
        fn cuModuleGetFunction(*mut *mut c_void, *mut c_void, *const c_char);
        fn cuFuncSetAttribute(*mut c_void, c_int, c_int);
        fn cuLaunchKernel(
            *mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void, *mut *mut c_void,
            *mut *mut c_void
        );
        fn cuGetErrorName(c_int, *mut *const c_char);
        fn cuGetErrorString(c_int, *mut *const c_char);
    }
}

/// The library, opened but not initialised: enough to ask for its version.
pub(super) fn library() -> Result<&'static Driver, String> {
    static LIBRARY: OnceLock<Result<Driver, String>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| Driver::open(NAMES));
    library.as_ref().map_err(|reason| format!("the CUDA driver cannot be opened: {reason}"))
}

/// The initialised driver. A forked child of a process that used it gets torch's error instead of a crash; that is
/// found out before any lock is touched, since another thread may have held it during the fork.
pub(super) fn driver() -> Result<&'static Driver, String> {
    static OWNER: AtomicU32 = AtomicU32::new(0);
    static INITIALISED: OnceLock<Result<(), String>> = OnceLock::new();
    let driver = library()?;
    let process = std::process::id();
    let owner = OWNER.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire);
    if owner.is_err_and(|owner| owner != process) {
        return Err("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use \
                    the 'spawn' start method"
            .to_owned());
    }
    // SAFETY: no arguments but the reserved flags.
    INITIALISED.get_or_init(|| driver.check("cuInit", unsafe { (driver.cuInit)(0) })).clone()?;
    Ok(driver)
}

impl Driver {
    /// Highest CUDA version that the driver serves, as (major, minor).
    pub(super) fn version(&self) -> Result<(i32, i32), String> {
        let mut version = 0;
        // SAFETY: a valid place for the result.
        self.check("cuDriverGetVersion", unsafe { (self.cuDriverGetVersion)(&mut version) })?;
        Ok((version / 1000, version % 1000 / 10))
    }

    /// The driver's words for a failed call.
    fn check(&self, call: &str, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        let text = |describe: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int| {
            let mut text = null();
            // SAFETY: the driver answers with a static string, or leaves or sets the pointer null.
            unsafe {
                describe(status, &mut text);
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            }
        };
        let name = text(self.cuGetErrorName).unwrap_or_else(|| "unknown error".to_owned());
        let reason = text(self.cuGetErrorString).unwrap_or_else(|| "no description".to_owned());
        Err(format!("{call}: {reason} ({name}, {status})"))
    }
}

/// One GPU, with its primary context retained until the process ends: torch holds it as long.
pub(super) struct Device {
    pub(super) ordinal: i32,
    pub(super) gpu: Gpu,
    driver: &'static Driver,
    context: usize,
}

/// The device of this ordinal, as torch counts (after `CUDA_VISIBLE_DEVICES`).
pub(super) fn device(ordinal: i32) -> Result<&'static Device, String> {
    static DEVICES: OnceLock<Mutex<HashMap<i32, &'static Device>>> = OnceLock::new();
    let driver = driver()?;
    let mut devices = DEVICES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = devices.get(&ordinal) {
        return Ok(device);
    }
    let device: &Device = Box::leak(Box::new(Device::open(driver, ordinal)?));
    devices.insert(ordinal, device);
    Ok(device)
}

impl Device {
    fn open(driver: &'static Driver, ordinal: i32) -> Result<Self, String> {
        let mut handle = 0;
        // SAFETY: a valid place for the result.
        let status = unsafe { (driver.cuDeviceGet)(&mut handle, ordinal) };
        driver.check(&format!("cuDeviceGet({ordinal})"), status)?;
        let attribute = |which| {
            let mut number: c_int = 0;
            // SAFETY: a valid place for the result and a device that the driver named.
            let status = unsafe { (driver.cuDeviceGetAttribute)(&mut number, which, handle) };
            driver.check("cuDeviceGetAttribute", status).map(|()| number.unsigned_abs())
        };
        let gpu = Gpu {
            multiprocessors: attribute(MULTIPROCESSOR_COUNT)?,
            compute_capability: 10 * attribute(COMPUTE_CAPABILITY_MAJOR)? + attribute(COMPUTE_CAPABILITY_MINOR)?,
            shared_bytes_per_block: attribute(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        };
        let mut context = null_mut();
        // SAFETY: as above.
        let status = unsafe { (driver.cuDevicePrimaryCtxRetain)(&mut context, handle) };
        driver.check("cuDevicePrimaryCtxRetain", status)?;
        Ok(Self { ordinal, gpu, driver, context: context as usize })
    }

    /// Makes the primary context current in this thread until the guard is dropped.
    pub(super) fn enter(&self) -> Result<Current<'_>, String> {
        // SAFETY: the context is retained and never released.
        let status = unsafe { (self.driver.cuCtxPushCurrent_v2)(self.context as *mut c_void) };
        self.driver.check("cuCtxPushCurrent", status)?;
        Ok(Current { device: self })
    }
}

/// The context of `device` is current. Everything that needs a context is a method of this.
pub(super) struct Current<'a> {
    device: &'a Device,
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut popped = null_mut();
        // SAFETY: undoes the push of `enter`. A failed pop has nobody to tell; the next call's push would fail too.
        unsafe { (self.device.driver.cuCtxPopCurrent_v2)(&mut popped) };
    }
}

/// A kernel of a module, which is never unloaded. An address, so that it may stand in a table that all threads read.
#[derive(Clone, Copy)]
pub(super) struct Function(usize);

impl<'a> Current<'a> {
    /// Whose context is current.
    pub(super) fn device(&self) -> &'a Device {
        self.device
    }

    /// Loads a cubin, or PTX (zero-terminated), and finds its kernels. Allowed during a stream capture: a load would
    /// end a capture that is in global mode, so the mode of this thread is relaxed meanwhile.
    pub(super) fn load(&self, image: &[u8], kernels: &[&str]) -> Result<Vec<Function>, String> {
        let driver = self.device.driver;
        let mut mode = STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: `mode` holds a mode before and after, and is exchanged back below.
        let status = unsafe { (driver.cuThreadExchangeStreamCaptureMode)(&mut mode) };
        driver.check("cuThreadExchangeStreamCaptureMode", status)?;
        let functions = self.load_relaxed(image, kernels);
        // SAFETY: as above. What succeeded once succeeds again.
        unsafe { (driver.cuThreadExchangeStreamCaptureMode)(&mut mode) };
        functions
    }

    fn load_relaxed(&self, image: &[u8], kernels: &[&str]) -> Result<Vec<Function>, String> {
        let driver = self.device.driver;
        let mut module = null_mut();
        // SAFETY: a complete module and a valid place for the result.
        let status = unsafe { (driver.cuModuleLoadData)(&mut module, image.as_ptr().cast()) };
        driver.check("cuModuleLoadData", status)?;
        let function = |name: &&str| {
            let mut function = null_mut();
            let symbol = CString::new(*name).map_err(|error| error.to_string())?;
            // SAFETY: the module that was just loaded, a zero-terminated name.
            let status = unsafe { (driver.cuModuleGetFunction)(&mut function, module, symbol.as_ptr()) };
            driver.check(&format!("cuModuleGetFunction({name})"), status)?;
            Ok(Function(function as usize))
        };
        kernels.iter().map(function).collect()
    }

    /// Lets launches of the kernel ask for as much dynamic shared memory; by default 48 KB less its static share.
    pub(super) fn allow_shared_memory(&self, function: Function, bytes: u32) -> Result<(), String> {
        let bytes = c_int::try_from(bytes).map_err(|error| error.to_string())?;
        // SAFETY: functions live as long as their modules.
        let status = unsafe {
            (self.device.driver.cuFuncSetAttribute)(
                function.0 as *mut c_void,
                FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                bytes,
            )
        };
        self.device.driver.check(&format!("cuFuncSetAttribute({bytes} bytes of shared memory)"), status)
    }

    /// Puts the kernel with its one parameter into `stream`; does not wait for it.
    ///
    /// # Safety
    /// `parameters` is the struct that the kernel takes, its pointers are valid on this device until the kernel has
    /// run, and `stream` belongs to this device.
    pub(super) unsafe fn launch<P>(
        &self,
        function: Function,
        launch: &Launch,
        parameters: &P,
        stream: *mut c_void,
    ) -> Result<(), String> {
        let [gx, gy, gz] = launch.grid;
        let mut arguments = [std::ptr::from_ref(parameters).cast_mut().cast::<c_void>()];
        let status = (self.device.driver.cuLaunchKernel)(
            function.0 as *mut c_void,
            gx,
            gy,
            gz,
            launch.block,
            1,
            1,
            launch.shared_bytes,
            stream,
            arguments.as_mut_ptr(),
            null_mut(),
        );
        self.device.driver.check("cuLaunchKernel", status)
    }
}
