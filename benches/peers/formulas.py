"""The update rules in f64, as PyTorch documents them and with its defaults: what a step is checked
against. `momentum` and `nesterov` are SGD with a momentum of 0.9, `amsgrad` is Adam with that.

A formula takes the parameters, the gradients, the moments and which step it is (from 1), and gives
the new parameters and moments.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

BETA1, BETA2, EPS, MOMENTUM = 0.9, 0.999, 1e-8, 0.9


@dataclass
class Rule:
    """PyTorch's class and what it is called with; PyTorch's names of the moments, with the kind of
    numbers that each holds."""

    optimizer: str
    formula: Callable
    moments: dict[str, str] = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    @property
    def bytes_per_parameter(self):
        """Parameters, gradients and moments are read, parameters and moments written."""
        return 4 + 8 * (1 + len(self.moments))


def sgd(p, g, _):
    return p - 1e-3 * g, []


def momentum(p, g, _, buffer):
    buffer = MOMENTUM * buffer + g
    return p - 1e-3 * buffer, [buffer]


def nesterov(p, g, _, buffer):
    buffer = MOMENTUM * buffer + g
    return p - 1e-3 * (g + MOMENTUM * buffer), [buffer]


def rmsprop(p, g, _, square_avg):
    square_avg = 0.99 * square_avg + 0.01 * g**2
    return p - 1e-2 * g / (np.sqrt(square_avg) + EPS), [square_avg]


def averages(g, exp_avg, exp_avg_sq):
    return BETA1 * exp_avg + (1 - BETA1) * g, BETA2 * exp_avg_sq + (1 - BETA2) * g**2


def adam_direction(exp_avg, exp_avg_sq, t):
    return exp_avg / (1 - BETA1**t) / (np.sqrt(exp_avg_sq / (1 - BETA2**t)) + EPS)


def adam(p, g, t, *moments):
    moments = averages(g, *moments)
    return p - 1e-3 * adam_direction(*moments, t), moments


def adamw(p, g, t, *moments):
    return adam(p - 1e-3 * 1e-2 * p, g, t, *moments)


def amsgrad(p, g, t, exp_avg, exp_avg_sq, max_exp_avg_sq):
    exp_avg, exp_avg_sq = averages(g, exp_avg, exp_avg_sq)
    largest = np.maximum(max_exp_avg_sq, exp_avg_sq)
    return p - 1e-3 * adam_direction(exp_avg, largest, t), [exp_avg, exp_avg_sq, largest]


def nadam(p, g, t, *moments):
    exp_avg, exp_avg_sq = averages(g, *moments)
    mu = BETA1 * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * 4e-3))
    product = np.prod(mu[:t])
    step = (1 - mu[t - 1]) * g / (1 - product) + mu[t] * exp_avg / (1 - product * mu[t])
    return p - 2e-3 * step / (np.sqrt(exp_avg_sq / (1 - BETA2**t)) + EPS), [exp_avg, exp_avg_sq]


def radam(p, g, t, *moments):
    exp_avg, exp_avg_sq = averages(g, *moments)
    # rho as a mean, of which nothing cancels: 1, 2, ... t, weighted with 1, beta2, ... beta2^(t - 1).
    weights = BETA2 ** np.arange(t)
    rho = 2 * np.average(1 + np.arange(t), weights=weights) - 1
    limit = 2 / (1 - BETA2) - 1
    step = 1e-3 * exp_avg / (1 - BETA1**t)
    if rho > 5:
        correction = np.sqrt(1 - BETA2**t)
        rectified = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        step = step * np.sqrt(rectified) * correction / (np.sqrt(exp_avg_sq) + EPS)
    return p - step, [exp_avg, exp_avg_sq]


def adamax(p, g, t, exp_avg, exp_inf):
    exp_avg = BETA1 * exp_avg + (1 - BETA1) * g
    exp_inf = np.maximum(BETA2 * exp_inf, np.abs(g) + EPS)
    return p - 2e-3 / (1 - BETA1**t) * exp_avg / exp_inf, [exp_avg, exp_inf]


def adagrad(p, g, _, sum):
    sum = sum + g**2
    return p - 1e-2 * g / (np.sqrt(sum) + 1e-10), [sum]


# Rules of the same kinds of moments go over the same memory.
BUFFER = {"momentum_buffer": "average"}
ADAM = {"exp_avg": "average", "exp_avg_sq": "square"}
RULES = {
    "adam": Rule("Adam", adam, ADAM),
    "adamw": Rule("AdamW", adamw, ADAM),
    "amsgrad": Rule("Adam", amsgrad, {**ADAM, "max_exp_avg_sq": "largest"}, {"amsgrad": True}),
    "sgd": Rule("SGD", sgd),
    "momentum": Rule("SGD", momentum, BUFFER, {"momentum": MOMENTUM}),
    "nesterov": Rule("SGD", nesterov, BUFFER, {"momentum": MOMENTUM, "nesterov": True}),
    "rmsprop": Rule("RMSprop", rmsprop, {"square_avg": "square"}),
    "nadam": Rule("NAdam", nadam, ADAM),
    "radam": Rule("RAdam", radam, ADAM),
    "adamax": Rule("Adamax", adamax, {"exp_avg": "average", "exp_inf": "largest"}),
    "adagrad": Rule("Adagrad", adagrad, {"sum": "square"}),
}
