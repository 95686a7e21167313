//! The threads that make the updates of a small problem. Pure arithmetic on the model and the size of a batch, so that
//! the order of every sum is the same on every device.

use super::super::GradientLayout;
use super::super::shape::THREADS;
use crate::Model;

/// vec4 of weights that one thread holds, and vec4 of its rows that it reads for an update at most.
const THREAD_VECTORS: u32 = 8;
const THREAD_BATCH: u64 = 256;
/// The most vec4 of parameters, and the most rows of a batch, that a workgroup holds.
const HELD: u32 = 512;
const HELD_ROWS: u64 = 1024;
/// vec4 of its rows that one workgroup reads for an update at most; many workgroups are faster beyond.
const BATCH: u64 = 4096;

/// llvmpipe ends an invocation without a word after 65 535 iterations of loops, all in all.
const MAX_ITERATIONS: u64 = 65_000;
/// The most iterations of all threads together: a fraction of a second on a software adapter.
const ALL_ITERATIONS: u64 = 1 << 25;

/// The threads that make the updates of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One thread.
    PerThread,
    /// One workgroup, of which `columns` threads take a column each.
    PerWorkgroup { columns: u32 },
}

impl Sharing {
    /// For batches of up to `max_batch` rows; none if they are too large, or for several outputs.
    pub fn new(model: &Model, max_batch: u64) -> Option<Self> {
        let shape = GradientLayout::new(model).ok()?;
        let read = max_batch.saturating_mul(shape.vectors.into());
        let vectors = shape.param_vectors();
        if shape.outputs > 1 || vectors > HELD || max_batch > HELD_ROWS || read > BATCH {
            return None;
        }
        if shape.vectors <= THREAD_VECTORS && read <= THREAD_BATCH {
            return Some(Sharing::PerThread);
        }
        Some(Sharing::PerWorkgroup { columns: vectors.next_power_of_two().min(THREADS) })
    }

    /// The most updates that a dispatch may make of `fits` fits. A loop counts one more than its iterations.
    pub fn updates(self, shape: &GradientLayout, planes: u64, max_batch: u64, fits: u64) -> u64 {
        let vectors = u64::from(shape.param_vectors());
        let dot = 1 + u64::from(shape.vectors);
        let (update, once) = match self {
            Sharing::PerThread => {
                let once = 2 * (1 + vectors * (2 + planes));
                (1 + (1 + max_batch * (1 + 2 * dot)) + (1 + vectors), once)
            }
            Sharing::PerWorkgroup { columns } => {
                let shares = u64::from(THREADS / columns);
                let rows = 1 + max_batch.div_ceil(THREADS.into()) * (1 + dot);
                let sums = 1 + vectors.div_ceil(columns.into()) * (2 + max_batch.div_ceil(shares));
                let totals = 1 + u64::from(THREADS) + 1 + shares;
                (1 + rows + totals + sums, 2 * (1 + vectors))
            }
        };
        let threads = match self {
            Sharing::PerThread => fits,
            Sharing::PerWorkgroup { .. } => fits.saturating_mul(THREADS.into()),
        };
        let most = MAX_ITERATIONS.min(ALL_ITERATIONS / threads.max(1));
        (most.saturating_sub(once) / update).max(1)
    }

    /// The longest chain of additions behind an element of the gradient of `rows` rows or their loss, and behind a
    /// score, for error bounds.
    pub fn depths(self, shape: &GradientLayout, rows: u64) -> (u32, u32) {
        let rows = rows as u32;
        let sum = match self {
            Sharing::PerThread => rows,
            Sharing::PerWorkgroup { columns } => {
                let shares = THREADS / columns;
                let loss = rows.div_ceil(THREADS) + THREADS;
                (rows.div_ceil(shares) + shares).max(loss).min(rows)
            }
        };
        // Elements of a vector, the intercept and the offset.
        (sum, shape.vectors + 2 + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    fn of(features: usize, max_batch: u64) -> Option<Sharing> {
        Sharing::new(&Model::new(features, Loss::Mse), max_batch)
    }

    #[test]
    fn small_batches_are_one_threads_and_large_ones_do_not_fit() {
        assert_eq!(of(1, 10), Some(Sharing::PerThread));
        assert_eq!(of(32, 32), Some(Sharing::PerThread));
        assert_eq!(of(32, 33), Some(Sharing::PerWorkgroup { columns: 16 }));
        assert_eq!(of(33, 1), Some(Sharing::PerWorkgroup { columns: 16 }));
        assert_eq!(of(2044, 8), Some(Sharing::PerWorkgroup { columns: 64 }));
        assert_eq!(of(2045, 8), None);
        assert_eq!(of(1, 1025), None);
        assert_eq!(of(64, 257), None);
        assert_eq!(of(1, u64::MAX), None);
        assert_eq!(Sharing::new(&Model::new(3, Loss::Softmax { classes: 3 }), 8), None);
    }

    #[test]
    fn no_dispatch_has_more_iterations_than_are_safe() {
        for features in (1..2044).step_by(7) {
            for max_batch in [1, 2, 10, 63, 64, 65, 256, 1024] {
                let model = Model::new(features, Loss::Mse);
                let Some(sharing) = Sharing::new(&model, max_batch) else { continue };
                let shape = GradientLayout::new(&model).unwrap();
                let vectors = u64::from(shape.vectors);
                let updates = sharing.updates(&shape, 4, max_batch, 1);
                assert!(updates >= 1);
                let least = match sharing {
                    Sharing::PerThread => 1 + max_batch * (1 + 2 * vectors),
                    Sharing::PerWorkgroup { .. } => max_batch.div_ceil(64) * (1 + vectors),
                };
                assert!(updates * least < 65_535, "{features} features, {max_batch} rows");
            }
        }
    }
}
