"""Write regressions.json: where other people's exact solvers end.

Run it from anywhere, with NumPy, SciPy and scikit-learn installed:

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install numpy scipy scikit-learn
    /tmp/venv/bin/python tests/golden/generate_regressions.py

The versions that the committed file was made with are its first line. It has a case a line.
- data: the file of tests/data whose columns but the last are the features. Each is
  standardised as StandardScaler does: by its mean and its population standard deviation,
  a constant one by its mean alone.
- targets: y, an array for every output; null: the file's last column.
- weights: of the rows; offset: what is added to every score of a row. Null: none.
- loss: in the words of the library, whose conventions these are: the mean over the rows,
  weighted where they have weights, the outputs added up.
- penalty: the objective is the loss + l1 * sum |w| + l2/2 * sum w^2, without intercepts.
- solver: what found the minimum.
- coef and intercept: an array of weights for every output, and a number.
- objective, value: at the minimum, and the loss alone.
- stationarity: the largest component of the objective's smallest subgradient there. A
  minimum of a convex objective is where it is zero.
- metrics: scikit-learn's, of the predictions; with the weights where there are any.
- classes: the predicted ones, null where y is not a class.
"""

import json
import pathlib

import numpy as np
import scipy
import sklearn
from scipy.optimize import lsq_linear, minimize
from scipy.special import log_softmax, logsumexp, softmax, xlogy
from sklearn import linear_model as lm
from sklearn import metrics
from sklearn.svm import LinearSVC

HERE = pathlib.Path(__file__).parent
MOST = {"max_iter": 1_000_000}


def read(name):
    """The standardised features and the last column."""
    path = HERE.parent / "data" / f"{name}.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    features = table[:, :-1]
    deviation = features.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    return (features - features.mean(axis=0)) / deviation, table[:, -1]


def losses(loss, scores, y):
    """What each row costs, and its derivative by the scores: the formulas of src/loss.rs."""
    name, z = loss["name"], scores[:, 0]
    if name == "squared_error":
        return 0.5 * ((scores - y) ** 2).sum(axis=1), scores - y
    if name == "softmax":
        classes = y[:, 0].astype(int)
        cost = logsumexp(scores, axis=1) - scores[np.arange(len(y)), classes]
        return cost, softmax(scores, axis=1) - np.eye(loss["classes"])[classes]
    y = y[:, 0]
    residual = z - y
    if name == "huber":
        epsilon = loss["epsilon"]
        slope = np.clip(residual, -epsilon, epsilon)
        cost = slope * (residual - 0.5 * slope)
    elif name == "quantile":
        quantile = loss["quantile"]
        slope = np.where(residual < 0.0, -quantile, 1.0 - quantile)
        cost = slope * residual
    elif name == "logistic":
        cost = np.logaddexp(0.0, z) - y * z
        slope = 1.0 / (1.0 + np.exp(-z)) - y
    elif name == "squared_hinge":
        sign = 2.0 * y - 1.0
        violation = np.maximum(1.0 - sign * z, 0.0)
        cost, slope = violation ** 2, -2.0 * sign * violation
    elif name == "poisson":
        cost = np.exp(z) - y * z
        slope = np.exp(z) - y
    return cost, slope[:, None]


def solve_kinks(x1, slopes, at_kink, quantile):
    """The slopes of the rows that a quantile's hyperplane goes through may be anything from
    -quantile to 1 - quantile: takes those that bring the gradient nearest to zero."""
    rest = slopes[~at_kink, 0] @ x1[~at_kink]
    found = lsq_linear(x1[at_kink].T, -rest, (-quantile, 1.0 - quantile), tol=1e-14)
    slopes[at_kink, 0] = found.x
    return slopes


def stationarity(case, x, y, slopes, coef, residual):
    share = case["share"]
    x1 = np.hstack([x, np.ones((len(x), 1))])
    if case["loss"]["name"] == "quantile":
        at_kink = np.abs(residual) < 1e-9
        # As many as there are parameters: the minimum is a corner, and the only one.
        assert at_kink.sum() == x1.shape[1], at_kink.sum()
        slopes = solve_kinks(x1, slopes.copy(), at_kink, case["loss"]["quantile"])
    gradient = (share[:, None] * slopes).T @ x1
    l1, l2 = case["penalty"]["l1"], case["penalty"]["l2"]
    weights = gradient[:, :-1] + l2 * coef
    at_zero = np.maximum(np.abs(weights) - l1, 0.0)
    gradient[:, :-1] = np.where(coef == 0.0, at_zero, weights + l1 * np.sign(coef))
    return np.abs(gradient).max()


def measure(loss, scores, y, weights):
    """scikit-learn's metrics of the predictions, and the classes among them."""
    name = loss["name"]
    if name == "squared_hinge":
        classes = (scores[:, 0] > 0.0).astype(int)
        return {"roc_auc": metrics.roc_auc_score(y[:, 0], scores[:, 0]),
                "accuracy": metrics.accuracy_score(y[:, 0], classes)}, classes.tolist()
    if name in ("logistic", "softmax"):
        y = y[:, 0].astype(int)
        if name == "logistic":
            classes = (scores[:, 0] > 0.0).astype(int)
            chances = softmax(np.hstack([np.zeros_like(scores), scores]), axis=1)
            measured = {"roc_auc": metrics.roc_auc_score(y, scores[:, 0])}
        else:
            classes, measured = scores.argmax(axis=1), {}
            chances = np.exp(log_softmax(scores, axis=1))
        measured["accuracy"] = metrics.accuracy_score(y, classes)
        measured["log_loss"] = metrics.log_loss(y, chances)
        return measured, classes.tolist()
    if name == "poisson":
        mean = np.exp(scores[:, 0])
        return {
            "mean_poisson_deviance": metrics.mean_poisson_deviance(y[:, 0], mean),
            "d2_poisson": metrics.d2_tweedie_score(y[:, 0], mean, power=1),
        }, None
    weights = {"sample_weight": weights}
    return {
        "r2": metrics.r2_score(y, scores, **weights),
        "mean_squared_error": metrics.mean_squared_error(y, scores, **weights),
        "mean_absolute_error": metrics.mean_absolute_error(y, scores, **weights),
    }, None


def make_case(name, data, loss, solver, coef, intercept, *, within, l1=0.0, l2=0.0,
              targets=None, weights=None, offset=None):
    """A case from a solver's parameters, checked to be a minimum to `within`."""
    x, y = read(data)
    y = y[:, None] if targets is None else np.asarray(targets, float).T
    coef = np.atleast_2d(coef)
    intercept = np.atleast_1d(intercept)
    scores = x @ coef.T + intercept
    if offset is not None:
        scores = scores + offset[:, None]
    share = np.ones(len(x)) if weights is None else weights
    share = share / share.sum()
    cost, slopes = losses(loss, scores, y)
    value = share @ cost
    penalty = {"l1": l1, "l2": l2}
    at = stationarity({"loss": loss, "penalty": penalty, "share": share}, x, y, slopes, coef,
                      scores[:, 0] - y[:, 0])
    assert at < within, (name, at)
    measured, classes = measure(loss, scores, y, weights)
    zeros = f", {(coef == 0.0).sum()} of {coef.size} weights are 0" if l1 else ""
    print(f"{name}: loss {value:.6g}, stationary to {at:.1e}{zeros}")
    return {
        "name": name, "data": data, "targets": targets,
        "weights": None if weights is None else weights.tolist(),
        "offset": None if offset is None else offset.tolist(),
        "loss": loss, "penalty": penalty, "solver": solver,
        "coef": coef.tolist(), "intercept": intercept.tolist(),
        "objective": value + l1 * np.abs(coef).sum() + 0.5 * l2 * (coef ** 2).sum(),
        "value": value, "stationarity": at, "metrics": measured, "classes": classes,
    }


def squared_error_cases():
    x, y = read("diabetes")
    n = len(x)
    loss = {"name": "squared_error"}

    def case(name, model, fit=(), **how):
        model.fit(x, y, *fit)
        name, solver = f"diabetes_{name}", type(model).__name__
        return make_case(name, "diabetes", loss, solver, model.coef_, model.intercept_, **how)

    yield case("least_squares", lm.LinearRegression(), within=1e-11)
    # Ridge has the sum of r^2 + alpha * sum w^2: n times twice ours.
    yield case("ridge", lm.Ridge(alpha=0.1 * n, solver="cholesky"), within=1e-11, l2=0.1)
    tight = {"tol": 1e-14, **MOST}
    yield case("lasso", lm.Lasso(alpha=2.0, **tight), within=1e-7, l1=2.0)
    alpha, ratio = 0.5, 0.9
    model = lm.ElasticNet(alpha=alpha, l1_ratio=ratio, **tight)
    yield case("elastic_net", model, within=1e-7, l1=alpha * ratio, l2=alpha * (1.0 - ratio))
    weights = 1.0 + np.arange(n) % 3
    yield case("weighted", lm.LinearRegression(), [weights], within=1e-11, weights=weights)

    both = np.stack([y, y ** 2 / 1000.0])
    model = lm.LinearRegression().fit(x, both.T)
    yield make_case("diabetes_two_targets", "diabetes", loss, "LinearRegression", model.coef_,
                    model.intercept_, within=1e-11, targets=both.tolist())


def huber_case():
    """HuberRegressor finds a scale sigma too; with it, where its loss becomes linear is
    epsilon * sigma in the units of y. There the loss's minimum is the same, and SciPy's."""
    x, y = read("diabetes")
    model = lm.HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-12, **MOST).fit(x, y)
    loss = {"name": "huber", "epsilon": 1.35 * model.scale_}
    x1 = np.hstack([x, np.ones((len(x), 1))])
    start = np.append(model.coef_, model.intercept_)

    def objective(params):
        cost, slope = losses(loss, (x1 @ params)[:, None], y[:, None])
        return cost.mean(), x1.T @ slope[:, 0] / len(x1)

    def curvature(params):
        inner = np.abs(x1 @ params - y) < loss["epsilon"]
        return x1[inner].T @ x1[inner] / len(x1)

    found = minimize(objective, start, jac=True, hess=curvature, method="trust-exact",
                     options={"gtol": 1e-12})
    # HuberRegressor's L-BFGS stops once the loss falls by less than 2e-9 of itself.
    assert np.abs(found.x - start).max() < 2e-3, found.x - start
    return make_case("diabetes_huber", "diabetes", loss, "HuberRegressor, then trust-exact",
                     found.x[:-1], found.x[-1], within=1e-11)


def squared_hinge_case():
    """LinearSVC has half the penalty + C times the sum of the losses: C n times ours. It
    penalises the intercept too, a little where intercept_scaling is large; SciPy ends
    where it does not."""
    x, y = read("breast_cancer")
    n, loss = len(x), {"name": "squared_hinge"}
    svc = LinearSVC(C=1.0, intercept_scaling=1e3, dual=False, tol=1e-10, **MOST).fit(x, y)
    x1 = np.hstack([x, np.ones((n, 1))])
    ridge = np.append(np.full(x.shape[1], 1.0 / n), 0.0)
    start = np.append(svc.coef_, svc.intercept_)

    def objective(params):
        cost, slope = losses(loss, (x1 @ params)[:, None], y[:, None])
        value = cost.mean() + 0.5 * (ridge * params ** 2).sum()
        return value, x1.T @ slope[:, 0] / n + ridge * params

    def curvature(params):
        violates = (2.0 * y - 1.0) * (x1 @ params) < 1.0
        return 2.0 * x1[violates].T @ x1[violates] / n + np.diag(ridge)

    found = minimize(objective, start, jac=True, hess=curvature, method="trust-exact",
                     options={"gtol": 1e-12})
    assert np.abs(found.x - start).max() < 1e-3, np.abs(found.x - start).max()
    return make_case("breast_cancer_squared_hinge", "breast_cancer", loss,
                     "LinearSVC, then trust-exact", found.x[:-1], found.x[-1], within=1e-10,
                     l2=1.0 / n)


def quantile_cases():
    x, y = read("diabetes")
    for quantile in (0.5, 0.8):
        model = lm.QuantileRegressor(quantile=quantile, alpha=0.0, solver="highs").fit(x, y)
        yield make_case(f"diabetes_quantile_{quantile}", "diabetes",
                        {"name": "quantile", "quantile": quantile}, "QuantileRegressor",
                        model.coef_, model.intercept_, within=1e-11)


def classification_cases():
    x, y = read("breast_cancer")
    n = len(x)
    # LogisticRegression has C times the sum of the losses + the penalty: C n times ours.
    newton = {"solver": "newton-cholesky", "tol": 1e-10, **MOST}
    model = lm.LogisticRegression(C=1.0, **newton).fit(x, y)
    yield make_case("breast_cancer_logistic", "breast_cancer", {"name": "logistic"},
                    "LogisticRegression, newton-cholesky", model.coef_, model.intercept_,
                    within=1e-10, l2=1.0 / n)
    # liblinear penalises the intercept; saga does not.
    alpha = 0.01
    model = lm.LogisticRegression(C=1.0 / (alpha * n), l1_ratio=1.0, solver="saga", tol=1e-13,
                                  random_state=0, **MOST).fit(x, y)
    yield make_case("breast_cancer_logistic_l1", "breast_cancer", {"name": "logistic"},
                    "LogisticRegression, saga", model.coef_, model.intercept_, within=1e-8,
                    l1=alpha)

    x, y = read("digits")
    model = lm.LogisticRegression(C=1.0, **newton).fit(x, y)
    # Adding a number to every class's intercept changes nothing: their sum is 0.
    intercept = model.intercept_ - model.intercept_.mean()
    yield make_case("digits_softmax", "digits", {"name": "softmax", "classes": 10},
                    "LogisticRegression, newton-cholesky", model.coef_, intercept,
                    within=1e-10, l2=1.0 / len(x))


def poisson_cases():
    """Counts over an exposure e, mu = e exp(x w + b): PoissonRegressor has no offset, but is
    given the rates y / e with weights e. Its sum e (exp(z) - y/e z) is that of mu - y z, and
    ours of mu - y (z + ln e), which differs by y ln e: by no parameter. It divides by the
    sum of e and not by n, and so must its alpha be."""
    x, _ = read("diabetes")
    i = np.arange(len(x))
    exposure = np.array([0.5, 1.0, 2.0, 4.0])[i % 4]
    counts = np.round(exposure * np.exp(0.3 * x[:, 2] + 0.2 * x[:, 3] + 1.0)) + 7 * i % 5 - 2
    counts = np.maximum(counts, 0.0)
    for alpha in (0.0, 0.1):
        model = lm.PoissonRegressor(alpha=alpha * len(x) / exposure.sum(), tol=1e-12,
                                    solver="newton-cholesky", **MOST)
        model.fit(x, counts / exposure, sample_weight=exposure)
        name = "diabetes_poisson" + ("_ridge" if alpha else "")
        yield make_case(name, "diabetes", {"name": "poisson"},
                        "PoissonRegressor, newton-cholesky", model.coef_, model.intercept_,
                        within=1e-10, l2=alpha, targets=[counts.tolist()],
                        offset=np.log(exposure))
    assert (counts == 0.0).any() and (xlogy(counts, counts) >= 0.0).all()


def main():
    cases = [*squared_error_cases(), huber_case(), *quantile_cases(), *classification_cases(),
             squared_hinge_case(), *poisson_cases()]
    versions = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__,
                "numpy": np.__version__}
    lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases]
    text = '{%s,"cases":[\n%s\n]}\n' % (json.dumps(versions)[1:-1], ",\n".join(lines))
    (HERE / "regressions.json").write_text(text)


if __name__ == "__main__":
    main()
