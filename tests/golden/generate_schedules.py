"""Write schedules.json: the learning rates of PyTorch's own schedulers.

Run it from anywhere, with PyTorch installed:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy torch
    /tmp/venv/bin/python tests/golden/generate_schedules.py

The committed schedules.json was made with torch 2.15.0+cu132 on the CPU.

Each case runs one scheduler on an SGD of one parameter and records
optimizer.param_groups[0]["lr"] before every optimizer.step(): entry t is
what update number t, counted from 0, uses. Most schedulers compute it from
the learning rate of the step before, and so round once a step. A one-cycle
schedule has as many entries as steps, for it raises an exception past them;
all others have 60, or 200 where periods grow.
"""

import json
import pathlib

import torch
from torch.optim import lr_scheduler

STEPS = 60

# kind, and how the options' names are spelled here where they differ
SCHEDULERS = {
    "constant": (lr_scheduler.ConstantLR, {}),
    "linear": (lr_scheduler.LinearLR, {}),
    "step": (lr_scheduler.StepLR, {}),
    "multi_step": (lr_scheduler.MultiStepLR, {}),
    "exponential": (lr_scheduler.ExponentialLR, {}),
    "polynomial": (lr_scheduler.PolynomialLR, {}),
    "cosine_annealing": (lr_scheduler.CosineAnnealingLR, {"t_max": "T_max"}),
    "cosine_annealing_warm_restarts": (
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"t_0": "T_0", "t_mult": "T_mult"},
    ),
    "one_cycle": (lr_scheduler.OneCycleLR, {}),
}

# name, learning rate, and per schedule its kind and its options; where there
# are several schedules, "until" is the milestone that ends each but the last
CASES = [
    ("constant_default", 0.3, ("constant", {})),
    ("constant", 0.02, ("constant", {"factor": 0.25, "total_iters": 17})),
    ("linear_default", 0.1, ("linear", {})),
    ("linear_up", 3e-4,
     ("linear", {"start_factor": 0.01, "end_factor": 0.9, "total_iters": 37})),
    ("linear_down_to_0", 0.5,
     ("linear", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 50})),
    ("linear_one_step", 0.1, ("linear", {"total_iters": 1})),
    ("step_default", 0.05, ("step", {"step_size": 13})),
    ("step_each", 1.0, ("step", {"step_size": 1, "gamma": 0.5})),
    ("multi_step_default", 0.1, ("multi_step", {"milestones": [10, 30]})),
    ("multi_step_unordered_twice", 0.7,
     ("multi_step", {"milestones": [40, 3, 17, 40, 18], "gamma": 0.3})),
    ("multi_step_from_0", 0.7,
     ("multi_step", {"milestones": [0, 1], "gamma": 0.9})),
    ("exponential", 0.01, ("exponential", {"gamma": 0.93})),
    ("exponential_1", 0.01, ("exponential", {"gamma": 1.0})),
    ("polynomial_default", 0.1, ("polynomial", {})),
    ("polynomial", 2e-3, ("polynomial", {"total_iters": 45, "power": 0.9})),
    ("polynomial_square", 2e-3,
     ("polynomial", {"total_iters": 59, "power": 2.0})),
    ("cosine_annealing", 1e-3, ("cosine_annealing", {"t_max": 60})),
    ("cosine_annealing_up_again", 0.1,
     ("cosine_annealing", {"t_max": 17, "eta_min": 0.004})),
    ("cosine_annealing_one_step", 0.1,
     ("cosine_annealing", {"t_max": 1, "eta_min": 0.01})),
    ("warm_restarts_default", 0.1,
     ("cosine_annealing_warm_restarts", {"t_0": 9})),
    ("warm_restarts_doubled", 0.03,
     ("cosine_annealing_warm_restarts",
      {"t_0": 5, "t_mult": 2, "eta_min": 1e-4})),
    ("warm_restarts_one_step_tripled", 0.03,
     ("cosine_annealing_warm_restarts", {"t_0": 1, "t_mult": 3})),
    ("one_cycle_default", 0.1, ("one_cycle", {"total_steps": 60})),
    ("one_cycle_linear", 4e-3,
     ("one_cycle",
      {"total_steps": 47, "pct_start": 0.45, "anneal_strategy": "linear",
       "div_factor": 10.0, "final_div_factor": 100.0})),
    ("one_cycle_three_phase", 0.1,
     ("one_cycle", {"total_steps": 61, "three_phase": True})),
    ("one_cycle_three_phase_linear", 0.1,
     ("one_cycle",
      {"total_steps": 60, "pct_start": 0.25, "anneal_strategy": "linear",
       "three_phase": True})),
    ("one_cycle_three_phase_unfinished", 0.1,
     ("one_cycle",
      {"total_steps": 33, "pct_start": 0.6, "three_phase": True})),
    ("one_cycle_only_down", 0.1,
     ("one_cycle", {"total_steps": 20, "pct_start": 0.0})),
    ("one_cycle_only_up", 0.1,
     ("one_cycle", {"total_steps": 20, "pct_start": 1.0})),
    ("one_cycle_one_step", 0.1, ("one_cycle", {"total_steps": 1})),
    ("warm_up_then_cosine", 1e-3,
     ("linear", {"start_factor": 0.1, "total_iters": 12, "until": 12}),
     ("cosine_annealing", {"t_max": 48, "eta_min": 1e-5})),
    ("warm_up_then_step", 0.2,
     ("linear", {"start_factor": 0.001, "total_iters": 7, "until": 7}),
     ("step", {"step_size": 20, "gamma": 0.2})),
    ("constant_then_exponential", 0.05,
     ("constant", {"factor": 0.1, "total_iters": 20, "until": 20}),
     ("exponential", {"gamma": 0.9})),
    ("three_in_a_row", 0.05,
     ("linear", {"until": 10}),
     ("cosine_annealing_warm_restarts", {"t_0": 8, "until": 31}),
     ("polynomial", {"total_iters": 25, "power": 1.5})),
]

DEFAULTS = {
    "constant": {"factor": 1.0 / 3, "total_iters": 5},
    "linear": {"start_factor": 1.0 / 3, "end_factor": 1.0, "total_iters": 5},
    "step": {"gamma": 0.1},
    "multi_step": {"gamma": 0.1},
    "exponential": {},
    "polynomial": {"total_iters": 5, "power": 1.0},
    "cosine_annealing": {"eta_min": 0.0},
    "cosine_annealing_warm_restarts": {"t_mult": 1, "eta_min": 0.0},
    "one_cycle": {
        "pct_start": 0.3,
        "anneal_strategy": "cos",
        "div_factor": 25.0,
        "final_div_factor": 1e4,
        "three_phase": False,
    },
}


def check_defaults():
    """Fail if DEFAULTS are no longer PyTorch's own."""
    for kind, (scheduler, spelling) in SCHEDULERS.items():
        code = scheduler.__init__.__code__
        names = code.co_varnames[:code.co_argcount]
        own = scheduler.__init__.__defaults__
        own = dict(zip(names[len(names) - len(own):], own, strict=True))
        for option, value in DEFAULTS[kind].items():
            given = own[spelling.get(option, option)]
            assert given == value, (kind, option, given, value)


def make_scheduler(optimizer, lr, kind, options):
    """PyTorch's scheduler, with nothing but the options that are given."""
    scheduler, spelling = SCHEDULERS[kind]
    options = {
        spelling.get(option, option): value
        for option, value in options.items()
        if option != "until"
    }
    if kind == "one_cycle":
        options |= {"max_lr": lr, "cycle_momentum": False}
    return scheduler(optimizer, **options)


def run_case(name, lr, *schedules):
    """Run one scheduler, or several in a row, and record what they set."""
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([param], lr=lr)
    made = [make_scheduler(optimizer, lr, *each) for each in schedules]
    scheduler = made[0]
    if len(made) > 1:
        milestones = [options["until"] for _, options in schedules[:-1]]
        scheduler = lr_scheduler.SequentialLR(optimizer, made, milestones)
    steps = STEPS
    for kind, options in schedules:
        steps = options.get("total_steps", steps)
        steps = 200 if options.get("t_mult", 1) > 1 else steps
    lrs = []
    for t in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if t + 1 < steps:
            scheduler.step()
    return {
        "name": name,
        "lr": lr,
        "schedules": [
            {"kind": kind, **DEFAULTS[kind], **options}
            for kind, options in schedules
        ],
        "lrs": lrs,
    }


def main():
    check_defaults()
    lines = [
        json.dumps(run_case(*case), separators=(",", ":")) for case in CASES
    ]
    version = json.dumps(torch.__version__)
    text = '{"torch":%s,"cases":[\n%s\n]}\n' % (version, ",\n".join(lines))
    path = pathlib.Path(__file__).with_name("schedules.json")
    path.write_text(text)


if __name__ == "__main__":
    main()
