//! How good predictions are, in f64 and in scikit-learn's words.
//!
//! Every metric is a mean over rows. With `weights` a row counts as often as its weight says, and one of
//! weight 0 not at all. Where there are several outputs, `y` and what was predicted for it lie row after
//! row. A prediction that is NaN makes a metric NaN, unless it is of classes: it is then a wrong one.

use crate::{Error, Loss, Model};

/// Why a metric has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There is nothing to take a mean of.
    #[error("there is no row to measure{}", if *.weighted { ": every weight is 0" } else { "" })]
    Empty {
        /// Whether there are rows, but none with a weight.
        weighted: bool,
    },
    /// Slices that belong together differ in length.
    #[error("there are {actual} {what} instead of {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        actual: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A value for which the metric is not defined.
    #[error("{what} {index} is {value:?}, but must be {range}")]
    Value {
        /// What it is of.
        what: &'static str,
        /// Where it is in its slice, from 0.
        index: usize,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The values are such that the metric would divide by zero.
    #[error("{metric} is not defined: {reason}")]
    Undefined {
        /// Which metric.
        metric: &'static str,
        /// What there is or is not.
        reason: &'static str,
    },
    /// The model itself cannot be.
    #[error(transparent)]
    Model(#[from] Error),
}

/// The coefficient of determination, 1 − Σ (y − p)² / Σ (y − ȳ)²: the mean of that of each output.
///
/// Of an output whose y is constant it is 1 where every prediction is exact and else 0: scikit-learn's
/// `r2_score` with `force_finite`.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit, or fewer than two rows.
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

/// The mean of (y − p)² over rows and outputs, in the units of y².
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit.
pub fn mean_squared_error(
    y: &[f64],
    predicted: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [outputs; 2], weights)?;
    Ok(rows.mean(|i| over(y, predicted, outputs, i, |r| r * r)) / outputs as f64)
}

/// The mean of |y − p| over rows and outputs, in the units of y.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit.
pub fn mean_absolute_error(
    y: &[f64],
    predicted: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [outputs; 2], weights)?;
    Ok(rows.mean(|i| over(y, predicted, outputs, i, f64::abs)) / outputs as f64)
}

/// The mean of 2 (y ln(y / μ) − y + μ), where y counts and μ is the count expected; 0 ln 0 is 0.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit, a y below 0, or a mean that is not above it.
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

/// The part of the Poisson deviance that the means explain: 1 − D(y, μ) / D(y, ȳ).
///
/// scikit-learn's `d2_tweedie_score` with `power=1`.
///
/// # Errors
/// [`MetricError`] as of [`mean_poisson_deviance`], for fewer than two rows, or a constant y.
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

/// The mean of −ln p, p being the probability of a row's class y: from one score a row, that of class 1
/// as in [`Loss::Logistic`], or from a score a class as in [`Loss::Softmax`].
///
/// No probability is formed, so nothing is clipped: a class that is 800 behind costs 800.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit, or a y that is no class.
pub fn log_loss(
    y: &[f64],
    scores: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "scores", scores, [1, outputs], weights)?;
    if outputs == 1 {
        check_binary(y)?;
        // ln(1 + eˣ) is how far the other class is ahead, or what is left of it.
        return Ok(
            rows.mean(|i| log_sum_exp(&[0.0, if y[i] == 1.0 { -scores[i] } else { scores[i] }], 0))
        );
    }
    check(y, "y", "a class: 0, 1 … below the number of scores of a row", |y| {
        y >= 0.0 && y.fract() == 0.0 && y < outputs as f64
    })?;
    Ok(rows.mean(|i| log_sum_exp(&scores[i * outputs..][..outputs], y[i] as usize)))
}

/// The share of rows whose class is the predicted one.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit.
pub fn accuracy(y: &[f64], predicted: &[f64], weights: Option<&[f64]>) -> Result<f64, MetricError> {
    let rows = Rows::of(y, "predictions", predicted, [1; 2], weights)?;
    Ok(rows.mean(|i| if y[i] == predicted[i] { 1.0 } else { 0.0 }))
}

/// The class of each row: 1 where its one score is above 0 and else 0, or the first of its highest scores.
///
/// NaN where a score is NaN.
pub fn classes(scores: &[f64], outputs: usize) -> Vec<f64> {
    let class = |row: &[f64]| match row {
        row if row.iter().any(|score| score.is_nan()) => f64::NAN,
        [score] => f64::from(*score > 0.0),
        row => (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as f64,
    };
    scores.chunks_exact(outputs.max(1)).map(class).collect()
}

/// The area under the receiver operating characteristic: how probable it is that a row of class 1 has a
/// higher score than one of class 0, a tie being half.
///
/// # Errors
/// [`MetricError`] for lengths or weights that do not fit, a y that is neither 0 nor 1, or rows of one
/// class alone.
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

/// What a model's scores (offsets included) cost beyond those of a model that meets every y, outputs added
/// up: half the mean deviance of its distribution. Where it has none, as Huber's and the quantile's, it is
/// the loss.
///
/// Both squared losses have ½ (z − y)², a Poisson y ln(y / μ) − y + μ, and a class its [`log_loss`].
///
/// # Errors
/// [`MetricError`] for a model, lengths or weights that do not fit, or a y that the loss cannot have.
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
        Loss::Logistic | Loss::Softmax { .. } => log_loss(y, scores, outputs, weights),
    }
}

/// Which rows there are, and how much each counts.
struct Rows<'a> {
    count: usize,
    weights: Option<&'a [f64]>,
}

impl<'a> Rows<'a> {
    /// The rows of `y` and of `given`, so many values a row in either.
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

    /// The rows that count, and how much.
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

/// The sum of a function of the residuals given − y over the outputs of row `i`.
fn over(y: &[f64], given: &[f64], outputs: usize, i: usize, cost: impl Fn(f64) -> f64) -> f64 {
    let row = i * outputs..(i + 1) * outputs;
    y[row.clone()].iter().zip(&given[row]).map(|(y, given)| cost(given - y)).sum()
}

/// y ln(y / μ) − y + μ from that logarithm and μ.
fn half_poisson(y: f64, log_ratio: f64, mean: f64) -> f64 {
    if y == 0.0 { mean } else { y * log_ratio - y + mean }
}

/// ln Σ e^(zₖ − z_y), which is exact for a y far ahead too: the largest term is 1, and is not added but
/// left to `ln_1p`.
fn log_sum_exp(scores: &[f64], y: usize) -> f64 {
    let highest = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(y);
    // A tie is y's, so that a score of infinity is not taken from itself.
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
