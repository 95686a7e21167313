//! The gradient of the mean squared error of a linear model, and the loss; the definition of
//! `shaders/gradient/`.
//!
//! For rows xᵢ with targets yᵢ and params (w, b): rᵢ = xᵢ·w + b − yᵢ, loss = 1/N Σ rᵢ²,
//! ∂loss/∂wⱼ = 2/N Σ xᵢⱼ rᵢ, ∂loss/∂b = 2/N Σ rᵢ.

use super::Real;

/// Rows that are summed serially before the tree begins; the shape of the sum depends on nothing else.
pub const BLOCK: usize = 512;
/// Rows whose residuals are in flight together.
pub(super) const GROUP: usize = 4;
/// Partial sums of one dot product: as many as the widest SIMD register holds f32.
pub(super) const LANES: usize = 16;

/// A batch: `y.len()` rows of `x`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, R> {
    /// The features, row-major.
    pub x: &'a [R],
    /// The targets.
    pub y: &'a [R],
}

impl<'a, R: Real> Rows<'a, R> {
    /// The number of features; zero for no rows.
    pub fn features(&self) -> usize {
        self.x.len().checked_div(self.y.len()).unwrap_or(0)
    }

    /// Rows in blocks of [`BLOCK`].
    fn blocks(self) -> impl ExactSizeIterator<Item = Rows<'a, R>> {
        let features = self.features().max(1);
        let x = self.x.chunks(BLOCK * features);
        // A problem without features still has rows.
        let missing = if self.x.is_empty() { self.y.len().div_ceil(BLOCK) } else { 0 };
        let x: Vec<&[R]> = x.chain(std::iter::repeat_n(&[][..], missing)).collect();
        self.y.chunks(BLOCK).zip(x).map(|(y, x)| Rows { x, y })
    }
}

/// The longest chain of additions behind one gradient element, for error bounds: a block serially, then
/// the tree.
pub fn depth(rows: usize) -> u32 {
    rows.min(BLOCK) as u32 + rows.div_ceil(BLOCK).next_power_of_two().ilog2()
}

/// The longest chain of additions behind one residual, for error bounds.
pub fn dot_depth(features: usize) -> u32 {
    features.div_ceil(LANES) as u32 + LANES.ilog2() + 2
}

/// Writes the gradient of the batch's mean squared error to `grads` and returns the loss.
///
/// `params` and `grads` hold the weights and last the intercept: one more than there are features.
/// An empty batch has gradient and loss zero.
///
/// # Panics
/// If `grads` is not as long as `params`, or `params` not one longer than a row.
pub fn mean_squared_error<R: Real>(rows: Rows<R>, params: &[R], grads: &mut [R]) -> R {
    check_lengths(&rows, params, grads);
    let width = params.len() + 1;
    let mut partials = vec![R::zero(); width * rows.y.len().div_ceil(BLOCK)];
    for (rows, sums) in rows.blocks().zip(partials.chunks_mut(width)) {
        add_block(rows, params, sums);
    }
    finish(&mut partials, rows.y.len(), grads)
}

/// [`mean_squared_error`] with its blocks shared out among threads: the same bits.
#[cfg(feature = "cpu")]
pub(super) fn mean_squared_error_parallel(
    rows: Rows<f32>,
    params: &[f32],
    grads: &mut [f32],
    add_block: impl Fn(Rows<f32>, &[f32], &mut [f32]) + Sync,
) -> f32 {
    use rayon::prelude::*;
    check_lengths(&rows, params, grads);
    let width = params.len() + 1;
    let blocks: Vec<Rows<f32>> = rows.blocks().collect();
    let mut partials = vec![0.0; width * blocks.len()];
    let sums = partials.par_chunks_mut(width).zip(blocks);
    sums.for_each(|(sums, rows)| add_block(rows, params, sums));
    finish(&mut partials, rows.y.len(), grads)
}

fn check_lengths<R: Real>(rows: &Rows<R>, params: &[R], grads: &[R]) {
    assert_eq!(params.len(), grads.len(), "there is a gradient for every parameter");
    let expected = rows.y.len() * params.len().saturating_sub(1);
    assert!(!params.is_empty() && rows.x.len() == expected, "params are the weights and the intercept");
}

/// Adds one block's sums: Σ xᵢⱼ rᵢ for every column, Σ rᵢ, Σ rᵢ².
#[inline(always)]
pub(super) fn add_block<R: Real>(rows: Rows<R>, params: &[R], sums: &mut [R]) {
    let features = params.len() - 1;
    let (weights, intercept) = (&params[..features], params[features]);
    let whole = rows.y.len() / GROUP * GROUP;
    for first in (0..whole).step_by(GROUP) {
        let x = std::array::from_fn(|k| &rows.x[(first + k) * features..][..features]);
        let y = std::array::from_fn(|k| rows.y[first + k]);
        add_rows::<R, GROUP>(x, y, weights, intercept, sums);
    }
    for row in whole..rows.y.len() {
        let x = &rows.x[row * features..][..features];
        add_rows::<R, 1>([x], [rows.y[row]], weights, intercept, sums);
    }
}

/// Each row is read from memory once: its residual first, then its share of the gradient out of cache.
#[inline(always)]
fn add_rows<R: Real, const K: usize>(
    x: [&[R]; K],
    y: [R; K],
    weights: &[R],
    intercept: R,
    sums: &mut [R],
) {
    let features = weights.len();
    let residuals: [R; K] = std::array::from_fn(|k| dot(x[k], weights) + intercept - y[k]);
    let (columns, totals) = sums.split_at_mut(features);
    let x: [&[R]; K] = std::array::from_fn(|k| &x[k][..features]);
    for j in 0..features {
        let mut sum = columns[j];
        for k in 0..K {
            sum += x[k][j] * residuals[k];
        }
        columns[j] = sum;
    }
    for r in residuals {
        totals[0] += r;
        totals[1] += r * r;
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

/// Adds what fills no register, and then the lanes as a tree.
#[inline(always)]
pub(super) fn finish_dot<R: Real>(mut lanes: [R; LANES], x_rest: &[R], w_rest: &[R]) -> R {
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

/// Adds the blocks' sums as a tree, scales them, and returns the loss.
fn finish<R: Real>(partials: &mut [R], rows: usize, grads: &mut [R]) -> R {
    if rows == 0 {
        grads.fill(R::zero());
        return R::zero();
    }
    let width = grads.len() + 1;
    let mut blocks = partials.len() / width;
    while blocks > 1 {
        let half = blocks.div_ceil(2);
        let (low, high) = partials.split_at_mut(half * width);
        for (low, &high) in low.iter_mut().zip(&high[..(blocks - half) * width]) {
            *low += high;
        }
        blocks = half;
    }
    let mean = R::of(1.0 / rows as f64);
    let scale = R::of(2.0 / rows as f64);
    for (gradient, &sum) in grads.iter_mut().zip(&*partials) {
        *gradient = scale * sum;
    }
    partials[width - 1] * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finite differences of the loss in f64.
    #[test]
    fn gradient_is_the_derivative_of_the_loss() {
        let (n, d) = (23, 5);
        let value = |i: usize| ((i * 37 % 19) as f64 - 9.0) / 7.0;
        let x: Vec<f64> = (0..n * d).map(value).collect();
        let y: Vec<f64> = (0..n).map(|i| value(i * 3 + 1)).collect();
        let params: Vec<f64> = (0..=d).map(|i| value(i * 5 + 2)).collect();
        let rows = Rows { x: &x, y: &y };
        let mut grads = vec![0.0; d + 1];
        mean_squared_error(rows, &params, &mut grads);
        for j in 0..=d {
            let loss = |h: f64| {
                let mut params = params.clone();
                params[j] += h;
                mean_squared_error(rows, &params, &mut vec![0.0; d + 1])
            };
            // The loss is a parabola in each parameter, so central differences are exact.
            let slope = (loss(0.5) - loss(-0.5)) / 1.0;
            assert!((slope - grads[j]).abs() < 1e-12, "{slope} for {}", grads[j]);
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
        assert_eq!(mean_squared_error(Rows { x: &[], y: &[] }, &[1.0, 2.0], &mut grads), 0.0);
        assert_eq!(grads, [0.0, 0.0]);
        let mut grads = [7.0];
        let y = vec![1.0; BLOCK + 1];
        assert_eq!(mean_squared_error(Rows { x: &[], y: &y }, &[3.0], &mut grads), 4.0);
        assert_eq!(grads, [4.0]);
    }
}
