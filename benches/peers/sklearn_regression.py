"""Linear regression with scikit-learn: an epoch of SGDRegressor.

    python sklearn_regression.py [--samples N] [--seed N]
"""

import numpy as np
import sklearn
from sklearn.linear_model import SGDRegressor

import report

EPOCH = (200_000, 100)
LR = 1e-4
# What a weight may be off by after an epoch, of 1 + |w|.
WEIGHT = 1e-4


def epoch_in_f64(x, y):
    """Half of the squared error, an update a row, from zeros."""
    w, b = np.zeros(x.shape[1]), 0.0
    for row, target in zip(x.astype(np.float64), y.astype(np.float64)):
        step = LR * (row @ w + b - target)
        w -= step * row
        b -= step
    return np.append(w, b)


def epoch(seed):
    """One pass over the rows in their order, an update a row: it has no larger batches."""
    x, y = report.make_rows(*EPOCH, seed)
    model = SGDRegressor(penalty=None, learning_rate="constant", eta0=LR, shuffle=False,
                         max_iter=1, tol=None)
    exact = epoch_in_f64(x, y)

    def run():
        model.fit(x, y)

    def check():
        run()
        error = np.append(model.coef_, model.intercept_) - exact
        worst = float(np.max(np.abs(error) / (1.0 + np.abs(exact))))
        if not worst <= WEIGHT:
            report.wrong(f"SGDRegressor: a weight is off by {worst:.3g} after an epoch")

    shape = {"rows": x.shape[0], "features": x.shape[1], "batch": 1}
    return [report.Work("epoch", "sgd", "SGDRegressor", x.size, shape, x.nbytes, run, check)]


def main():
    args = report.arguments(__doc__).parse_args()
    versions = {"scikit-learn": sklearn.__version__}
    report.write("scikit-learn", versions, report.Host(), args, [lambda: epoch(args.seed)])


if __name__ == "__main__":
    main()
