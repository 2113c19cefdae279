//! Libraries that are opened at run time: a table of function pointers per library. Neither the CUDA driver nor NVRTC
//! is known to the build, so the extension loads where neither exists.

use libloading::Library;

/// Opens the first of `names`, preferring a copy that this process has loaded already: torch brings its own NVRTC,
/// and a toolkit of the system must not win over it.
pub(super) fn open(names: &[&str]) -> Result<Library, String> {
    if let Some(library) = names.iter().find_map(|name| open_loaded(name)) {
        return Ok(library);
    }
    let mut reasons = Vec::new();
    for name in names {
        // SAFETY: the initialisers of the CUDA libraries have no requirements on the caller.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(target_os = "linux")]
fn open_loaded(name: &str) -> Option<Library> {
    use libloading::os::unix;
    const RTLD_NOLOAD: i32 = 4;
    // SAFETY: runs no initialiser, the library is there or it is not.
    let library = unsafe { unix::Library::open(Some(name), unix::RTLD_NOW | RTLD_NOLOAD) };
    library.ok().map(Library::from)
}

#[cfg(not(target_os = "linux"))]
fn open_loaded(_name: &str) -> Option<Library> {
    None
}

/// A struct of function pointers, all of which return a status code, with `open(names)` that fills it.
macro_rules! function_table {
    ($(#[$doc:meta])* $table:ident { $(fn $function:ident($($argument:ty),*);)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        pub(super) struct $table {
            $($function: unsafe extern "C" fn($($argument),*) -> std::ffi::c_int,)*
            _library: libloading::Library,
        }

        #[allow(non_snake_case)]
        impl $table {
            fn open(names: &[&str]) -> Result<Self, String> {
                let library = $crate::ops::deform_attn_cuda::shared_library::open(names)?;
                $(
                    // SAFETY: declared as in the header of this library; the pointer lives as long as `_library`.
                    let $function = *unsafe { library.get(concat!(stringify!($function), "\0").as_bytes()) }
                        .map_err(|error| error.to_string())?;
                )*
                Ok(Self { $($function,)* _library: library })
            }
        }
    };
}
pub(super) use function_table;
