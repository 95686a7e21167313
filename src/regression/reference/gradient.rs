//! The gradient of a model's mean loss over a batch, and the loss; the definition of `shaders/gradient/`.
//!
//! For rows xᵢ: scores zᵢₖ = xᵢ·wₖ + bₖ + offsetᵢ; losses Lᵢ of scores and targets by [`loss`]; loss = Σ sᵢ Lᵢ / Σ sᵢ;
//! ∂loss/∂wₖⱼ = Σ sᵢ xᵢⱼ ∂Lᵢ/∂zᵢₖ / Σ sᵢ; ∂loss/∂bₖ likewise without xᵢⱼ. Without sample weights, sᵢ = 1.

use super::loss;
use crate::cpu::Real;
use crate::regression::nodes;
use crate::{Loss, Model};

/// Rows of a block, which is summed serially. The blocks of a batch are the units of a [tree](crate::regression::nodes),
/// so the order of the sum is fixed.
pub const BLOCK: usize = 512;
/// Rows of a slice, which is in memory at a time: whole blocks.
pub const SLICE: usize = 1 << 18;
/// Elements of X up to which one thread is faster than several.
#[cfg(feature = "cpu")]
const SERIAL: usize = 1 << 17;
/// Rows whose scores are computed at once.
pub(super) const GROUP: usize = 4;
/// Partial sums of a dot product: the f32 lanes of the widest SIMD register.
pub(super) const LANES: usize = 16;

/// Rows of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, R> {
    /// Features, rows × features, row-major.
    pub x: &'a [R],
    /// Auxiliary columns, rows × [`Model::aux_columns`], row-major: targets, sample weight, offset.
    pub aux: &'a [R],
}

impl<'a, R: Real> Rows<'a, R> {
    /// The number of rows.
    pub fn len(&self, model: &Model) -> usize {
        self.aux.len() / model.aux_columns()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.aux.is_empty()
    }

    /// The rows `first .. first + rows`.
    pub fn part(&self, model: &Model, first: usize, rows: usize) -> Rows<'a, R> {
        let of = |all: &'a [R], width: usize| &all[first * width..][..rows * width];
        Rows { x: of(self.x, model.features), aux: of(self.aux, model.aux_columns()) }
    }

    /// Splits the rows into slices of [`SLICE`].
    pub fn slices(self, model: &Model) -> impl ExactSizeIterator<Item = Rows<'a, R>> {
        self.parts(model, SLICE)
    }

    /// Splits the rows into blocks of [`BLOCK`].
    fn blocks(self, model: &Model) -> impl ExactSizeIterator<Item = Rows<'a, R>> {
        self.parts(model, BLOCK)
    }

    fn parts(self, model: &Model, most: usize) -> impl ExactSizeIterator<Item = Rows<'a, R>> {
        let (len, model) = (self.len(model), *model);
        let starts = (0..len).step_by(most);
        starts.map(move |first| self.part(&model, first, most.min(len - first)))
    }
}

/// The longest chain of additions of a gradient element, for error bounds.
///
/// The first row of a block passes through an addition for every row of it, BLOCK at most; its block through one for
/// every level of the tree over ⌈rows / BLOCK⌉ blocks.
pub fn depth(rows: usize) -> u32 {
    rows.min(BLOCK) as u32 + nodes::root_level(rows.div_ceil(BLOCK) as u64)
}

/// The longest chain of additions of a score, for error bounds.
pub fn dot_depth(features: usize) -> u32 {
    features.div_ceil(LANES) as u32 + LANES.ilog2() + 2
}

/// Writes the gradient of the batch's mean loss to `grads` and returns the loss.
///
/// `params` and `grads` have [`Model::params`] elements. A batch without rows, or of weight zero, has gradient and loss
/// zero. An invalid class counts as the last one.
///
/// # Panics
/// If the lengths of `rows`, `params` and `grads` do not match the model.
pub fn gradient<R: Real>(model: &Model, rows: Rows<R>, params: &[R], grads: &mut [R]) -> R {
    let mut sums = BatchSums::new(model);
    for slice in rows.slices(model) {
        sums.add(slice, params);
    }
    sums.finish(grads)
}

/// The sums of a batch's gradient, from slices of its rows that need not be in memory at the same time.
///
/// The rows since the start of the batch are the blocks of a [tree](crate::regression::nodes), however they come.
#[derive(Clone, Debug)]
pub struct BatchSums<R> {
    model: Model,
    rows: usize,
    /// The nodes so far whose right halves are to come, from left to right: one for every bit of the number of blocks.
    /// A node has the sums of the gradient of the weights and of the intercepts, the loss, and the weight of the rows.
    nodes: Vec<R>,
}

impl<R: Real> BatchSums<R> {
    /// The sums of no rows.
    pub fn new(model: &Model) -> Self {
        BatchSums { model: *model, rows: 0, nodes: Vec::new() }
    }

    /// Sums of a node.
    fn width(&self) -> usize {
        self.model.weights() + self.model.outputs + 2
    }

    /// Sums that were made elsewhere, over `rows` rows, as [`sums`](Self::sums) has them.
    ///
    /// # Panics
    /// If there is not one for every parameter, the loss and the weight.
    pub fn from_sums(model: &Model, rows: usize, mut sums: Vec<R>) -> Self {
        assert_eq!(
            sums.len(),
            model.params() + 2,
            "there is a sum for every parameter, loss and weight"
        );
        // No gradient is made of an intercept's sum where there is no intercept.
        let absent = model.weights() + model.outputs - model.params();
        sums.splice(model.params()..model.params(), vec![R::zero(); absent]);
        BatchSums { model: *model, rows, nodes: sums }
    }

    /// A sum for every parameter, then the loss and the weight: none is divided by rows or weight.
    pub fn sums(self) -> Vec<R> {
        let model = self.model;
        let mut sums = self.root();
        sums.drain(model.params()..model.weights() + model.outputs);
        sums
    }

    /// Adds the batch's next rows: whole blocks, or those that are left.
    ///
    /// # Panics
    /// If the lengths of `rows` and `params` do not match the model, or the rows before were not whole blocks.
    pub fn add(&mut self, rows: Rows<R>, params: &[R]) {
        let (model, width) = (self.model, self.width());
        let mut partials = self.partials(&rows, params);
        for (rows, sums) in rows.blocks(&model).zip(partials.chunks_mut(width)) {
            add_block(&model, rows, params, sums);
        }
        self.take(rows.len(&model), &partials);
    }

    /// [`add`](Self::add) with its blocks distributed among threads: the same bits.
    #[cfg(feature = "cpu")]
    pub(super) fn add_parallel(
        &mut self,
        rows: Rows<R>,
        params: &[R],
        add_block: impl Fn(&Model, Rows<R>, &[R], &mut [R]) + Sync,
    ) {
        use rayon::prelude::*;
        let (model, width) = (self.model, self.width());
        let mut partials = self.partials(&rows, params);
        if rows.x.len() <= SERIAL {
            let blocks = partials.chunks_mut(width).zip(rows.blocks(&model));
            blocks.for_each(|(sums, rows)| add_block(&model, rows, params, sums));
        } else {
            let blocks: Vec<Rows<R>> = rows.blocks(&model).collect();
            let blocks = partials.par_chunks_mut(width).zip(blocks);
            blocks.for_each(|(sums, rows)| add_block(&model, rows, params, sums));
        }
        self.take(rows.len(&model), &partials);
    }

    /// Zeroed sums for every block.
    fn partials(&self, rows: &Rows<R>, params: &[R]) -> Vec<R> {
        let model = &self.model;
        assert_eq!(params.len(), model.params(), "one parameter per weight and intercept");
        let len = rows.len(model);
        let lengths = (rows.x.len(), rows.aux.len());
        assert_eq!(
            lengths,
            (len * model.features, len * model.aux_columns()),
            "x and aux have the same number of rows"
        );
        vec![R::zero(); self.width() * len.div_ceil(BLOCK)]
    }

    /// Adds the sums of blocks to the tree.
    fn take(&mut self, rows: usize, partials: &[R]) {
        assert!(self.rows.is_multiple_of(BLOCK), "only the last block of a batch is not whole");
        let first = (self.rows / BLOCK) as u64;
        for (block, partial) in (first..).zip(partials.chunks(self.width())) {
            self.nodes.extend_from_slice(partial);
            (0..nodes::completed_level(block)).for_each(|_| self.merge());
        }
        self.rows += rows;
    }

    /// Adds the last node to the one before it.
    fn merge(&mut self) {
        let width = self.width();
        let end = self.nodes.len() - width;
        let (left, right) = self.nodes.split_at_mut(end);
        left[end - width..].iter_mut().zip(&*right).for_each(|(left, &right)| *left += right);
        self.nodes.truncate(end);
    }

    /// The sums over all rows.
    fn root(mut self) -> Vec<R> {
        let width = self.width();
        while self.nodes.len() > width {
            self.merge();
        }
        self.nodes.resize(width, R::zero());
        self.nodes
    }

    /// Writes the gradient and returns the loss.
    ///
    /// # Panics
    /// If `grads` has another length than the parameters.
    pub fn finish(self, grads: &mut [R]) -> R {
        let (model, rows) = (self.model, self.rows);
        assert_eq!(model.params(), grads.len(), "one gradient per parameter");
        let sums = self.root();
        let (of_loss, of_gradient) = model.loss.factors();
        let [loss, weight] = [sums[sums.len() - 2], sums[sums.len() - 1]];
        let (mean, scale) = if model.weighted && weight > R::zero() {
            (R::of(of_loss) / weight, R::of(of_gradient) / weight)
        } else if model.weighted || rows == 0 {
            (R::zero(), R::zero())
        } else {
            (R::of(of_loss / rows as f64), R::of(of_gradient / rows as f64))
        };
        for (gradient, &sum) in grads.iter_mut().zip(&sums) {
            *gradient = scale * sum;
        }
        mean * loss
    }
}

/// The index of a class.
#[inline(always)]
pub(crate) fn class<R: Real>(model: &Model, y: R) -> usize {
    (y.f64() as usize).min(model.outputs - 1)
}

/// The auxiliary columns of a row.
#[derive(Clone, Copy)]
pub(super) struct AuxRow<'a, R> {
    pub targets: &'a [R],
    pub weight: Option<R>,
    pub offset: R,
}

impl<'a, R: Real> AuxRow<'a, R> {
    #[inline(always)]
    pub fn of(model: &Model, rows: &Rows<'a, R>, row: usize) -> Self {
        let aux_row = &rows.aux[row * model.aux_columns()..][..model.aux_columns()];
        AuxRow {
            targets: &aux_row[..model.targets()],
            weight: model.weight_at().map(|at| aux_row[at]),
            offset: model.offset_at().map_or(R::zero(), |at| aux_row[at]),
        }
    }

    /// Returns the derivative for a single score, times the row's weight, and adds loss and weight to `totals`.
    #[inline(always)]
    pub fn one(&self, loss: &Loss, z: R, totals: &mut [R]) -> R {
        let mut point = loss::point(loss, z + self.offset, self.targets[0]);
        if let Some(weight) = self.weight {
            point.gradient *= weight;
            point.loss *= weight;
            totals[2] += weight;
        }
        totals[0] += point.gradient;
        totals[1] += point.loss;
        point.gradient
    }

    /// Replaces the scores of a row by derivatives, times its weight, and adds loss and weight to `totals`.
    #[inline(always)]
    pub fn all(&self, model: &Model, z: &mut [R], totals: &mut [R]) {
        if model.offset {
            z.iter_mut().for_each(|z| *z += self.offset);
        }
        let mut cost = loss::row(&model.loss, z, self.targets, |y| class(model, y));
        if let Some(weight) = self.weight {
            z.iter_mut().for_each(|z| *z *= weight);
            cost *= weight;
            totals[z.len() + 1] += weight;
        }
        totals.iter_mut().zip(&*z).for_each(|(sum, &z)| *sum += z);
        totals[z.len()] += cost;
    }
}

/// A score of a row, without the offset.
#[inline(always)]
pub(super) fn score<R: Real>(model: &Model, x: &[R], params: &[R], output: usize) -> R {
    let z = dot(x, &params[output * x.len()..][..x.len()]);
    z + params.get(model.weights() + output).copied().unwrap_or(R::zero())
}

/// Adds the sums of a block.
#[inline(always)]
pub(super) fn add_block<R: Real>(model: &Model, rows: Rows<R>, params: &[R], sums: &mut [R]) {
    let (weights, intercepts) = params.split_at(model.weights());
    let (columns, totals) = sums.split_at_mut(model.weights());
    let row = |i: usize| &rows.x[i * model.features..][..model.features];
    let len = rows.len(model);
    if model.outputs > 1 {
        let mut z = vec![R::zero(); model.outputs];
        for i in 0..len {
            let x = row(i);
            for (k, z) in z.iter_mut().enumerate() {
                *z = dot(x, &weights[k * x.len()..][..x.len()]);
            }
            z.iter_mut().zip(intercepts).for_each(|(z, &b)| *z += b);
            AuxRow::of(model, &rows, i).all(model, &mut z, totals);
            for (k, &z) in z.iter().enumerate() {
                let columns = &mut columns[k * x.len()..][..x.len()];
                columns.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x * z);
            }
        }
        return;
    }
    let intercept = intercepts.first().copied().unwrap_or(R::zero());
    // Each row is read from memory once: for its score, then from the cache for the gradient.
    let mut one = |i: usize| {
        let z = dot(row(i), weights) + intercept;
        AuxRow::of(model, &rows, i).one(&model.loss, z, totals)
    };
    let whole = len / GROUP * GROUP;
    for first in (0..whole).step_by(GROUP) {
        let x: [&[R]; GROUP] = std::array::from_fn(|k| row(first + k));
        let z: [R; GROUP] = std::array::from_fn(|k| one(first + k));
        for (j, sum) in columns.iter_mut().enumerate() {
            for k in 0..GROUP {
                *sum += x[k][j] * z[k];
            }
        }
    }
    for i in whole..len {
        let z = one(i);
        columns.iter_mut().zip(row(i)).for_each(|(sum, &x)| *sum += x * z);
    }
}

#[inline(always)]
fn dot<R: Real>(x: &[R], w: &[R]) -> R {
    let mut lanes = [R::zero(); LANES];
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (w_chunks, w_rest) = w.as_chunks::<LANES>();
    for (x, w) in x_chunks.iter().zip(w_chunks) {
        for l in 0..LANES {
            lanes[l] += x[l] * w[l];
        }
    }
    finish_dot(lanes, x_rest, w_rest)
}

/// Adds the remaining elements, then sums the lanes as a tree.
#[inline(always)]
fn finish_dot<R: Real>(mut lanes: [R; LANES], x_rest: &[R], w_rest: &[R]) -> R {
    for ((lane, &x), &w) in lanes.iter_mut().zip(x_rest).zip(w_rest) {
        *lane += x * w;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            let upper = lanes[l + width];
            lanes[l] += upper;
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOFTMAX: Loss = Loss::Softmax { classes: 3 };

    /// Models of every loss, with weights, offsets, several outputs, and without intercepts.
    fn models() -> Vec<Model> {
        let model = |loss| Model::new(5, loss);
        vec![
            model(Loss::Mse),
            Model { outputs: 3, weighted: true, ..model(Loss::SquaredError) },
            model(Loss::Huber { epsilon: 0.7 }),
            Model { intercept: false, ..model(Loss::Quantile { quantile: 0.3 }) },
            Model { weighted: true, ..model(Loss::Logistic) },
            Model { offset: true, ..model(Loss::SquaredHinge) },
            Model { offset: true, ..model(Loss::Poisson) },
            Model { weighted: true, offset: true, ..model(SOFTMAX) },
            Model { intercept: false, ..model(SOFTMAX) },
        ]
    }

    fn value(i: usize) -> f64 {
        ((i * 37 % 19) as f64 - 9.0) / 7.0
    }

    fn aux(model: &Model, rows: usize) -> Vec<f64> {
        let aux_row = |i: usize| {
            let target = |k: usize| match model.loss {
                Loss::Logistic | Loss::SquaredHinge => (i % 2) as f64,
                Loss::Poisson => (i * i % 5) as f64,
                Loss::Softmax { classes } => (i % classes as usize) as f64,
                _ => value(i * 3 + 1 + k * 5),
            };
            let mut aux_row: Vec<f64> = (0..model.targets()).map(target).collect();
            aux_row.extend(model.weighted.then_some((i % 4) as f64));
            aux_row.extend(model.offset.then_some(value(i * 11)));
            aux_row
        };
        (0..rows).flat_map(aux_row).collect()
    }

    #[test]
    fn gradients_are_the_derivatives_of_the_losses() {
        for model in models() {
            let n = 23;
            let x: Vec<f64> = (0..n * 5).map(value).collect();
            let aux = aux(&model, n);
            let rows = Rows { x: &x, aux: &aux };
            let params: Vec<f64> = (0..model.params()).map(|i| value(i * 5 + 2) * 0.61).collect();
            let mut grads = vec![0.0; params.len()];
            gradient(&model, rows, &params, &mut grads);
            for j in 0..params.len() {
                let loss = |h: f64| {
                    let mut params = params.clone();
                    params[j] += h;
                    gradient(&model, rows, &params, &mut vec![0.0; params.len()])
                };
                let h = 1e-6;
                let slope = (loss(h) - loss(-h)) / (2.0 * h);
                assert!((slope - grads[j]).abs() < 1e-8, "{model:?} {j}: {slope} for {}", grads[j]);
            }
        }
    }

    /// A row of weight two counts as two rows, a row of weight zero as none.
    #[test]
    fn weights_are_repetitions() {
        let model = Model { weighted: true, ..Model::new(2, Loss::Logistic) };
        let x = [1.0, 2.0, -1.0, 0.5, 3.0, 3.0];
        let weighted = Rows { x: &x, aux: &[1.0, 2.0, 0.0, 1.0, 1.0, 0.0] };
        let repeated = Rows { x: &[1.0, 2.0, 1.0, 2.0, -1.0, 0.5], aux: &[1.0, 1.0, 0.0] };
        let params = [0.25, -0.5, 0.125];
        let (mut a, mut b) = ([0.0f64; 3], [0.0f64; 3]);
        let loss: f64 = gradient(&model, weighted, &params, &mut a);
        let unweighted = Model { weighted: false, ..model };
        assert!((loss - gradient(&unweighted, repeated, &params, &mut b)).abs() < 1e-15);
        a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-15));
    }

    #[test]
    fn large_scores_neither_overflow_nor_take_the_logarithm_of_zero() {
        for loss in [Loss::Logistic, Loss::Poisson, SOFTMAX] {
            let model = Model::new(1, loss);
            for z in [-1e20f32, -200.0, -88.0, 88.0, 200.0, 1e20] {
                for y in [0.0, 1.0] {
                    let params: Vec<f32> = (0..model.params()).map(|i| z * (i % 2) as f32).collect();
                    let mut grads = vec![0.0; params.len()];
                    let rows = Rows { x: &[1.0], aux: &[y] };
                    let cost = gradient(&model, rows, &params, &mut grads);
                    assert!(cost.is_finite() && grads.iter().all(|g| g.is_finite()), "{loss:?} {z} {y}");
                }
            }
        }
    }

    #[test]
    fn depth_is_that_of_a_serial_block_and_a_tree() {
        let depths: Vec<u32> = [1, 4, 512, 513, 1025, 1 << 20].map(depth).to_vec();
        assert_eq!(depths, [1, 4, 512, 513, 514, 523]);
    }

    #[test]
    fn a_batch_may_be_empty_or_have_no_features() {
        let mut grads = [7.0, 7.0];
        let empty = Rows { x: &[], aux: &[] };
        assert_eq!(gradient(&Model::new(1, Loss::Mse), empty, &[1.0, 2.0], &mut grads), 0.0);
        assert_eq!(grads, [0.0, 0.0]);
        let mut grads = [7.0];
        let aux = vec![1.0; BLOCK + 1];
        let rows = Rows { x: &[], aux: &aux };
        assert_eq!(gradient(&Model::new(0, Loss::Mse), rows, &[3.0], &mut grads), 4.0);
        assert_eq!(grads, [4.0]);
    }
}
