//! The shape of the gradient's sums: how a batch is shared out among threads. Pure arithmetic, and the
//! same on every device, so that the order of every sum is.

use crate::Error;

/// Threads in a workgroup of the gradient's kernels.
pub const THREADS: u32 = 64;
/// vec4 that one thread holds of X.
const HELD: u32 = 16;
/// Rows that one thread holds at most.
const MAX_ROWS: u32 = 4;
/// vec4 of a row that one thread takes before another joins it.
const BLOCKS: u32 = 4;
/// The widest row that is read once, in vec4.
const MAX_ONE_PASS: u32 = 1024;
/// Workgroups, and so partial sums, of one run of rows. Enough to fill any GPU; few enough that adding
/// them up costs nothing beside reading X.
const MAX_GROUPS: u32 = 512;
/// Threads that add up the partial sums of a column.
const REDUCE_LANES: u32 = 16;

/// How the gradient of a model with a given number of features is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// Features of the model, without the intercept.
    pub features: u32,
    /// vec4 in a row of X; what the last one has too many is zero.
    pub vectors: u32,
    /// Threads that share a row.
    pub lanes: u32,
    /// vec4 of a row that each of them takes.
    pub blocks: u32,
    /// Rows that each of them holds at a time.
    pub rows: u32,
}

impl Shape {
    /// The most features: their columns must fit one dimension of a grid.
    pub const MAX_FEATURES: u32 = 1 << 20;

    /// The shape for `features` columns.
    ///
    /// # Errors
    /// [`Error::Shape`] for none, or for more than [`MAX_FEATURES`](Self::MAX_FEATURES).
    pub fn new(features: usize) -> Result<Self, Error> {
        let Some(features) =
            u32::try_from(features).ok().filter(|n| (1..=Self::MAX_FEATURES).contains(n))
        else {
            let range = "from 1 to 1048576";
            return Err(Error::Shape { what: "the number of features", value: features as u64, range });
        };
        let vectors = features.div_ceil(4);
        let lanes = vectors.div_ceil(BLOCKS).next_power_of_two().min(THREADS);
        let blocks = vectors.div_ceil(lanes);
        Ok(Shape { features, vectors, lanes, blocks, rows: (HELD / blocks).clamp(1, MAX_ROWS) })
    }

    /// Whether a row fits the registers of a workgroup, so that X is read once.
    pub fn one_pass(&self) -> bool {
        self.vectors <= MAX_ONE_PASS
    }

    /// Bytes of a row of X.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.vectors) * 16
    }

    /// Workgroups for a run of rows: as many partial sums come of it.
    pub fn groups(&self, rows: u32) -> u32 {
        rows.div_ceil(self.tile()).clamp(1, MAX_GROUPS)
    }

    /// Rows that a workgroup holds at a time; in two passes, that a workgroup should sum at least.
    fn tile(&self) -> u32 {
        if self.one_pass() { THREADS / self.lanes * self.rows } else { THREADS }
    }

    /// The longest chain of additions behind one element of the gradient of a batch that comes in runs
    /// of the given lengths, for error bounds.
    pub fn depth(&self, runs: &[u32]) -> u32 {
        let serial = |&rows: &u32| {
            if self.one_pass() {
                rows.div_ceil(self.tile()).div_ceil(self.groups(rows)) * self.rows
            } else {
                rows.div_ceil(self.groups(rows))
            }
        };
        let within = runs.iter().map(serial).max().unwrap_or(0);
        let teams = THREADS / self.lanes;
        let partials: u32 = runs.iter().map(|&rows| self.groups(rows)).sum();
        let rows = runs.iter().sum();
        // What a thread adds where it has no row is zero, and rounds nothing.
        (within + teams + partials.div_ceil(REDUCE_LANES) + REDUCE_LANES.ilog2()).min(rows)
    }

    /// The longest chain of additions behind one residual.
    pub fn dot_depth(&self) -> u32 {
        let per_lane = if self.one_pass() { self.blocks } else { self.vectors.div_ceil(THREADS) };
        // Then four lanes of a vector, the threads of a row, the intercept and the target.
        per_lane + 2 + self.lanes.ilog2() + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_fits_the_kernels_arrays() {
        for features in (1..=4100).chain([10_000, 1 << 20]) {
            let shape = Shape::new(features).unwrap();
            assert!(shape.lanes.is_power_of_two() && shape.lanes <= THREADS);
            if shape.one_pass() {
                assert!(shape.rows * shape.blocks <= HELD, "{shape:?}");
                assert!(shape.lanes * shape.blocks >= shape.vectors, "{shape:?}");
                assert!(shape.blocks <= BLOCKS || shape.lanes == THREADS, "{shape:?}");
            }
            assert_eq!(shape.one_pass(), features <= 4096);
        }
    }

    #[test]
    fn no_features_and_too_many_are_refused() {
        Shape::new(0).unwrap_err();
        Shape::new((1 << 20) + 1).unwrap_err();
    }

    #[test]
    fn depth_counts_what_one_thread_adds() {
        let shape = Shape::new(64).unwrap();
        assert_eq!((shape.lanes, shape.blocks, shape.rows), (4, 4, 4));
        // 16 teams of 4 rows: 4096 rows are 64 workgroups of one tile.
        assert_eq!(shape.groups(4096), 64);
        assert_eq!(shape.depth(&[4096]), 4 + 16 + 4 + 4);
        assert_eq!(shape.depth(&[10]), 10);
        assert_eq!(shape.depth(&[1 << 20]), 32 * 4 + 16 + 32 + 4);
    }
}
