"""The update rules in NumPy's float64, and a check of this folder's JSON against them.

    python tests/golden/check.py

needs NumPy alone (2.4.6 was used). `step` transcribes the formulas that the library's
rules document, and shares no code with it; that it reproduces PyTorch, optax and Keras
shows that their options mean what the fields of a rule say. It fails if a case is missed
by more than the case's own `relative`.

linear_regression.json was written by hand. Its numbers are those that tests of
candle-optimisers 0.6.0 and candle-nn 0.9.1 expect of 100 or 1000 steps of linear
regression in float32: of those, all whose optimizer is a rule here. The loss is the sum of
squares, so its gradient is 2 Xᵀ(Xw - y). `within` is half a unit of the last decimal,
and for candle-nn's SGD, which has all of them, two units of float32. The three Nesterov
runs diverge, and float32 rounding with them: for them it is half a unit of the third
decimal, which is what the first of these tests expects on macOS.
"""

import json
import math
import pathlib
from types import SimpleNamespace

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def moments(rule):
    """PyTorch's names of what `rule` keeps for every element."""
    match rule["kind"]:
        case "sgd":
            return ["momentum_buffer"] if rule["momentum"] else []
        case "rmsprop":
            return (["square_avg"] + ["grad_avg"] * rule["centered"]
                    + ["momentum_buffer"] * (rule["momentum"] > 0))
        case "adam":
            return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * rule["amsgrad"]
        case "nadam" | "radam":
            return ["exp_avg", "exp_avg_sq"]
        case "adamax":
            return ["exp_avg", "exp_inf"]
        case "adagrad":
            return ["sum"]
        case "lion":
            return ["exp_avg"]


def fresh(rule, count):
    """The moments of `count` elements before the first step."""
    first = {"square_avg", "sum"}
    initial = rule.get("initial_accumulator", 0.0)
    return {name: np.full(count, initial if name in first else 0.0)
            for name in moments(rule)}


def without_power(beta, t):
    """1 − betaᵗ, with all its digits."""
    return -math.expm1(t * math.log(beta)) if beta else 1.0


def root(r, v, correction=1.0):
    """The root of v / correction, with eps where `r` has it."""
    v = v / correction
    match r.eps_placement:
        case "outside":
            return np.sqrt(v) + r.eps
        case "inside":
            return np.sqrt(v + r.eps)
        case "hat":
            return np.sqrt(v) + r.eps * math.sqrt(1 / correction)


# A rule's change of the parameters in step t (from 1), and the new moments.

def sgd(r, t, lr, g, old):
    d = lr * g if r.lr_in_momentum else g
    new = {}
    if r.momentum:
        buf = d if t == 1 else r.momentum * old["momentum_buffer"] + (1 - r.dampening) * d
        d = d + r.momentum * buf if r.nesterov else buf
        new = {"momentum_buffer": buf}
    return d if r.lr_in_momentum else lr * d, new


def rmsprop(r, t, lr, g, old):
    correction = without_power(r.alpha, t) if r.bias_correction else 1.0
    v = r.alpha * old["square_avg"] + (1 - r.alpha) * g * g
    new = {"square_avg": v}
    v = v / correction
    if r.centered:
        new["grad_avg"] = r.alpha * old["grad_avg"] + (1 - r.alpha) * g
        v = v - (new["grad_avg"] / correction) ** 2
        v = np.maximum(v, 0.0) if r.clamp_variance else v
    d = g / root(r, v)
    d = lr * d if r.lr_in_momentum else d
    if r.momentum:
        d = new["momentum_buffer"] = r.momentum * old["momentum_buffer"] + d
    return d if r.lr_in_momentum else lr * d, new


def averages(r, g, old):
    b1, b2 = r.betas
    return (b1 * old["exp_avg"] + (1 - b1) * g, b2 * old["exp_avg_sq"] + (1 - b2) * g * g)


def adam(r, t, lr, g, old):
    m, v = averages(r, g, old)
    new = {"exp_avg": m, "exp_avg_sq": v}
    correction1, correction2 = (without_power(beta, t) for beta in r.betas)
    if r.amsgrad:
        if r.amsgrad_of == "corrected":
            v, correction2 = v / correction2, 1.0
        v = new["max_exp_avg_sq"] = np.maximum(old["max_exp_avg_sq"], v)
    return lr / correction1 * m / root(r, v, correction2), new


def nadam(r, t, lr, g, old):
    b1, b2 = r.betas

    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * r.momentum_decay))

    if r.momentum_decay is None:
        now = following = b1
        rest, rest_following = without_power(b1, t), without_power(b1, t + 1)
    else:
        now, following = mu(t), mu(t + 1)
        product = np.prod(mu(np.arange(1, t + 1)))
        rest, rest_following = 1 - product, 1 - product * following
    m, v = averages(r, g, old)
    denominator = np.sqrt(v / without_power(b2, t)) + r.eps
    ahead = (1 - now) / rest * g + following / rest_following * m
    return lr * ahead / denominator, {"exp_avg": m, "exp_avg_sq": v}


def radam(r, t, lr, g, old):
    b1, b2 = r.betas
    m, v = averages(r, g, old)
    first = lr / without_power(b1, t) * m
    # As a mean, of which nothing cancels: 1, 2, ... t, weighted with 1, b2, ... b2^(t - 1).
    weights = b2 ** np.arange(min(t, 10**5))
    rho = 2 * np.average(1 + np.arange(len(weights)), weights=weights) - 1
    limit = 2 / (1 - b2) - 1
    new = {"exp_avg": m, "exp_avg_sq": v}
    if rho <= 5:
        return first, new
    rectified = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return first * rectified / root(r, v, without_power(b2, t)), new


def adamax(r, t, lr, g, old):
    b1, b2 = r.betas
    inside, outside = (r.eps, 0.0) if r.eps_placement == "inside" else (0.0, r.eps)
    m = b1 * old["exp_avg"] + (1 - b1) * g
    u = np.maximum(b2 * old["exp_inf"], np.abs(g) + inside)
    return lr / without_power(b1, t) * m / (u + outside), {"exp_avg": m, "exp_inf": u}


def adagrad(r, t, lr, g, old):
    total = old["sum"] + g * g
    return lr / (1 + (t - 1) * r.lr_decay) * g / root(r, total), {"sum": total}


def lion(r, t, lr, g, old):
    (b1, b2), m = r.betas, old["exp_avg"]
    mix = b1 * m + (1 - b1) * g
    # A sign that rounding could turn would prove nothing.
    clear = np.abs(mix) >= 1e-3 * (np.abs(b1 * m) + np.abs((1 - b1) * g))
    assert clear.all(), mix
    return lr * np.sign(mix), {"exp_avg": b2 * m + (1 - b2) * g}


RULES = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "nadam": nadam,
         "radam": radam, "adamax": adamax, "adagrad": adagrad, "lion": lion}


def step(rule, t, lr, params, grads, old):
    """Parameters and moments after step `t` (from 1)."""
    r = SimpleNamespace(**rule)
    g = -grads if r.maximize else grads
    decay = 0.0
    if r.decoupled_weight_decay:
        decay = lr * r.weight_decay * params
    else:
        g = g + r.weight_decay * params
    change, new = RULES[r.kind](r, t, lr, g, old)
    return params - (change + decay), new


def is_single(values):
    """Whether float32 holds `values` exactly."""
    return np.array_equal(np.float32(values).astype(np.float64), values)


def worst_error(case):
    """The largest relative error of the rule against `case`, over all elements and steps.

    An error is relative to the largest size that its element has had by then. Also
    asserts what every case promises: finite values, none subnormal in float32, starts and
    gradients that float32 holds, and variances that rounding cannot make negative.
    """
    rule, t = case["rule"], case["t0"]
    params = np.array(case["start"])
    inputs = [case["start"]] + [grads for grads in case["grads"] if grads is not None]
    now = fresh(rule, len(params))
    if case["start_moments"]:
        assert case["start_moments"].keys() == now.keys()
        now = {name: np.array(case["start_moments"][name]) for name in now}
        inputs += now.values()
    assert all(is_single(values) for values in inputs)
    lrs = case["lrs"] or [rule["lr"]] * len(case["grads"])
    assert len(lrs) == len(case["grads"]) == len(case["steps"])

    largest, worst = {"params": np.abs(params)}, 0.0
    for lr, grads, golden in zip(lrs, case["grads"], case["steps"]):
        if grads is not None:
            t += 1
            old = params
            params, now = step(rule, t, lr, params, np.array(grads), now)
            largest["params"] = np.maximum(largest["params"], np.abs(params - old))
        assert golden["t"] == t
        assert golden["moments"].keys() == now.keys(), (case["name"], t)
        for name, ours in {"params": params, **now}.items():
            theirs = np.array(golden["params"] if name == "params" else golden["moments"][name])
            assert np.isfinite(theirs).all(), (case["name"], t, name)
            assert (np.abs(theirs[theirs != 0.0]) > 2e-38).all(), (case["name"], t, name)
            size = largest[name] = np.maximum(largest.get(name, 0.0), np.abs(ours))
            error = np.abs(ours - theirs)
            assert (error[size == 0.0] == 0.0).all(), (case["name"], t, name)
            worst = max(worst, np.max(error[size > 0.0] / size[size > 0.0], initial=0.0))
        if rule.get("centered"):
            v, mean = now["square_avg"], now["grad_avg"]
            if rule["bias_correction"]:
                v, mean = (x / without_power(rule["alpha"], t) for x in (v, mean))
            assert (v - mean ** 2 >= 1e-2 * v).all(), (case["name"], t)
    return worst


def read(name):
    return json.loads((FOLDER / name).read_text())


def check_cases(cases):
    for case in cases:
        worst = worst_error(case)
        assert worst <= case["relative"], (case["name"], worst)
    return len(cases)


def tensors(cases):
    """Every tensor of compare_between.json as a case of its own."""
    for case in cases:
        for tensor in case["tensors"]:
            steps, last = [], None
            for state in tensor["steps"]:
                last = state or last
                steps.append(last)
            name = f"{case['name']}, {tensor['name']}"
            yield {**case, **tensor, "name": name, "steps": steps,
                   "lrs": None, "t0": 0, "start_moments": None}


def check_linear_regression(golden):
    x = np.array([sample + [1.0] for sample in golden["x"]])
    y = np.array(golden["y"])
    for case in golden["cases"]:
        rule = case["rule"]
        w, now = np.array(golden["start"]), fresh(rule, 3)
        for t in range(1, case["steps"] + 1):
            gradient = 2.0 * x.T @ (x @ w - y)
            w, now = step(rule, t, rule["lr"], w, gradient, now)
        error = np.abs(w - case["expected"])
        assert (error <= case["within"]).all(), (case["name"], w, case["expected"])
    return len(golden["cases"])


def main():
    for name, check in [
        ("optimizers.json", lambda golden: check_cases(golden["cases"])),
        ("compare_between.json", lambda golden: check_cases(list(tensors(golden["cases"])))),
        ("linear_regression.json", check_linear_regression),
    ]:
        size = (FOLDER / name).stat().st_size
        print(f"{name}: {check(read(name))} cases agree, {size} bytes")


if __name__ == "__main__":
    main()
