//! The fast path, for f32 and [`Strict`](super::Strict): the same functions, on every thread and with the widest SIMD of
//! this processor.
//!
//! The bits are those of the plain functions: an element-wise step has no order, and the gradient's
//! sum has a fixed shape. Threads are the caller's rayon pool.

use super::{Number, Step};
use crate::{Penalty, Rule};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Elements that one task updates: their streams fit in a core's second-level cache, and there are
/// enough tasks to even out the threads.
const TASK: usize = 1 << 14;

/// The SIMD instruction set of this processor, for reports.
pub fn simd() -> String {
    format!("{:?}", Arch::new()).split('(').next().unwrap_or_default().to_lowercase()
}

/// One task's share of a step. A type of its own rather than a closure, because only a method that is
/// always inlined is compiled for the SIMD that was found.
struct Update<'a, 'b, R> {
    rule: &'a Rule,
    penalty: &'a Penalty,
    step: &'a Step<R>,
    params: &'a mut [R],
    grads: &'a [R],
    moments: &'a mut [&'b mut [R]],
}

impl<R: Number> WithSimd for Update<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        super::update_penalized(
            self.rule,
            self.penalty,
            self.step,
            self.params,
            self.grads,
            self.moments,
        );
    }
}

/// [`cpu::update`](super::update) in parallel.
///
/// # Panics
/// As that one does.
pub fn update<R: Number + Send + Sync>(
    rule: &Rule,
    step: &Step<R>,
    params: &mut [R],
    grads: &[R],
    moments: &mut [Vec<R>],
) {
    let mut moments: Vec<&mut [R]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    update_penalized(rule, &Penalty::default(), step, params, grads, &mut moments);
}

/// [`cpu::update_penalized`](super::update_penalized) in parallel.
///
/// # Panics
/// As that one does.
pub fn update_penalized<R: Number + Send + Sync>(
    rule: &Rule,
    penalty: &Penalty,
    step: &Step<R>,
    params: &mut [R],
    grads: &[R],
    moments: &mut [&mut [R]],
) {
    let arch = Arch::new();
    let run = |params: &mut [R], grads: &[R], moments: &mut [&mut [R]]| {
        arch.dispatch(Update { rule, penalty, step, params, grads, moments });
    };
    if params.len() <= TASK {
        // One task: a pool of threads would only be asked for it.
        return run(params, grads, moments);
    }
    let params = params.par_chunks_mut(TASK).zip(grads.par_chunks(TASK));
    let used = rule.moments().len().min(moments.len());
    match &mut moments[..used] {
        [] => params.for_each(|(p, g)| run(p, g, &mut [])),
        [a] => params.zip(a.par_chunks_mut(TASK)).for_each(|((p, g), a)| run(p, g, &mut [a])),
        [a, b] => params
            .zip(a.par_chunks_mut(TASK).zip(b.par_chunks_mut(TASK)))
            .for_each(|((p, g), (a, b))| run(p, g, &mut [a, b])),
        [a, b, c, ..] => params
            .zip(a.par_chunks_mut(TASK).zip(b.par_chunks_mut(TASK)).zip(c.par_chunks_mut(TASK)))
            .for_each(|((p, g), ((a, b), c))| run(p, g, &mut [a, b, c])),
    }
}
