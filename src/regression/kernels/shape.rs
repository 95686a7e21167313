//! The layout of a gradient's sums: the share of each thread in a batch. Pure arithmetic, the same on every device,
//! and so is the order of every sum.

use crate::regression::nodes;
use crate::{Error, Model};

/// Threads in a workgroup of the gradient's kernels.
pub const THREADS: u32 = 64;
/// vec4 that one thread holds of X, or of sums.
const HELD: u32 = 16;
/// Rows that one thread holds at most.
const MAX_ROWS: u32 = 4;
/// vec4 of a row that one thread takes before another joins it.
const BLOCKS: u32 = 4;
/// The widest row that is read once, in vec4, for one output; for several, the most vec4 of weights.
const MAX_ONE_PASS: u32 = THREADS * HELD;
/// vec4 of X and scores that a tile holds.
const TILE: u32 = 512;
const TILE_SCORES: u32 = 1024;
/// Workgroups, and so partial sums, of one segment of rows. Enough to fill any GPU; few enough that adding
/// them up costs nothing beside reading X.
const MAX_GROUPS: u32 = 512;
/// The most bytes of partial sums, unless one partial sum has more.
const MAX_PARTIAL_BYTES: u64 = 1 << 26;
/// Threads that add up the partial sums of a column.
const REDUCE_LANES: u32 = 16;
/// The most rows of a segment, and the most bytes of X: less than every device binds.
const SEGMENT_ROWS: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 1 << 26;
/// The most products of a number and a weight, unless one row has more: the slowest device needs a few seconds for
/// them.
const SEGMENT_PRODUCTS: u64 = 1 << 26;
/// Products in a slice of a segment, and the most slices of a stage; a row costs as much as `ROW_PRODUCTS` at least.
const SLICE_PRODUCTS: u64 = 1 << 19;
const MAX_SLICES: u64 = 32;
const ROW_PRODUCTS: u64 = 64;

/// How the gradient of a model is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GradientLayout {
    /// Features of the model.
    pub features: u32,
    /// Outputs of the model.
    pub outputs: u32,
    /// vec4 in the weights of an output, and of a row of X as kernels read it; the rest of the last one
    /// is zero.
    pub vectors: u32,
    /// Floats from one row of X to the next: whole vec4, or the number of features if that saves over 5 %.
    pub stride: u32,
    /// vec4 of the intercepts, after all weights.
    pub intercepts: u32,
    /// Auxiliary columns.
    pub aux_columns: u32,
    /// The share of each thread in the rows.
    pub sums: Reduction,
}

/// The share of each thread in the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// X is read once, by teams of threads that hold rows.
    Teams {
        /// Threads that share a row.
        lanes: u32,
        /// vec4 of a row that each of them takes.
        blocks: u32,
        /// Rows that each of them holds at a time.
        rows: u32,
    },
    /// X is read once, by workgroups that hold tiles of rows.
    Tiles {
        /// Rows of a tile.
        rows: u32,
    },
    /// X is read twice, and once more for every further eight outputs.
    TwoPasses,
}

impl GradientLayout {
    /// The most features: their columns must fit one dimension of a grid.
    pub const MAX_FEATURES: u32 = 1 << 20;

    /// The shape for a model.
    ///
    /// # Errors
    /// [`Error::Shape`] for no features, or for more than [`MAX_FEATURES`](Self::MAX_FEATURES); those of
    /// [`Model::validate`].
    pub fn new(model: &Model) -> Result<Self, Error> {
        model.validate()?;
        let Some(features) =
            u32::try_from(model.features).ok().filter(|n| (1..=Self::MAX_FEATURES).contains(n))
        else {
            let (what, range) = ("the number of features", "from 1 to 1048576");
            return Err(Error::Shape { what, value: model.features as u64, range });
        };
        let outputs = model.outputs as u32;
        let vectors = features.div_ceil(4);
        let sums = if outputs == 1 && vectors <= MAX_ONE_PASS {
            let lanes = vectors.div_ceil(BLOCKS).next_power_of_two().min(THREADS);
            let blocks = vectors.div_ceil(lanes);
            Reduction::Teams { lanes, blocks, rows: (HELD / blocks).clamp(1, MAX_ROWS) }
        } else if outputs > 1 && outputs * vectors <= MAX_ONE_PASS && vectors <= TILE {
            Reduction::Tiles { rows: (TILE / vectors).min(TILE_SCORES / outputs).min(THREADS) }
        } else {
            Reduction::TwoPasses
        };
        let intercepts = if model.intercept { outputs.div_ceil(4) } else { 0 };
        let padded = u64::from(vectors) * 4;
        let packed = 20 * padded > 21 * u64::from(features);
        let stride = if packed { features } else { padded as u32 };
        let aux_columns = model.aux_columns() as u32;
        Ok(GradientLayout { features, outputs, vectors, stride, intercepts, aux_columns, sums })
    }

    /// How often X is read for a gradient.
    pub fn passes(&self) -> u32 {
        match self.sums {
            Reduction::Teams { .. } | Reduction::Tiles { .. } => 1,
            Reduction::TwoPasses => self.outputs.div_ceil(4) + self.outputs.div_ceil(8),
        }
    }

    /// Bytes of a row of X.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.stride) * 4
    }

    /// Bytes of a buffer with `rows` rows of X: whole vec4.
    pub fn x_bytes(&self, rows: u64) -> u64 {
        (rows * self.row_bytes()).next_multiple_of(16)
    }

    /// vec4 of the parameters: the weights, each output's padded to whole vec4, and the intercepts.
    pub fn param_vectors(&self) -> u32 {
        self.outputs * self.vectors + self.intercepts
    }

    /// Elements of the parameters on the device, and of the gradient: whole vec4.
    pub fn padded_len(&self) -> u64 {
        4 * u64::from(self.param_vectors())
    }

    /// The parameters on the device, from those of a [`Model`].
    pub fn pad<T: Copy + Default>(&self, params: &[T]) -> Vec<T> {
        let mut padded = vec![T::default(); self.padded_len() as usize];
        for (from, to) in self.places() {
            if let (Some(from), Some(to)) = (params.get(from), padded.get_mut(to)) {
                *to = *from;
            }
        }
        padded
    }

    /// The parameters of a [`Model`] from those on the device.
    pub fn unpad<T: Copy>(&self, padded: &[T]) -> Vec<T> {
        self.places().filter_map(|(_, at)| padded.get(at).copied()).collect()
    }

    /// The parameters of the model.
    pub fn params(&self) -> usize {
        self.places().count()
    }

    /// The place of each parameter of the model among those on the device.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (features, stride) = (self.features as usize, self.vectors as usize * 4);
        let outputs = self.outputs as usize;
        let weights = (0..features * outputs).map(move |i| i / features * stride + i % features);
        let intercepts = if self.intercepts > 0 { outputs } else { 0 };
        weights.chain((0..intercepts).map(move |k| outputs * stride + k)).enumerate()
    }

    /// The most rows of a segment: a larger batch is summed segment by segment.
    pub fn segment_rows(&self) -> u64 {
        // Scores and auxiliary columns are in a binding too.
        let scores = if self.sums == Reduction::TwoPasses { self.outputs } else { 0 };
        let bytes = self.row_bytes().max(u64::from(scores.max(self.aux_columns)) * 4);
        (SEGMENT_BYTES / bytes).min(SEGMENT_PRODUCTS / self.products()).clamp(1, SEGMENT_ROWS)
    }

    /// The cost of a row, in products of a number and a weight.
    fn products(&self) -> u64 {
        u64::from(self.outputs) * (4 * u64::from(self.vectors)).max(ROW_PRODUCTS)
    }

    /// Slices of each stage of the sums of a segment.
    pub(crate) fn slices(&self, rows: u32) -> u32 {
        let slices = (u64::from(rows) * self.products() / SLICE_PRODUCTS).clamp(1, MAX_SLICES);
        (slices as u32).min(self.groups(rows))
    }

    /// vec4 of a partial sum: of a gradient, or of an evaluation.
    pub(crate) fn partial_vectors(&self, metrics: bool) -> u32 {
        1 + if metrics { self.outputs } else { self.param_vectors() }
    }

    /// Workgroups for a segment of rows, each of which leaves a partial sum.
    pub fn groups(&self, rows: u32) -> u32 {
        let bytes = u64::from(self.partial_vectors(false)) * 16;
        let most = (MAX_PARTIAL_BYTES / bytes).clamp(1, MAX_GROUPS.into()) as u32;
        rows.div_ceil(self.tile()).clamp(1, most)
    }

    /// Rows that a workgroup holds at a time; in two passes, that a workgroup should sum at least.
    fn tile(&self) -> u32 {
        match self.sums {
            Reduction::Teams { lanes, rows, .. } => THREADS / lanes * rows,
            Reduction::Tiles { rows } => rows,
            Reduction::TwoPasses => THREADS,
        }
    }

    /// The longest chain of additions behind one element of the gradient of a batch, from the rows of each segment,
    /// for error bounds: that of a segment, then one addition for every level of the tree over the segments.
    pub fn depth(&self, segments: &[u32]) -> u32 {
        let serial = |&rows: &u32| match self.sums {
            Reduction::Teams { rows: held, .. } => {
                rows.div_ceil(self.tile()).div_ceil(self.groups(rows)) * held
            }
            Reduction::Tiles { rows: held } => {
                rows.div_ceil(self.tile()).div_ceil(self.groups(rows)) * held
            }
            Reduction::TwoPasses => rows.div_ceil(self.groups(rows)),
        };
        let within = segments.iter().map(serial).max().unwrap_or(0);
        let teams = match self.sums {
            Reduction::Teams { lanes, .. } => THREADS / lanes,
            // The totals of a tile's rows; a two-pass kernel's tree is shorter.
            Reduction::Tiles { .. } | Reduction::TwoPasses => THREADS,
        };
        let partials = segments.iter().map(|&rows| self.groups(rows)).max().unwrap_or(0);
        let sum = within + teams + partials.div_ceil(REDUCE_LANES) + REDUCE_LANES.ilog2();
        // A thread without a row adds zero, which rounds nothing.
        (sum + 1 + nodes::root_level(segments.len() as u64)).min(segments.iter().sum())
    }

    /// The longest chain of additions behind one score.
    pub fn dot_depth(&self) -> u32 {
        // The terms of a thread, four elements of a vector, the threads of a row, the intercept and the offset.
        match self.sums {
            Reduction::Teams { lanes, blocks, .. } => blocks + 2 + lanes.ilog2() + 4,
            Reduction::Tiles { .. } => self.vectors + 2 + 2,
            Reduction::TwoPasses => self.vectors.div_ceil(THREADS) + 2 + THREADS.ilog2() + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    fn shape(features: usize, outputs: usize) -> GradientLayout {
        GradientLayout::new(&Model { outputs, ..Model::new(features, Loss::Mse) }).unwrap()
    }

    #[test]
    fn every_width_fits_the_kernels_arrays() {
        for features in (1..=4100).chain([10_000, 1 << 20]) {
            let shape = shape(features, 1);
            match shape.sums {
                Reduction::Teams { lanes, blocks, rows } => {
                    assert!(lanes.is_power_of_two() && lanes <= THREADS);
                    assert!(rows * blocks <= HELD, "{shape:?}");
                    assert!(lanes * blocks >= shape.vectors, "{shape:?}");
                    assert!(blocks <= BLOCKS || lanes == THREADS, "{shape:?}");
                }
                _ => assert!(features > 4096),
            }
            assert_eq!(shape.passes() == 1, features <= 4096);
        }
    }

    #[test]
    fn every_tile_fits_the_workgroups_memory() {
        for outputs in [2, 3, 10, 63, 64, 65, 1000, 4096] {
            for features in [1, 4, 5, 64, 100, 409, 2048, 5000] {
                let shape = shape(features, outputs);
                if let Reduction::Tiles { rows } = shape.sums {
                    assert!((1..=THREADS).contains(&rows) && rows * shape.vectors <= TILE);
                    assert!(rows * shape.outputs <= TILE_SCORES);
                    assert!(shape.outputs * shape.vectors <= THREADS * HELD);
                    assert!(shape.outputs <= THREADS * HELD, "intercepts are held too");
                }
                assert_eq!(shape.passes() == 1, features.div_ceil(4) * outputs <= 1024);
            }
        }
    }

    #[test]
    fn rows_are_padded_where_that_costs_little() {
        for features in 1..=4096 {
            let GradientLayout { stride, .. } = shape(features, 1);
            assert!(f64::from(stride) <= 1.05 * features as f64, "{features}");
            assert!(stride as usize == features || stride.is_multiple_of(4), "{features}");
        }
        assert_eq!([1, 2, 63, 64, 77].map(|features| shape(features, 1).stride), [1, 2, 64, 64, 80]);
    }

    #[test]
    fn padding_lies_behind_each_outputs_weights() {
        let shape = shape(3, 2);
        let params = [1, 2, 3, 4, 5, 6, 7, 8];
        let padded = shape.pad(&params);
        assert_eq!(padded, [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 0, 0]);
        assert_eq!(shape.unpad(&padded), params);
    }

    #[test]
    fn no_features_and_too_many_are_refused() {
        GradientLayout::new(&Model::new(0, Loss::Mse)).unwrap_err();
        GradientLayout::new(&Model::new((1 << 20) + 1, Loss::Mse)).unwrap_err();
    }

    #[test]
    fn depth_counts_what_one_thread_adds() {
        let shape = shape(64, 1);
        assert_eq!(shape.sums, Reduction::Teams { lanes: 4, blocks: 4, rows: 4 });
        // 16 teams of 4 rows: 4096 rows are 64 workgroups of one tile.
        assert_eq!(shape.groups(4096), 64);
        assert_eq!(shape.depth(&[4096]), 4 + 16 + 4 + 4 + 1);
        assert_eq!(shape.depth(&[10]), 10);
        assert_eq!(shape.depth(&[1 << 20]), 32 * 4 + 16 + 32 + 4 + 1);
    }
}
