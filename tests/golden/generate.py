"""Write optimizers.json: what PyTorch's own optimizers do, step by step.

Run it from anywhere, with NumPy and PyTorch installed:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy torch
    /tmp/venv/bin/python tests/golden/generate.py

The committed optimizers.json was made with torch 2.15.0+cu132 and NumPy 2.4.6
on the CPU.

Each case runs one optimizer in float64 (the single-tensor code path) for
12 steps on 7 elements. Starts and gradients are exactly representable as
float32; the gradients are seeded, their sizes cover 1e-6 to 1e3, and
element 3 has a zero gradient in every step. All cases share the starts and
the gradients. The moments carry PyTorch's own state names.
"""

import json
import pathlib

import numpy as np
import torch

STEPS = 12
STARTS = [1.0, -0.03, 250.0, 0.7, -4.5e-5, 0.0, -12.0]
ZERO_ELEMENT = 3

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
}
DEFAULTS = {
    "sgd": {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": False},
    "rmsprop": {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8},
    "adam": {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8},
}
MOMENTS = {
    "sgd": ["momentum_buffer"],
    "rmsprop": ["square_avg"],
    "adam": ["exp_avg", "exp_avg_sq"],
}

# name, kind, and the options that differ from the kind's defaults
CASES = [
    ("sgd_default", "sgd", {}),
    ("sgd_lr_0.1", "sgd", {"lr": 0.1}),
    ("sgd_momentum_0.9", "sgd", {"momentum": 0.9}),
    ("sgd_momentum_0.9_dampening_0.3", "sgd",
     {"momentum": 0.9, "dampening": 0.3}),
    ("sgd_nesterov_0.9", "sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd_nesterov_0.5_lr_0.05", "sgd",
     {"lr": 0.05, "momentum": 0.5, "nesterov": True}),
    ("rmsprop_default", "rmsprop", {}),
    ("rmsprop_alpha_0.9_eps_1e-6", "rmsprop", {"alpha": 0.9, "eps": 1e-6}),
    ("rmsprop_alpha_0.5_lr_0.1", "rmsprop", {"lr": 0.1, "alpha": 0.5}),
    ("adam_default", "adam", {}),
    ("adam_betas_0.5_0.9_lr_0.05_eps_1e-6", "adam",
     {"lr": 0.05, "betas": [0.5, 0.9], "eps": 1e-6}),
    ("adam_betas_0_0.99", "adam", {"betas": [0.0, 0.99]}),
    ("adam_betas_0.9_0.9999999", "adam", {"betas": [0.9, 0.9999999]}),
]


def as_float32(values):
    """Round to float32, then widen to float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def make_gradients():
    """Gradients of random sign, whose sizes are a shuffle of 1e-6 to 1e3."""
    rng = np.random.default_rng(20240607)
    count = STEPS * (len(STARTS) - 1)
    sizes = rng.permutation(np.logspace(-6.0, 3.0, count))
    signs = rng.choice([-1.0, 1.0], count)
    grads = (signs * sizes).reshape(STEPS, -1)
    return as_float32(np.insert(grads, ZERO_ELEMENT, 0.0, axis=1))


def check_defaults():
    """Fail if DEFAULTS are no longer PyTorch's own."""
    for kind, options in DEFAULTS.items():
        own = OPTIMIZERS[kind]([torch.zeros(1)]).defaults
        for option, value in options.items():
            given = own[option]
            given = list(given) if isinstance(given, tuple) else given
            assert given == value, (kind, option, given, value)


def run_case(name, kind, changes, start, grads):
    """Run one optimizer and record parameters and moments after each step."""
    options = {**DEFAULTS[kind], **changes}
    param = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    switches = {"foreach": False}
    if kind != "rmsprop":  # RMSprop has no fused variant
        switches["fused"] = False
    optimizer = OPTIMIZERS[kind]([param], **options, **switches)
    steps = []
    for grad in grads:
        param.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        state = optimizer.state[param]
        moments = {
            key: state[key].tolist()
            for key in MOMENTS[kind]
            if state.get(key) is not None
        }
        steps.append({"params": param.detach().tolist(), "moments": moments})
    return {
        "name": name,
        "rule": {"kind": kind, **options},
        "start": start.tolist(),
        "grads": grads.tolist(),
        "steps": steps,
    }


def main():
    check_defaults()
    start = as_float32(STARTS)
    grads = make_gradients()
    lines = [
        json.dumps(run_case(*case, start, grads), separators=(",", ":"))
        for case in CASES
    ]
    version = json.dumps(torch.__version__)
    text = '{"torch":%s,"cases":[\n%s\n]}\n' % (version, ",\n".join(lines))
    path = pathlib.Path(__file__).with_name("optimizers.json")
    path.write_text(text)


if __name__ == "__main__":
    main()
