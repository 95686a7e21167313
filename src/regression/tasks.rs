//! Independent tasks: on the threads of the caller's rayon pool with the feature `cpu`, else one after another. The
//! results do not depend on it.

#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// Runs `work` within the pool: waking it from outside for every batch takes time.
pub fn within<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "cpu")]
    return rayon::scope(|_| work());
    #[cfg(not(feature = "cpu"))]
    work()
}

/// The results of `count` tasks, in their order.
pub fn map<T: Send>(count: usize, task: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    #[cfg(feature = "cpu")]
    return (0..count).into_par_iter().map(task).collect();
    #[cfg(not(feature = "cpu"))]
    (0..count).map(task).collect()
}

/// The sum of the results of `count` tasks, in any order.
pub fn sum<T: Send>(
    count: usize,
    task: impl Fn(usize) -> T + Send + Sync,
    zero: impl Fn() -> T + Send + Sync,
    add: impl Fn(T, T) -> T + Send + Sync,
) -> T {
    #[cfg(feature = "cpu")]
    return (0..count).into_par_iter().map(task).reduce(zero, add);
    #[cfg(not(feature = "cpu"))]
    (0..count).map(task).fold(zero(), add)
}

/// Runs a task on every chunk of two slices, cut into as many chunks each; tasks are counted from 0.
pub fn for_chunks<A: Send, B: Send>(
    (first, first_len): (&mut [A], usize),
    (second, second_len): (&mut [B], usize),
    task: impl Fn(usize, &mut [A], &mut [B]) + Send + Sync,
) {
    #[cfg(feature = "cpu")]
    let chunks = first.par_chunks_mut(first_len).zip(second.par_chunks_mut(second_len));
    #[cfg(not(feature = "cpu"))]
    let chunks = first.chunks_mut(first_len).zip(second.chunks_mut(second_len));
    chunks.enumerate().for_each(|(i, (first, second))| task(i, first, second));
}
