//! Work for many threads, also after a fork. A leaf that kernels and criterion share.

use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

/// The pool for this process and number of threads; none for one thread, so that DataLoader workers and forked
/// children that call `torch.set_num_threads(1)` never touch one. Keyed by process, since threads do not survive a
/// fork: rayon's global pool would hang there.
fn pool(threads: usize) -> Option<Arc<rayon::ThreadPool>> {
    type Pools = HashMap<(u32, usize), Arc<rayon::ThreadPool>>;
    static POOLS: OnceLock<Mutex<Pools>> = OnceLock::new();
    if threads <= 1 {
        return None;
    }
    let mut pools = POOLS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (std::process::id(), threads);
    if let Some(pool) = pools.get(&key) {
        return Some(pool.clone());
    }
    // A system that grants no threads still gets its result, on this one.
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()?);
    pools.insert(key, pool.clone());
    Some(pool)
}

/// `f(0), …, f(count − 1)`, on `threads` threads, in order.
pub(crate) fn map<T: Send>(threads: usize, count: usize, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    match pool(threads) {
        Some(pool) if count > 1 => pool.install(|| (0..count).into_par_iter().map(f).collect()),
        _ => (0..count).map(f).collect(),
    }
}

/// `f(&mut memory, 0)`, …, `f(&mut memory, count − 1)`, on `threads` threads, each with a memory of its own.
///
/// In the process that loaded torch these are torch's own threads. They wait for work busily for a while after every
/// operator, so threads of ours would share the cores with them: small calls took three times as long.
pub(crate) fn for_each_with<S>(
    threads: usize,
    count: usize,
    memory: impl Fn() -> S + Send + Sync,
    f: impl Fn(&mut S, usize) + Send + Sync,
) {
    let range = |range: Range<usize>| {
        let mut memory = memory();
        range.for_each(|i| f(&mut memory, i));
    };
    if threads <= 1 || count <= 1 {
        range(0..count);
    } else if forked() {
        let parts = threads.min(count);
        map(threads, parts, |part| range(part * count / parts..(part + 1) * count / parts));
    } else {
        parallel_for(count, range);
    }
}

/// Threads do not survive a fork, torch's no more than ours.
fn forked() -> bool {
    // SAFETY: compares two numbers.
    unsafe { dsct_forked() }
}

#[cfg(not(feature = "torch"))]
use crate::torch_threads::{dsct_forked, dsct_parallel_for};

#[cfg(feature = "torch")]
extern "C" {
    fn dsct_forked() -> bool;
    fn dsct_parallel_for(
        count: usize,
        body: unsafe extern "C" fn(context: *const c_void, begin: usize, end: usize),
        context: *const c_void,
    );
}

/// Calls `body` for parts of 0..count on torch's threads. A panic goes on in the calling thread.
fn parallel_for<F: Fn(Range<usize>) + Sync>(count: usize, body: F) {
    struct Context<F> {
        body: F,
        panic: Mutex<Option<Box<dyn Any + Send>>>,
    }
    unsafe extern "C" fn call<F: Fn(Range<usize>) + Sync>(context: *const c_void, begin: usize, end: usize) {
        // SAFETY: the context that this very function was handed over with; it outlives the call.
        let context = unsafe { &*context.cast::<Context<F>>() };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (context.body)(begin..end))) {
            *context.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
    let context = Context { body, panic: Mutex::new(None) };
    // SAFETY: `call` fits the context, catches every panic, and is done with it when this returns.
    unsafe { dsct_parallel_for(count, call::<F>, std::ptr::from_ref(&context).cast()) };
    if let Some(panic) = context.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

/// `f(0, …)`, `f(1, …)`, … for the chunks of `data`, `len` numbers each, on `threads` threads.
pub(crate) fn for_each_chunk<T: Send>(
    threads: usize,
    data: &mut [T],
    len: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    struct Start<T>(*mut T);
    // SAFETY: every chunk is handed out once.
    unsafe impl<T: Send> Sync for Start<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send> Send for Start<T> {}
    let (total, start) = (data.len(), Start(data.as_mut_ptr()));
    let start = &start;
    let chunk = move |i: usize| {
        let begin = i * len;
        // SAFETY: in bounds, and no two chunks overlap.
        f(i, unsafe { std::slice::from_raw_parts_mut(start.0.add(begin), len.min(total - begin)) });
    };
    for_each_with(threads, total.div_ceil(len), || (), |(), i| chunk(i));
}
