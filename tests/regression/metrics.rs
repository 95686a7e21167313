//! The metrics against scikit-learn's: for small arrays (`golden/metrics.json`) and for the predictions of its solvers
//! (`golden/regressions.json`).

use crate::regressions;

use regressions::{Regression, regressions};
use serde::Deserialize;
use wgpu_optim::regression::metrics::{self, MetricError};
use wgpu_optim::{Error, Loss, Model};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    metric: String,
    loss: Option<Loss>,
    y: Vec<Vec<f64>>,
    given: Vec<Vec<f64>>,
    weights: Option<Vec<f64>>,
    expected: f64,
}

/// The metric of this name.
fn measure(
    metric: &str,
    y: &[f64],
    given: &[f64],
    model: &Model,
    weights: Option<&[f64]>,
) -> Result<f64, MetricError> {
    match metric {
        "r2" => metrics::r2(y, given, model.outputs, weights),
        "mean_squared_error" => metrics::mean_squared_error(y, given, model.outputs, weights),
        "mean_absolute_error" => metrics::mean_absolute_error(y, given, model.outputs, weights),
        "mean_poisson_deviance" => metrics::mean_poisson_deviance(y, given, weights),
        "d2_poisson" => metrics::d2_poisson(y, given, weights),
        "log_loss" => metrics::log_loss(y, given, model.outputs, weights),
        "accuracy" => metrics::accuracy(y, given, weights),
        "roc_auc" => metrics::roc_auc(y, given, weights),
        "half_deviance" => metrics::half_deviance(model, y, given, weights),
        _ => panic!("an unknown metric: {metric}"),
    }
}

#[track_caller]
fn assert_near(what: &str, actual: f64, expected: f64) {
    let error = (actual - expected).abs();
    assert!(error <= 1e-12 * expected.abs(), "{what}: {actual:e} for {expected:e}");
}

#[test]
fn small_arrays_have_the_metrics_of_scikit_learn() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/metrics.json")).unwrap();
    assert_eq!(golden.cases.len(), 58);
    for case in &golden.cases {
        let (y, given) = (case.y.concat(), case.given.concat());
        let outputs = case.given[0].len();
        let model = Model { outputs, ..Model::new(1, case.loss.unwrap_or_default()) };
        let actual = measure(&case.metric, &y, &given, &model, case.weights.as_deref()).unwrap();
        assert_near(&case.name, actual, case.expected);
    }
}

/// The arguments of scikit-learn's metric.
fn predictions(case: &Regression, metric: &str, scores: &[f64]) -> Vec<f64> {
    match metric {
        "accuracy" => metrics::classes(scores, case.coef.len()),
        "mean_poisson_deviance" | "d2_poisson" => scores.iter().map(|score| score.exp()).collect(),
        _ => scores.to_vec(),
    }
}

#[test]
fn solvers_predictions_have_the_metrics_of_scikit_learn() {
    let cases = regressions();
    assert_eq!(cases.len(), 15);
    for case in &cases {
        let (x, y) = case.rows();
        let (scores, model, weights) = (case.scores(&x), case.model(), case.weights.as_deref());
        for (metric, &expected) in &case.metrics {
            let given = predictions(case, metric, &scores);
            let actual = measure(metric, &y, &given, &model, weights).unwrap();
            assert_near(&format!("{} {metric}", case.name), actual, expected);
        }
        if let Some(expected) = &case.classes {
            assert_eq!(&metrics::classes(&scores, model.outputs), expected, "{}", case.name);
        }
        // Except for Poisson, half the deviance is the loss.
        let perfect = match case.loss {
            Loss::Poisson => {
                let perfect = |y: &f64| if *y == 0.0 { 0.0 } else { y - y * y.ln() };
                y.iter().map(perfect).sum::<f64>() / y.len() as f64
            }
            _ => 0.0,
        };
        let half = metrics::half_deviance(&model, &y, &scores, weights).unwrap();
        assert_near(&case.name, half + perfect, case.value);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let message = |result: Result<f64, MetricError>| result.unwrap_err().to_string();
    let three = [0.0, 1.0, 1.0];
    let text = message(metrics::accuracy(&three, &three[..2], None));
    assert_eq!(text, "there are 2 predictions instead of 3");
    let text = message(metrics::r2(&three, &three, 2, None));
    assert_eq!(text, "there are 3 values of y instead of 2");
    let text = message(metrics::log_loss(&three, &three, 3, None));
    assert_eq!(text, "there are 3 scores instead of 9");
    let text = message(metrics::roc_auc(&three, &three, Some(&[1.0])));
    assert_eq!(text, "there are 1 weights instead of 3");
    let text = message(metrics::roc_auc(&three, &three, Some(&[1.0, -2.0, 1.0])));
    assert_eq!(text, "weight 1 is -2.0, but must be finite and ≥ 0");
    let text = message(metrics::mean_squared_error(&[], &[], 1, None));
    assert_eq!(text, "there is no row to measure");
    let text = message(metrics::mean_absolute_error(&three, &three, 1, Some(&[0.0; 3])));
    assert_eq!(text, "there is no row to measure: every weight is 0");
    assert_eq!(message(metrics::r2(&three, &three, 0, None)), "there are 3 values of y instead of 0");
    assert_eq!(message(metrics::log_loss(&three, &[], 0, None)), "there is no row to measure");
}

#[test]
fn what_a_metric_is_not_defined_for_is_an_error() {
    let value = |result: Result<f64, MetricError>| match result.unwrap_err() {
        MetricError::Value { what, index, .. } => (what, index),
        error => panic!("{error}"),
    };
    let (y, means) = ([1.0, 2.0, 0.0], [1.0, 1.0, 0.5]);
    assert_eq!(value(metrics::mean_poisson_deviance(&[1.0, -1.0, 0.0], &means, None)), ("y", 1));
    assert_eq!(value(metrics::mean_poisson_deviance(&y, &[1.0, 1.0, 0.0], None)), ("mean", 2));
    assert_eq!(value(metrics::log_loss(&y, &means, 1, None)), ("y", 1));
    assert_eq!(value(metrics::log_loss(&y, &[0.0; 6], 2, None)), ("y", 1));
    assert_eq!(value(metrics::log_loss(&[0.5], &[0.0; 2], 2, None)), ("y", 0));
    assert_eq!(value(metrics::roc_auc(&[1.0, f64::NAN], &[0.0; 2], None)), ("y", 1));

    let undefined = |result: Result<f64, MetricError>| match result.unwrap_err() {
        MetricError::Undefined { metric, reason } => format!("{metric}: {reason}"),
        error => panic!("{error}"),
    };
    let one_class = metrics::roc_auc(&[1.0; 3], &means, None);
    assert_eq!(undefined(one_class), "roc_auc: all rows are of one class");
    let one_class = metrics::roc_auc(&[1.0, 0.0], &[1.0; 2], Some(&[1.0, 0.0]));
    assert_eq!(undefined(one_class), "roc_auc: all rows are of one class");
    assert_eq!(undefined(metrics::d2_poisson(&[2.0; 3], &means, None)), "d2_poisson: y is constant");
    let fewer = "there are fewer than two rows";
    assert_eq!(undefined(metrics::r2(&y[..1], &means[..1], 1, None)), format!("r2: {fewer}"));
    let one = Some(&[0.0, 1.0, 0.0][..]);
    assert_eq!(undefined(metrics::d2_poisson(&y, &means, one)), format!("d2_poisson: {fewer}"));

    let model = Model { outputs: 2, ..Model::new(1, Loss::Poisson) };
    let error = metrics::half_deviance(&model, &y, &means, None).unwrap_err();
    assert!(matches!(error, MetricError::Model(Error::HyperParameter { field: "outputs", .. })));
}

#[test]
fn a_prediction_that_is_nan_is_never_hidden() {
    let (y, given, both) = ([1.0, 0.0, 1.0], [0.5, f64::NAN, 0.5], [0.5, 0.5, 1.0, 1.0, f64::NAN, 0.5]);
    for metric in ["r2", "mean_squared_error", "mean_absolute_error", "mean_poisson_deviance"] {
        assert!(measure(metric, &y, &given, &Model::new(1, Loss::Mse), None).unwrap().is_nan());
    }
    assert!(metrics::r2(&[1.0; 3], &given, 1, None).unwrap().is_nan());
    assert!(metrics::roc_auc(&y, &given, None).unwrap().is_nan());
    assert!(metrics::d2_poisson(&y, &given, None).unwrap().is_nan());
    assert!(metrics::log_loss(&y, &given, 1, None).unwrap().is_nan());
    assert!(metrics::log_loss(&y, &both, 2, None).unwrap().is_nan());
    for loss in [
        Loss::Mse,
        Loss::Huber { epsilon: 0.1 },
        Loss::Quantile { quantile: 0.5 },
        Loss::Logistic,
        Loss::SquaredHinge,
        Loss::Poisson,
    ] {
        let half = metrics::half_deviance(&Model::new(1, loss), &y, &given, None).unwrap();
        assert!(half.is_nan(), "{loss:?}");
    }
    // But a row of weight 0 does not affect a mean.
    let weights = Some(&[1.0, 0.0, 1.0][..]);
    assert_eq!(metrics::mean_squared_error(&y, &given, 1, weights), Ok(0.25));

    let classes = metrics::classes(&both, 2);
    assert!(classes[..2] == [0.0, 0.0] && classes[2].is_nan());
    assert_eq!(metrics::accuracy(&[0.0, 1.0, 1.0], &classes, None), Ok(1.0 / 3.0));
    assert_eq!(metrics::classes(&[-0.0, 1e-300, -1.0], 1), [0.0, 1.0, 0.0]);
}

#[test]
fn scores_without_end_cost_what_they_should() {
    let infinity = f64::INFINITY;
    let cost = |y: f64, score| metrics::log_loss(&[y], &[score], 1, None).unwrap();
    assert_eq!([cost(1.0, infinity), cost(0.0, -infinity)], [0.0, 0.0]);
    assert_eq!([cost(1.0, -infinity), cost(0.0, infinity)], [infinity, infinity]);
    assert_eq!([cost(1.0, -800.0), cost(0.0, 1e300)], [800.0, 1e300]);
    let of_two = |y: f64, scores: [f64; 2]| metrics::log_loss(&[y], &scores, 2, None).unwrap();
    assert_eq!([of_two(0.0, [infinity, 0.0]), of_two(1.0, [infinity, 0.0])], [0.0, infinity]);
}
