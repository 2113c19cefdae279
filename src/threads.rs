//! Thread pools that survive a fork. A leaf that kernels and criterion share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

/// The pool for this process and number of threads; none for one thread, so that DataLoader workers and forked
/// children that call `torch.set_num_threads(1)` never touch one. Keyed by process, since threads do not survive a
/// fork: rayon's global pool would hang there.
pub(crate) fn pool(threads: usize) -> Option<Arc<rayon::ThreadPool>> {
    type Pools = HashMap<(u32, usize), Arc<rayon::ThreadPool>>;
    static POOLS: OnceLock<Mutex<Pools>> = OnceLock::new();
    if threads <= 1 {
        return None;
    }
    let mut pools = POOLS.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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
pub(crate) fn for_each_with<S: Send>(
    threads: usize,
    count: usize,
    memory: impl Fn() -> S + Send + Sync,
    f: impl Fn(&mut S, usize) + Send + Sync,
) {
    match pool(threads) {
        Some(pool) if count > 1 => {
            pool.install(|| (0..count).into_par_iter().with_max_len(1).for_each_init(memory, |memory, i| f(memory, i)));
        }
        _ => {
            let mut memory = memory();
            (0..count).for_each(|i| f(&mut memory, i));
        }
    }
}
