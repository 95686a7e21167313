"""Write metrics.json: what other people's metrics say of a few small arrays.

Run it from anywhere, with NumPy, SciPy and scikit-learn installed:

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install numpy scipy scikit-learn
    /tmp/venv/bin/python tests/golden/generate_metrics.py

The versions that the committed file was made with are its first line. It has a case a line.
- metric: the library's function. half_deviance is scikit-learn's metric of that loss, half
  of it where that is a whole deviance, and Huber's is SciPy's.
- loss: of a half_deviance, in the words of the library; else null.
- y and given: an array for every row; given are predictions, or the scores x w + b of
  log_loss and half_deviance, which scikit-learn is given as means or probabilities. Where
  these would round to 0 or 1, the decimal module has taken the logarithm to 60 digits.
- weights: of the rows, or null. Every case comes with and without.
"""

import decimal
import json
import math
import pathlib

import numpy as np
import scipy
import sklearn
from scipy.special import huber, softmax
from sklearn import metrics

# Some predictions are exact, some rows share one, and one weight is zero.
Y = np.array([3.0, -0.5, 2.0, 7.0, 2.0, 4.25, 0.0])
PREDICTED = np.array([2.5, 0.0, 2.0, 8.0, 2.5, 4.25, 2.5])
WEIGHTS = np.array([1.0, 3.0, 0.5, 3.0, 0.0, 1.25, 1.0])
TWO_Y = np.stack([Y, [1.0, 4.0, -2.0, 0.5, 8.0, 8.0, -1.0]], axis=1)
TWO_PREDICTED = np.stack([PREDICTED, [0.5, 3.0, -2.5, 1.5, 6.0, 9.0, -1.0]], axis=1)
COUNTS = np.array([0.0, 1.0, 4.0, 2.0, 0.0, 11.0, 3.0])
MEANS = np.array([0.25, 1.0, 3.5, 2.5, 1e-3, 9.0, 6.0])
BINARY = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
SCORES = np.array([0.5, 0.5, 2.0, -1.0, -1.0, -3.0, 0.5])
CLASSES = np.array([0.0, 2.0, 1.0, 2.0, 0.0, 1.0, 2.0])
CLASS_SCORES = np.array([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0], [-1.0, 3.0, 2.0],
                         [1.5, -0.5, 1.0], [0.25, 0.25, -2.0], [0.0, 1.0, 0.5],
                         [-2.0, -1.0, 4.0]])


def exact_log_loss(y, scores, sample_weight=None):
    """Of scores too far apart for probabilities in f64."""
    decimal.getcontext().prec = 60
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    total = decimal.Decimal(0)
    for label, row, weight in zip(y, scores, weights):
        row = [decimal.Decimal(0), decimal.Decimal(row)] if np.ndim(row) == 0 \
            else [decimal.Decimal(score) for score in row]
        loss = sum(score.exp() for score in row).ln() - row[int(label)]
        total += decimal.Decimal(float(weight)) * loss
    return float(total / decimal.Decimal(float(weights.sum())))


def binary_log_loss(y, scores, **how):
    return metrics.log_loss(y, softmax(np.stack([0.0 * scores, scores], axis=1), axis=1), **how)


def class_log_loss(y, scores, **how):
    return metrics.log_loss(y, softmax(scores, axis=1), **how)


def half_poisson(y, scores, **how):
    return 0.5 * metrics.mean_poisson_deviance(y, np.exp(scores), **how)


def half_squares(y, scores, **how):
    each = metrics.mean_squared_error(y, scores, multioutput="raw_values", **how)
    return 0.5 * each.sum()


def mean_huber(y, scores, sample_weight=None):
    return np.average(huber(0.75, scores - y), weights=sample_weight)


def mean_pinball(y, scores, **how):
    return metrics.mean_pinball_loss(y, scores, alpha=0.8, **how)


def d2_poisson(y, means, **how):
    return metrics.d2_tweedie_score(y, means, power=1, **how)


CASES = [
    ("r2", "r2", metrics.r2_score, Y, PREDICTED),
    ("r2_two_outputs", "r2", metrics.r2_score, TWO_Y, TWO_PREDICTED),
    ("r2_constant_missed", "r2", metrics.r2_score, np.full(7, 0.5), PREDICTED),
    ("r2_constant_met", "r2", metrics.r2_score, np.full(7, 0.5), np.full(7, 0.5)),
    ("r2_one_constant", "r2", metrics.r2_score, np.stack([Y, np.full(7, 2.0)], axis=1),
     TWO_PREDICTED),
    ("squares", "mean_squared_error", metrics.mean_squared_error, Y, PREDICTED),
    ("squares_two_outputs", "mean_squared_error", metrics.mean_squared_error, TWO_Y,
     TWO_PREDICTED),
    ("distances", "mean_absolute_error", metrics.mean_absolute_error, Y, PREDICTED),
    ("distances_two_outputs", "mean_absolute_error", metrics.mean_absolute_error, TWO_Y,
     TWO_PREDICTED),
    ("poisson", "mean_poisson_deviance", metrics.mean_poisson_deviance, COUNTS, MEANS),
    ("poisson_d2", "d2_poisson", d2_poisson, COUNTS, MEANS),
    ("log_loss_binary", "log_loss", binary_log_loss, BINARY, SCORES),
    ("log_loss_binary_far", "log_loss", exact_log_loss, BINARY,
     np.array([-800.0, -800.0, 40.0, -36.5, 1e5, 3e-9, -1e-300])),
    ("log_loss_binary_sure", "log_loss", exact_log_loss, BINARY,
     (2.0 * BINARY - 1.0) * (60.0 - np.arange(7.0))),
    ("log_loss_classes", "log_loss", class_log_loss, CLASSES, CLASS_SCORES),
    ("log_loss_classes_far", "log_loss", exact_log_loss, CLASSES, 300.0 * CLASS_SCORES - 5000.0),
    ("log_loss_classes_sure", "log_loss", exact_log_loss, CLASSES,
     50.0 * np.eye(3)[CLASSES.astype(int)] + np.arange(3.0)),
    ("accuracy_binary", "accuracy", metrics.accuracy_score, BINARY, (SCORES > 0.0) * 1.0),
    ("accuracy_classes", "accuracy", metrics.accuracy_score, CLASSES,
     CLASS_SCORES.argmax(axis=1) * 1.0),
    ("roc_auc", "roc_auc", metrics.roc_auc_score, BINARY, SCORES),
    ("roc_auc_all_tied", "roc_auc", metrics.roc_auc_score, BINARY, np.zeros(7)),
    ("roc_auc_perfect", "roc_auc", metrics.roc_auc_score, BINARY, BINARY - 0.5),
]
HALVES = [
    ({"name": "mse"}, half_squares, TWO_Y, TWO_PREDICTED),
    ({"name": "squared_error"}, half_squares, TWO_Y, TWO_PREDICTED),
    ({"name": "huber", "epsilon": 0.75}, mean_huber, Y, PREDICTED),
    ({"name": "quantile", "quantile": 0.8}, mean_pinball, Y, PREDICTED),
    ({"name": "logistic"}, binary_log_loss, BINARY, SCORES),
    ({"name": "poisson"}, half_poisson, COUNTS, np.log(MEANS)),
    ({"name": "softmax", "classes": 3}, class_log_loss, CLASSES, CLASS_SCORES),
]


def make_cases(name, metric, loss, measure, y, given):
    rows = {"y": y.reshape(len(y), -1).tolist(), "given": given.reshape(len(y), -1).tolist()}
    for suffix, weights in ("", None), ("_weighted", WEIGHTS):
        expected = float(measure(y, given, sample_weight=weights))
        assert math.isfinite(expected), name
        yield {"name": name + suffix, "metric": metric, "loss": loss, **rows,
               "weights": None if weights is None else weights.tolist(), "expected": expected}


def main():
    cases = [case for name, metric, *rest in CASES
             for case in make_cases(name, metric, None, *rest)]
    for loss, *rest in HALVES:
        cases += make_cases("half_" + loss["name"], "half_deviance", loss, *rest)
    versions = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__,
                "numpy": np.__version__}
    lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases]
    text = '{%s,"cases":[\n%s\n]}\n' % (json.dumps(versions)[1:-1], ",\n".join(lines))
    pathlib.Path(__file__).with_name("metrics.json").write_text(text)


if __name__ == "__main__":
    main()
