//! Metrics of predictions in f64, with scikit-learn's names.
//!
//! Every metric is a mean over rows, weighted by `weights` if given; rows of weight 0 are ignored. With several outputs,
//! `y` and the predictions are row-major. A NaN prediction makes a metric NaN, except in `accuracy`, where it counts as
//! wrong.

use crate::{Error, Loss, Model};

/// An error of computing a metric.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There are no rows.
    #[error("there is no row to measure{}", if *.weighted { ": every weight is 0" } else { "" })]
    Empty {
        /// Whether there are rows, but all of weight 0.
        weighted: bool,
    },
    /// A slice has the wrong length.
    #[error("there are {actual} {what} instead of {expected}")]
    Length {
        /// The slice.
        what: &'static str,
        /// Its length.
        actual: usize,
        /// The required length.
        expected: usize,
    },
    /// A value for which the metric is not defined.
    #[error("{what} {index} is {value:?}, but must be {range}")]
    Value {
        /// The slice.
        what: &'static str,
        /// Its index, from 0.
        index: usize,
        /// The value.
        value: f64,
        /// The permitted range.
        range: &'static str,
    },
    /// The metric would divide by zero.
    #[error("{metric} is not defined: {reason}")]
    Undefined {
        /// The metric.
        metric: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// The model is invalid.
    #[error(transparent)]
    Model(#[from] Error),
}

/// Computes the coefficient of determination, 1 − Σ (y − p)² / Σ (y − ȳ)², averaged over outputs.
///
/// For an output with constant y it is 1 if every prediction is exact, else 0: scikit-learn's `r2_score` with
/// `force_finite`.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights, or fewer than two rows.
pub fn r2(
    y: &[f64],
    predicted: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [outputs; 2], weights)?;
    rows.at_least_two("r2")?;
    let of_output = |k: usize| {
        let y = |i: usize| y[i * outputs + k];
        let residual = rows.mean(|i| (y(i) - predicted[i * outputs + k]).powi(2));
        match (rows.is_constant(y), residual == 0.0) {
            (false, _) => {
                let mean = rows.mean(y);
                1.0 - residual / rows.mean(|i| (y(i) - mean).powi(2))
            }
            (true, true) => 1.0,
            (true, false) if residual.is_nan() => residual,
            (true, false) => 0.0,
        }
    };
    Ok((0..outputs).map(of_output).sum::<f64>() / outputs as f64)
}

/// Computes the mean of (y − p)² over rows and outputs, in the units of y².
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights.
pub fn mean_squared_error(
    y: &[f64],
    predicted: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [outputs; 2], weights)?;
    Ok(rows.mean(|i| over(y, predicted, outputs, i, |r| r * r)) / outputs as f64)
}

/// Computes the mean of |y − p| over rows and outputs, in the units of y.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights.
pub fn mean_absolute_error(
    y: &[f64],
    predicted: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [outputs; 2], weights)?;
    Ok(rows.mean(|i| over(y, predicted, outputs, i, f64::abs)) / outputs as f64)
}

/// Computes the mean of 2 (y ln(y / μ) − y + μ), for counts y and means μ, with 0 ln 0 = 0.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights, a y below 0, or a mean that is not above 0.
pub fn mean_poisson_deviance(
    y: &[f64],
    means: &[f64],
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "means", means, [1; 2], weights)?;
    check(y, "y", "≥ 0", |y| y >= 0.0)?;
    check(means, "mean", "> 0", |mean| mean > 0.0 || mean.is_nan())?;
    Ok(2.0 * rows.mean(|i| half_poisson(y[i], (y[i] / means[i]).ln(), means[i])))
}

/// Computes the share of the Poisson deviance that the means explain: 1 − D(y, μ) / D(y, ȳ).
///
/// scikit-learn's `d2_tweedie_score` with `power=1`.
///
/// # Errors
/// [`MetricError`] as for [`mean_poisson_deviance`], for fewer than two rows, or a constant y.
pub fn d2_poisson(y: &[f64], means: &[f64], weights: Option<&[f64]>) -> Result<f64, MetricError> {
    const METRIC: &str = "d2_poisson";
    let deviance = mean_poisson_deviance(y, means, weights)?;
    let rows = Rows::of(y, "means", means, [1; 2], weights)?;
    rows.at_least_two(METRIC)?;
    if rows.is_constant(|i| y[i]) {
        return Err(MetricError::Undefined { metric: METRIC, reason: "y is constant" });
    }
    let mean = rows.mean(|i| y[i]);
    Ok(1.0 - deviance / (2.0 * rows.mean(|i| half_poisson(y[i], (y[i] / mean).ln(), mean))))
}

/// Computes the mean of −ln p, where p is the probability of a row's class y: from one score per row (that of class 1,
/// as in [`Loss::Logistic`]), or from one score per class (as in [`Loss::Softmax`]).
///
/// It is computed from scores, so no probability is clipped: a score difference of −800 gives 800.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights, or a y that is not a class.
pub fn log_loss(
    y: &[f64],
    scores: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "scores", scores, [1, outputs], weights)?;
    if outputs == 1 {
        check_binary(y)?;
        // ln(1 + eˣ), where x is the lead of the other class.
        return Ok(
            rows.mean(|i| log_sum_exp(&[0.0, if y[i] == 1.0 { -scores[i] } else { scores[i] }], 0))
        );
    }
    check(y, "y", "a class: 0, 1 … below the number of scores of a row", |y| {
        y >= 0.0 && y.fract() == 0.0 && y < outputs as f64
    })?;
    Ok(rows.mean(|i| log_sum_exp(&scores[i * outputs..][..outputs], y[i] as usize)))
}

/// Computes the share of rows whose predicted class is correct.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights.
pub fn accuracy(y: &[f64], predicted: &[f64], weights: Option<&[f64]>) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [1; 2], weights)?;
    Ok(rows.mean(|i| if y[i] == predicted[i] { 1.0 } else { 0.0 }))
}

/// Returns the class of each row: with one score 1 if it is above 0, else 0; with several scores the first maximum.
///
/// The class is NaN if a score is NaN.
pub fn classes(scores: &[f64], outputs: usize) -> Vec<f64> {
    let class = |row: &[f64]| match row {
        row if row.iter().any(|score| score.is_nan()) => f64::NAN,
        [score] => f64::from(*score > 0.0),
        row => (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as f64,
    };
    scores.chunks_exact(outputs.max(1)).map(class).collect()
}

/// Computes the area under the receiver operating characteristic: the probability that a row of class 1 has a higher
/// score than a row of class 0, where a tie counts half.
///
/// # Errors
/// [`MetricError`] for inconsistent lengths or invalid weights, a y that is neither 0 nor 1, or rows of only one class.
pub fn roc_auc(y: &[f64], scores: &[f64], weights: Option<&[f64]>) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "scores", scores, [1; 2], weights)?;
    check_binary(y)?;
    let mut order: Vec<(usize, f64)> = rows.iter().collect();
    if order.iter().any(|&(i, _)| scores[i].is_nan()) {
        return Ok(f64::NAN);
    }
    order.sort_unstable_by(|a, b| scores[a.0].total_cmp(&scores[b.0]));
    let (mut positive, mut negative, mut pairs) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[a.0] == scores[b.0]) {
        let of_class = |class| tied.iter().filter(|(i, _)| y[*i] == class).map(|(_, w)| w).sum::<f64>();
        let (ones, zeros) = (of_class(1.0), of_class(0.0));
        pairs += ones * (negative + 0.5 * zeros);
        positive += ones;
        negative += zeros;
    }
    if positive == 0.0 || negative == 0.0 {
        return Err(MetricError::Undefined { metric: "roc_auc", reason: "all rows are of one class" });
    }
    Ok(pairs / (positive * negative))
}

/// Computes half the mean deviance of a model's scores (including offsets), summed over outputs: the difference of the
/// loss from that of the saturated model. For the Huber and quantile losses, which have no deviance, it is the loss.
///
/// Both squared losses give ½ (z − y)², Poisson y ln(y / μ) − y + μ, and classes the [`log_loss`].
///
/// # Errors
/// [`MetricError`] for an invalid model, inconsistent lengths, invalid weights, or a y that the loss does not permit.
pub fn half_deviance(
    model: &Model,
    y: &[f64],
    scores: &[f64],
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    model.validate()?;
    let outputs = model.outputs;
    let rows = Rows::of(y, "scores", scores, [model.targets(), outputs], weights)?;
    match model.loss {
        Loss::Mse | Loss::SquaredError => {
            Ok(rows.mean(|i| over(y, scores, outputs, i, |r| 0.5 * r * r)))
        }
        Loss::Huber { epsilon } => {
            let cost = |r: f64| {
                let within = r.abs().min(epsilon);
                within * (r.abs() - 0.5 * within)
            };
            Ok(rows.mean(|i| over(y, scores, 1, i, cost)))
        }
        Loss::Quantile { quantile } => {
            let cost = |r: f64| if r < 0.0 { -quantile * r } else { (1.0 - quantile) * r };
            Ok(rows.mean(|i| over(y, scores, 1, i, cost)))
        }
        Loss::Poisson => {
            check(y, "y", "≥ 0", |y| y >= 0.0)?;
            Ok(rows.mean(|i| half_poisson(y[i], y[i].ln() - scores[i], scores[i].exp())))
        }
        Loss::SquaredHinge => {
            check(y, "y", "0 or 1", |y| y == 0.0 || y == 1.0)?;
            let violation = |i: usize| 1.0 - (2.0 * y[i] - 1.0) * scores[i];
            // A score that is not a number stays one.
            Ok(rows.mean(|i| if violation(i) < 0.0 { 0.0 } else { violation(i) * violation(i) }))
        }
        Loss::Logistic | Loss::Softmax { .. } => log_loss(y, scores, outputs, weights),
    }
}

/// Rows and their weights.
struct Rows<'a> {
    count: usize,
    weights: Option<&'a [f64]>,
}

impl<'a> Rows<'a> {
    /// Checks lengths and weights: `y` and `given` have fixed numbers of values per row.
    fn of(
        y: &[f64],
        what: &'static str,
        given: &[f64],
        [targets, outputs]: [usize; 2],
        weights: Option<&'a [f64]>,
    ) -> Result<Self, MetricError> {
        let length = |what, actual, expected| match actual == expected {
            true => Ok(()),
            false => Err(MetricError::Length { what, actual, expected }),
        };
        let count = y.len().checked_div(targets).unwrap_or(0);
        length("values of y", y.len(), count * targets)?;
        length(what, given.len(), count.saturating_mul(outputs))?;
        if let Some(weights) = weights {
            length("weights", weights.len(), count)?;
            check(weights, "weight", "finite and ≥ 0", |weight| weight >= 0.0 && weight.is_finite())?;
        }
        let rows = Rows { count, weights };
        let something = outputs > 0 && rows.iter().next().is_some();
        let empty = MetricError::Empty { weighted: outputs > 0 && count > 0 };
        if something { Ok(rows) } else { Err(empty) }
    }

    /// Iterates over the rows of non-zero weight, with their weights.
    fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let weight = |i| (i, self.weights.map_or(1.0, |weights| weights[i]));
        (0..self.count).map(weight).filter(|(_, weight)| *weight > 0.0)
    }

    fn mean(&self, value: impl Fn(usize) -> f64) -> f64 {
        let (sum, total) =
            self.iter().fold((0.0, 0.0), |(sum, total), (i, w)| (sum + w * value(i), total + w));
        sum / total
    }

    fn is_constant(&self, value: impl Fn(usize) -> f64) -> bool {
        let mut values = self.iter().map(|(i, _)| value(i));
        let first = values.next();
        values.all(|value| Some(value) == first)
    }

    fn at_least_two(&self, metric: &'static str) -> Result<(), MetricError> {
        let error = MetricError::Undefined { metric, reason: "there are fewer than two rows" };
        self.iter().nth(1).map(drop).ok_or(error)
    }
}

/// The sum of a function of the residuals `given − y` over the outputs of row `i`.
fn over(y: &[f64], given: &[f64], outputs: usize, i: usize, cost: impl Fn(f64) -> f64) -> f64 {
    let row = i * outputs..(i + 1) * outputs;
    y[row.clone()].iter().zip(&given[row]).map(|(y, given)| cost(given - y)).sum()
}

/// y ln(y / μ) − y + μ, from the logarithm and μ.
fn half_poisson(y: f64, log_ratio: f64, mean: f64) -> f64 {
    if y == 0.0 { mean } else { y * log_ratio - y + mean }
}

/// ln Σ e^(zₖ − z_y). It is accurate also if z_y is far ahead, because `ln_1p` adds the largest term, 1.
fn log_sum_exp(scores: &[f64], y: usize) -> f64 {
    let highest = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(y);
    // y wins ties, so that infinity is not subtracted from itself.
    let highest = if scores[highest] == scores[y] { y } else { highest };
    let others = (0..scores.len()).filter(|&k| k != highest);
    let rest: f64 = others.map(|k| (scores[k] - scores[highest]).exp()).sum();
    let behind = if highest == y { 0.0 } else { scores[highest] - scores[y] };
    behind + rest.ln_1p()
}

fn check_binary(y: &[f64]) -> Result<(), MetricError> {
    check(y, "y", "0 or 1", |y| y == 0.0 || y == 1.0)
}

fn check(
    values: &[f64],
    what: &'static str,
    range: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), MetricError> {
    match values.iter().position(|value| !holds(*value)) {
        Some(index) => Err(MetricError::Value { what, index, value: values[index], range }),
        None => Ok(()),
    }
}
