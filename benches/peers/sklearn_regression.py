"""Linear regression with scikit-learn: an epoch of SGDRegressor.

    python sklearn_regression.py [--repeats N]
"""

import argparse

import numpy as np
import sklearn
from sklearn.linear_model import SGDRegressor

import report

EPOCH = (200_000, 100)


def epoch(x, y):
    """One pass over the rows in their order, an update a row: it has no larger batches."""
    model = SGDRegressor(penalty=None, learning_rate="constant", eta0=1e-4, shuffle=False,
                         max_iter=1, tol=None)

    def check():
        loss = np.square(model.predict(x) - y).mean()
        assert loss < 0.999 * np.square(y).mean(), f"the loss did not fall: {loss}"

    size = {"rows": x.shape[0], "features": x.shape[1], "batch": 1}
    return {"work": "epoch_sgd", "size": size, "run": lambda: model.fit(x, y), "check": check}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="that count: default 9")
    repeats = parser.parse_args().repeats
    works = [epoch(*report.make_rows(*EPOCH))]
    versions = {"scikit-learn": sklearn.__version__}
    report.write("scikit-learn", versions, "cpu", 1, works, repeats)


if __name__ == "__main__":
    main()
