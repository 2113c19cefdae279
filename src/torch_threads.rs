//! Torch's threads for a library that is linked to no torch: whoever loads it says where torch's loop is.

use std::ffi::{c_int, c_void};
use std::ptr::from_ref;
use std::sync::OnceLock;

type Body = unsafe extern "C" fn(context: *const c_void, begin: usize, end: usize);

/// `torch_parallel_for` of torch's stable C ABI, there since torch 2.10.
type ParallelFor = unsafe extern "C" fn(
    begin: i64,
    end: i64,
    grain: i64,
    body: unsafe extern "C" fn(begin: i64, end: i64, context: *const c_void),
    context: *const c_void,
) -> c_int;

/// That function, and the process that named it.
static TORCH: OnceLock<(ParallelFor, u32)> = OnceLock::new();

/// To be called once, after loading. Until then, and if torch has no such loop, the calling thread does all the work.
#[no_mangle]
extern "C" fn dsct_use_parallel_for(of_torch: ParallelFor) {
    TORCH.get_or_init(|| (of_torch, std::process::id()));
}

/// Whether this process is a child of the one that loaded this library, by a fork.
pub(crate) unsafe fn dsct_forked() -> bool {
    TORCH.get().is_some_and(|&(_, process)| process != std::process::id())
}

/// A body and its context, where torch has room for one pointer.
struct Work {
    body: Body,
    context: *const c_void,
}

/// # Safety
/// `context` is a [`Work`], whose body takes its context and parts of the range that torch was given.
unsafe extern "C" fn part(begin: i64, end: i64, context: *const c_void) {
    let work = &*context.cast::<Work>();
    (work.body)(work.context, begin as usize, end as usize);
}

/// `body(context, begin, end)` for parts of 0..count on torch's threads.
///
/// # Safety
/// `body` takes `context`, on several threads at once, and does not unwind.
pub(crate) unsafe fn dsct_parallel_for(count: usize, body: Body, context: *const c_void) {
    let Some((of_torch, _)) = TORCH.get() else { return body(context, 0, count) };
    let work = Work { body, context };
    let status = of_torch(0, count as i64, 1, part, from_ref(&work).cast());
    assert_eq!(status, 0, "torch_parallel_for failed");
}
