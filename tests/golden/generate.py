"""Write optimizers.json and compare_between.json: the steps of other people's optimizers.

Run it from anywhere, with NumPy, PyTorch, optax and Keras installed:

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install numpy torch 'jax[cpu]' optax keras
    /tmp/venv/bin/python tests/golden/generate.py

The committed files were made on the CPU with torch 2.15.0, optax 0.2.8 and Keras 3.15.1
on jax 0.10.2, and NumPy 2.4.6. Everything is float64: PyTorch takes its single-tensor
path, with float64 as its default type so that NAdam's `mu_product` is float64 too; jax
has x64 enabled, and Keras's floatx is float64.

optimizers.json has a case a line. A rule has the fields of the library's rules, all of
them; `make_torch`, `make_optax` and `make_keras` say what each field is over there.
- lrs: the learning rate of every step, or null: the rule's.
- t0: steps that the optimizer has taken before the first; the moments it comes with are
  start_moments, or null: those of a new one.
- grads: null is no gradient; the optimizer then leaves the tensor and its step alone.
- steps: t, parameters and moments after every step, under PyTorch's names. Moments that
  PyTorch has not made before the first gradient are written as what they start from.
- relative: within what check.py, which derives every case from its rule, agrees. PyTorch
  takes 1 - beta2^t as it stands, and 1 - 1e-7 leaves nine digits of it.

All cases share starts and gradients, as long as they last (see `ELEMENTS`); those with a
t0 start from where ten steps have led, or three. A case is five steps or more.

compare_between.json is made like `_compare_between` in PyTorch's test/test_optim.py: a
small model and a zero-dimensional parameter train for seven steps. At i = 3 no parameter
has a gradient, and at i = 5 one layer is frozen. Gradients are rounded to float32 before
the optimizer sees them. A state of null is the one before, unchanged.
"""

import inspect
import json
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

sys.dont_write_bytecode = True
import check

torch.set_default_dtype(torch.float64)
jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")

LONG, SHORT = 10, 5
# Start of each element, and what its gradients are.
ELEMENTS = [
    (1.0, "0.01 to 1"),
    (3e-3, "1e-6 to 1e3"),
    (250.0, "100 to 1000"),
    (0.75, "zero"),
    (0.0, "1e-12"),
    (-12.0, "10 000"),
    (0.0, "the same, of the other sign in every step"),
    (-4.5e-5, "about 1, zero from half-way on"),
]
NO_DECAY = {"weight_decay": 0.0, "decoupled_weight_decay": False, "maximize": False}
# PyTorch's defaults, of which Lion has none. Only `clamp_variance` is not the library's own.
DEFAULTS = {
    "sgd": {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": False,
            "lr_in_momentum": False, **NO_DECAY},
    "rmsprop": {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "eps_placement": "outside",
                "momentum": 0.0, "lr_in_momentum": False, "centered": False,
                "clamp_variance": False, "initial_accumulator": 0.0,
                "bias_correction": False, **NO_DECAY},
    "adam": {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "eps_placement": "outside",
             "amsgrad": False, "amsgrad_of": "raw", **NO_DECAY},
    "nadam": {"lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "momentum_decay": 4e-3,
              **NO_DECAY},
    "radam": {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "eps_placement": "hat",
              **NO_DECAY},
    "adamax": {"lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "eps_placement": "inside",
               **NO_DECAY},
    "adagrad": {"lr": 1e-2, "lr_decay": 0.0, "eps": 1e-10, "eps_placement": "outside",
                "initial_accumulator": 0.0, **NO_DECAY},
    "lion": {"lr": 1e-4, "betas": [0.9, 0.99], "weight_decay": 0.0,
             "decoupled_weight_decay": True, "maximize": False},
}
DECOUPLED = {"decoupled_weight_decay": True}
# How the others' defaults differ. optax asks for a learning rate: it gets PyTorch's, and
# nadam 1e-3. Weight decay is decoupled in both, where they have it.
OPTAX = {
    "sgd": {},
    "rmsprop": {"alpha": 0.9, "eps_placement": "inside", "lr_in_momentum": True},
    "adam": {"amsgrad_of": "corrected", **DECOUPLED},
    "nadam": {"lr": 1e-3, "momentum_decay": None, **DECOUPLED},
    "radam": {"eps_placement": "outside", **DECOUPLED},
    "adamax": DECOUPLED,
    "adagrad": {"eps": 1e-7, "eps_placement": "inside", "initial_accumulator": 0.1,
                **DECOUPLED},
    "lion": {"weight_decay": 1e-3},
}
KERAS = {
    "sgd": {"lr": 1e-2, "lr_in_momentum": True, **DECOUPLED},
    "rmsprop": {**OPTAX["rmsprop"], "lr": 1e-3, "eps": 1e-7, **DECOUPLED},
    "adam": {"eps": 1e-7, "eps_placement": "hat", **DECOUPLED},
    "nadam": {"lr": 1e-3, "eps": 1e-7, "momentum_decay": 1.0, **DECOUPLED},
    "adamax": {"lr": 1e-3, "eps": 1e-7, "eps_placement": "outside", **DECOUPLED},
    "adagrad": {**OPTAX["adagrad"], "lr": 1e-3},
    "lion": {"lr": 1e-3},
}


def single(values):
    """Round to float32, then widen to float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def make_gradients(count):
    """The gradients of `count` steps. A longer run begins like a shorter one, but for where
    the last element's gradient stops."""
    rng = np.random.default_rng(20240607)
    signs = rng.choice([-1.0, 1.0], (LONG, len(ELEMENTS)))
    fraction = rng.random((LONG, len(ELEMENTS)))
    sizes = np.empty((LONG, len(ELEMENTS)))
    sizes[:, 0] = np.ceil(256 * 10 ** (-2 * fraction[:, 0])) / 256
    sizes[:, 1] = rng.permutation(np.logspace(-6.0, 3.0, LONG))
    sizes[:, 2] = np.round(100 + 900 * fraction[:, 2])
    sizes[:, 3] = 0.0
    sizes[:, 4] = 1e-12 * (0.5 + fraction[:, 4])
    sizes[:, 5] = np.round(8000 + 4000 * fraction[:, 5])
    sizes[:, 6] = 0.5
    signs[:, 6] = [1.0, -1.0] * (LONG // 2)
    sizes[:, 7] = np.round(64 + 64 * fraction[:, 7]) / 64
    sizes[count // 2:, 7] = 0.0
    return single(signs * sizes + 0.0)[:count]


def starts():
    return single([start for start, _ in ELEMENTS]).tolist()


def rule_of(kind, changes, source=None):
    base = {"torch": {}, "optax": OPTAX, "keras": KERAS}[source or "torch"].get(kind, {})
    rule = {"kind": kind, **DEFAULTS[kind], **base, **changes}
    assert rule.keys() == {"kind", *DEFAULTS[kind]}, rule
    return rule


def require(rule, **fields):
    """`rule` must have these values: there is no such option."""
    for field, value in fields.items():
        assert rule[field] == value, (rule, field)


# PyTorch. Its names are the library's.

TORCH = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam,
         "nadam": torch.optim.NAdam, "radam": torch.optim.RAdam, "adamax": torch.optim.Adamax,
         "adagrad": torch.optim.Adagrad}


def torch_class(rule):
    adamw = rule["kind"] == "adam" and rule["decoupled_weight_decay"]
    return torch.optim.AdamW if adamw else TORCH[rule["kind"]]


def make_torch(rule, params):
    make = torch_class(rule)
    known = inspect.signature(make).parameters
    options = {"foreach": False, **({"fused": False} if "fused" in known else {})}
    for field, value in rule.items():
        name = field.replace("initial_accumulator", "initial_accumulator_value")
        if name in known:
            options[name] = tuple(value) if field == "betas" else value
        elif make is not torch.optim.AdamW or field != "decoupled_weight_decay":
            assert field == "kind" or value == DEFAULTS[rule["kind"]][field], field
    return make(params, **options)


def check_torch_defaults():
    for kind, make in TORCH.items():
        own = make([torch.zeros(1)]).defaults
        for field, value in DEFAULTS[kind].items():
            name = field.replace("initial_accumulator", "initial_accumulator_value")
            if name in own:
                given = list(own[name]) if field == "betas" else own[name]
                assert given == value, (kind, field, given, value)
    adamw = torch.optim.AdamW([torch.zeros(1)]).defaults
    assert adamw == {**torch.optim.Adam([torch.zeros(1)]).defaults,
                     "weight_decay": 1e-2, "decoupled_weight_decay": True}


def torch_moments(rule, optimizer, param):
    state = optimizer.state[param]
    fresh = check.fresh(rule, param.numel())
    return {name: fresh[name].tolist() if state.get(name) is None
            else state[name].flatten().tolist() for name in fresh}


def run_torch(rule, start, grads, schedule=None, t0=0, start_moments=None, **_):
    param = torch.nn.Parameter(torch.tensor(start))
    optimizer = make_torch(rule, [param])
    if t0:
        state = {name: torch.tensor(start_moments[name]) for name in check.moments(rule)}
        state["step"] = torch.tensor(float(t0))
        if rule["kind"] == "nadam":
            taken = np.arange(1, t0 + 1)
            mu = rule["betas"][0] * (1 - 0.5 * 0.96 ** (taken * rule["momentum_decay"]))
            state["mu_product"] = torch.tensor(np.prod(mu))
        optimizer.state[param] = state
    scheduler = schedule(optimizer) if schedule else None
    lrs, states = [], []
    for grad in grads:
        lrs.append(optimizer.param_groups[0]["lr"])
        param.grad = None if grad is None else torch.tensor(grad)
        optimizer.step()
        if scheduler:
            scheduler.step()
        states.append((param.tolist(), torch_moments(rule, optimizer, param)))
    return lrs, states


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=LONG)


def exponential(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)


# optax.

OPTAX_MOMENTS = {
    "sgd": {"momentum_buffer": "trace"},
    "rmsprop": {"square_avg": "nu", "grad_avg": "mu", "momentum_buffer": "trace"},
    "adam": {"exp_avg": "mu", "exp_avg_sq": "nu", "max_exp_avg_sq": "nu_max"},
    "nadam": {"exp_avg": "mu", "exp_avg_sq": "nu"},
    "radam": {"exp_avg": "mu", "exp_avg_sq": "nu"},
    "adamax": {"exp_avg": "mu", "exp_inf": "nu"},
    "adagrad": {"sum": "sum_of_squares"},
    "lion": {"exp_avg": "mu"},
}


def make_optax(rule, lr):
    r = rule
    b1, b2 = r.get("betas", (None, None))
    betas = {"b1": b1, "b2": b2}
    decay = r["weight_decay"]
    if r["kind"] != "lion":
        require(r, maximize=False)
    if decay:
        require(r, decoupled_weight_decay=True)
    match r["kind"]:
        case "sgd":
            require(r, weight_decay=0.0, dampening=0.0, lr_in_momentum=False)
            return optax.sgd(lr, r["momentum"] or None, r["nesterov"])
        case "rmsprop":
            require(r, weight_decay=0.0, lr_in_momentum=True, clamp_variance=False)
            eps_in_sqrt = {"inside": True, "outside": False}[r["eps_placement"]]
            return optax.rmsprop(
                lr, r["alpha"], r["eps"], r["initial_accumulator"], eps_in_sqrt,
                r["centered"], r["momentum"] or None, bias_correction=r["bias_correction"])
        case "adam" | "nadam":
            nesterov = {"nesterov": True} if r["kind"] == "nadam" else {}
            eps = {"eps": r["eps"]}
            if r.get("eps_placement") == "inside":
                eps = {"eps": 0.0, "eps_root": r["eps"]}
            if r.get("amsgrad"):
                require(r, weight_decay=0.0, amsgrad_of="corrected")
                return optax.amsgrad(lr, **betas, **eps)
            if decay:
                return optax.adamw(lr, **betas, **eps, weight_decay=decay, **nesterov)
            return optax.adam(lr, **betas, **eps, **nesterov)
        case "radam":
            require(r, weight_decay=0.0, eps_placement="outside")
            return optax.radam(lr, **betas, eps=r["eps"])
        case "adamax":
            require(r, eps_placement="inside")
            if decay:
                return optax.adamaxw(lr, **betas, eps=r["eps"], weight_decay=decay)
            return optax.adamax(lr, **betas, eps=r["eps"])
        case "adagrad":
            require(r, weight_decay=0.0, eps_placement="inside", lr_decay=0.0)
            return optax.adagrad(lr, r["initial_accumulator"], r["eps"])
        case "lion":
            descend = optax.lion(lr, **betas, weight_decay=decay)
            return optax.chain(optax.scale(-1.0), descend) if r["maximize"] else descend


def check_optax_defaults():
    def defaults(function):
        return {name: parameter.default
                for name, parameter in inspect.signature(function).parameters.items()}

    rmsprop, adagrad = rule_of("rmsprop", {}, "optax"), rule_of("adagrad", {}, "optax")
    own = defaults(optax.rmsprop)
    assert (own["decay"], own["eps"], own["initial_scale"]) == (
        rmsprop["alpha"], rmsprop["eps"], rmsprop["initial_accumulator"])
    assert own["eps_in_sqrt"] and not (own["centered"] or own["bias_correction"])
    assert own["momentum"] is None and not own["nesterov"]
    own = defaults(optax.adagrad)
    assert (own["initial_accumulator_value"], own["eps"]) == (
        adagrad["initial_accumulator"], adagrad["eps"])
    for kind, names in [("adam", ["adam", "adamw", "amsgrad"]), ("nadam", ["nadam", "nadamw"]),
                        ("radam", ["radam"]), ("adamax", ["adamax", "adamaxw"]), ("lion", ["lion"])]:
        rule = rule_of(kind, {}, "optax")
        for name in names:
            own = defaults(getattr(optax, name))
            assert [own["b1"], own["b2"]] == rule["betas"], name
            assert kind == "lion" or own["eps"] == rule["eps"], name
            assert own.get("eps_root", 0.0) == 0.0, name
            decay = {"adamw": 1e-4, "nadamw": 1e-4, "adamaxw": 1e-4, "lion": 1e-3}
            assert own.get("weight_decay") == decay.get(name), name
    own = defaults(optax.sgd)
    assert own["momentum"] is None and not own["nesterov"]


def run_optax(rule, start, grads, lrs=None, t0=0, start_moments=None, **_):
    table = jnp.array(lrs or [rule["lr"]])
    optimizer = make_optax(rule, (lambda count: table[count]) if lrs else rule["lr"])
    names = {name: OPTAX_MOMENTS[rule["kind"]][name] for name in check.moments(rule)}
    # The trace of optax's RMSprop holds updates, which are added to the parameters.
    signs = {"momentum_buffer": -1.0} if rule["kind"] == "rmsprop" else {}
    params = jnp.array(start)
    state = optimizer.init(params)
    if t0:
        given = {names[name]: jnp.array(start_moments[name]) for name in names}
        assert "trace" not in given
        state = optax.tree_utils.tree_set(state, count=jnp.asarray(t0, jnp.int32), **given)
    states = []
    for grad in grads:
        updates, state = optimizer.update(jnp.array(grad), state, params)
        params = optax.apply_updates(params, updates)
        moments = {
            name: (signs.get(name, 1.0) * np.array(optax.tree_utils.tree_get(state, over_there))
                   + 0.0).tolist()
            for name, over_there in names.items()}
        states.append((params.tolist(), moments))
    return lrs, states


# Keras.

KERAS_CLASSES = {
    "sgd": (keras.optimizers.SGD, {"momentum_buffer": "momentums"}),
    "rmsprop": (keras.optimizers.RMSprop,
                {"square_avg": "_velocities", "grad_avg": "_average_gradients",
                 "momentum_buffer": "_momentums"}),
    "adam": (keras.optimizers.Adam,
             {"exp_avg": "_momentums", "exp_avg_sq": "_velocities",
              "max_exp_avg_sq": "_velocity_hats"}),
    "nadam": (keras.optimizers.Nadam, {"exp_avg": "_momentums", "exp_avg_sq": "_velocities"}),
    "adamax": (keras.optimizers.Adamax, {"exp_avg": "_m", "exp_inf": "_u"}),
    "adagrad": (keras.optimizers.Adagrad, {"sum": "_accumulators"}),
    "lion": (keras.optimizers.Lion, {"exp_avg": "_momentums"}),
}


def keras_options(rule):
    """The fields that Keras has, under its names; the others must be what it does."""
    own = {"kind": rule["kind"], "maximize": False, "decoupled_weight_decay": True,
           "dampening": 0.0, "lr_in_momentum": True, "clamp_variance": False,
           "bias_correction": False, "amsgrad_of": "raw", "momentum_decay": 1.0,
           "lr_decay": 0.0, "eps_placement": KERAS[rule["kind"]].get("eps_placement")}
    if rule["kind"] == "rmsprop":
        own["initial_accumulator"] = 0.0
    names = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon",
             "initial_accumulator": "initial_accumulator_value"}
    options = {}
    for field, value in rule.items():
        if field in own:
            require(rule, **{field: own[field]})
        elif field == "betas":
            options |= {"beta_1": value[0], "beta_2": value[1]}
        elif field == "weight_decay":
            options[field] = value or None
        else:
            options[names.get(field, field)] = value
    return options


def check_keras_defaults():
    for kind, (make, _) in KERAS_CLASSES.items():
        own = inspect.signature(make).parameters
        for name, value in keras_options(rule_of(kind, {}, "keras")).items():
            assert own[name].default == value, (kind, name, own[name].default, value)


def run_keras(rule, start, grads, lrs=None, **_):
    make, lists = KERAS_CLASSES[rule["kind"]]
    variable = keras.Variable(np.array(start), dtype="float64")
    optimizer = make(**keras_options(rule))
    optimizer.build([variable])
    # Its SGD adds the buffer to the parameters.
    sign = -1.0 if rule["kind"] == "sgd" else 1.0
    states = []
    for i, grad in enumerate(grads):
        if lrs:
            optimizer.learning_rate = lrs[i]
        optimizer.apply([jnp.array(grad)])
        moments = {name: (sign * getattr(optimizer, lists[name])[0].numpy() + 0.0).tolist()
                   for name in check.moments(rule)}
        states.append((variable.numpy().tolist(), moments))
    return lrs, states


# The cases.

RUN = {"torch": run_torch, "optax": run_optax, "keras": run_keras}


def make_case(source, name, kind, changes, steps=SHORT, missing=(), **how):
    """Run one optimizer. `missing` numbers the steps without a gradient, from 0."""
    rule = rule_of(kind, changes, source)
    start = starts()
    if "start_moments" in how:
        start, how["start_moments"] = how["start_moments"]
    grads = make_gradients(steps).tolist()
    grads = [None if i in missing else grad for i, grad in enumerate(grads)]
    lrs, states = RUN[source](rule, start, grads, **how)
    t, steps = how.get("t0", 0), []
    for grad, (params, moments) in zip(grads, states):
        t += grad is not None
        steps.append({"t": t, "params": params, "moments": moments})
    case = {
        "name": name, "source": source, "rule": rule,
        "lrs": lrs if "lrs" in how or "schedule" in how else None,
        "t0": how.get("t0", 0),
        "start": start, "start_moments": how.get("start_moments"),
        "grads": grads, "steps": steps,
    }
    return with_relative(case)


def with_relative(case):
    worst = check.worst_error(case)
    assert worst <= 1e-9, (case["name"], worst)
    case["relative"] = 1e-12 if worst <= 1e-12 else 1e-9
    if worst > 1e-14:
        print(f"{case['name']}: {worst:.1e}")
    return case


def torch_cases():
    def case(name, kind, changes, steps=SHORT, **how):
        return make_case("torch", name, kind, changes, steps, **how)

    momentum = {"momentum": 0.9}
    dampening = {"momentum": 0.9, "dampening": 0.3}
    nesterov = {"momentum": 0.9, "nesterov": True}
    both = {"centered": True, "momentum": 0.9}
    sgds = [("sgd", {}), ("sgd_momentum", momentum), ("sgd_momentum_dampening", dampening),
            ("sgd_nesterov", nesterov)]
    rmsprops = [("rmsprop", {}), ("rmsprop_centered", {"centered": True}),
                ("rmsprop_momentum", momentum), ("rmsprop_centered_momentum", both)]
    adamw = {"weight_decay": 1e-2, **DECOUPLED}
    amsgrad = {"amsgrad": True, "betas": [0.9, 0.95]}
    for name, changes in sgds:
        yield case(name, "sgd", changes, LONG)
    yield case("sgd_lr_0.1", "sgd", {"lr": 0.1})
    for name, changes in rmsprops:
        yield case(name, "rmsprop", changes, LONG)
    yield case("rmsprop_alpha_0.9_eps_1e-6", "rmsprop", {"alpha": 0.9, "eps": 1e-6})
    for kind, forms in [("sgd", sgds), ("rmsprop", rmsprops)]:
        for name, changes in forms:
            yield case(f"{name}_weight_decay", kind, {**changes, "weight_decay": 0.05})
            yield case(f"{name}_maximize", kind, {**changes, "maximize": True})

    yield case("adam", "adam", {}, LONG)
    yield case("adamw", "adam", adamw, LONG)
    yield case("adam_amsgrad", "adam", amsgrad, LONG)
    yield case("adamw_amsgrad", "adam", {**adamw, **amsgrad}, LONG)
    yield case("adam_maximize", "adam", {"maximize": True})
    yield case("adam_weight_decay", "adam", {"weight_decay": 0.05})
    yield case("adam_amsgrad_weight_decay", "adam", {**amsgrad, "weight_decay": 0.05})
    yield case("adam_betas_0.5_0.9_lr_0.05_eps_1e-6", "adam",
               {"lr": 0.05, "betas": [0.5, 0.9], "eps": 1e-6})
    yield case("adam_betas_0_0.99", "adam", {"betas": [0.0, 0.99]})
    yield case("adam_betas_0.9_0.9999999", "adam", {"betas": [0.9, 0.9999999]})

    yield case("nadam", "nadam", {}, LONG)
    yield case("nadam_weight_decay", "nadam", {"weight_decay": 0.05})
    yield case("nadam_decoupled_weight_decay", "nadam", {"weight_decay": 0.05, **DECOUPLED})
    yield case("nadam_maximize", "nadam", {"maximize": True})
    yield case("nadam_momentum_decay_0.5", "nadam", {"momentum_decay": 0.5})
    yield case("radam", "radam", {}, LONG)
    yield case("radam_weight_decay", "radam", {"weight_decay": 0.05}, LONG)
    yield case("radam_decoupled_weight_decay", "radam", {"weight_decay": 0.05, **DECOUPLED}, LONG)
    yield case("radam_maximize", "radam", {"maximize": True}, LONG)
    yield case("radam_betas_0.5_0.9_eps_1e-6", "radam", {"betas": [0.5, 0.9], "eps": 1e-6}, LONG)
    yield case("radam_never_rectified", "radam", {"betas": [0.9, 0.5]})
    yield case("adamax", "adamax", {}, LONG)
    yield case("adamax_weight_decay", "adamax", {"weight_decay": 0.05})
    yield case("adamax_maximize", "adamax", {"maximize": True})
    yield case("adagrad", "adagrad", {}, LONG)
    yield case("adagrad_lr_decay", "adagrad", {"lr_decay": 0.1})
    yield case("adagrad_initial_accumulator", "adagrad", {"initial_accumulator": 0.25})
    yield case("adagrad_weight_decay", "adagrad", {"weight_decay": 0.05})
    yield case("adagrad_maximize", "adagrad", {"maximize": True})

    for schedule in (cosine, exponential):
        for name, kind, changes in [
            ("sgd_momentum", "sgd", momentum), ("rmsprop_momentum", "rmsprop", momentum),
            ("adam", "adam", {}), ("nadam", "nadam", {}),
        ]:
            if schedule is exponential and kind in ("adam", "nadam"):
                name, changes = f"{name}_decoupled", {"weight_decay": 0.05, **DECOUPLED}
            yield case(f"{name}_{schedule.__name__}", kind, changes, schedule=schedule)

    long_memory = {"betas": [0.999999, 0.999], "momentum_decay": 10.0}
    for name, kind, changes, t0 in [
        ("adam", "adam", {}, 10**6), ("adam_amsgrad", "adam", amsgrad, 10**6),
        ("nadam", "nadam", {}, 10**6), ("nadam_long_memory", "nadam", long_memory, 10**6),
        ("nadam", "nadam", {}, 10), ("radam", "radam", {}, 10), ("radam", "radam", {}, 10**3),
        ("radam", "radam", {}, 10**6), ("adamax", "adamax", {}, 10**6),
        ("adagrad_lr_decay", "adagrad", {"lr_decay": 1e-6}, 10**6),
        ("sgd_momentum_dampening", "sgd", dampening, 10**6),
        *((name, "rmsprop", changes, 10**6) for name, changes in rmsprops),
    ]:
        yield case(f"{name}_after_{t0}", kind, changes,
                   t0=t0, start_moments=used_moments("torch", kind, changes, LONG))

    yield case("adam_missing", "adam", {}, 8, missing=(2, 6))
    yield case("nadam_missing", "nadam", {}, 8, missing=(2, 6))
    yield case("sgd_momentum_missing", "sgd", momentum, 8, missing=(2, 6))
    yield case("sgd_momentum_dampening_missing_first", "sgd", dampening, missing=(0,))
    yield case("adagrad_lr_decay_missing", "adagrad", {"lr_decay": 0.1}, missing=(2,))


def used_moments(source, kind, changes, steps):
    """Parameters and moments, rounded to float32, of an optimizer that has run a while."""
    rule = rule_of(kind, changes, source)
    _, states = RUN[source](rule, starts(), make_gradients(steps).tolist())
    params, moments = states[-1]
    return single(params).tolist(), {name: single(moments[name]).tolist() for name in moments}


def falling(lr):
    return [lr * 0.8 ** i for i in range(SHORT)]


def optax_cases():
    def case(name, kind, changes, steps=SHORT, **how):
        return make_case("optax", f"optax_{name}", kind, changes, steps, **how)

    momentum, centered = {"momentum": 0.9}, {"centered": True}
    correction = {"bias_correction": True}
    yield case("sgd_momentum", "sgd", momentum)
    yield case("sgd_nesterov", "sgd", {**momentum, "nesterov": True}, lrs=falling(1e-3))
    yield case("rmsprop", "rmsprop", {})
    yield case("rmsprop_centered", "rmsprop", centered)
    yield case("rmsprop_momentum_exponential", "rmsprop", momentum, lrs=falling(1e-2))
    yield case("rmsprop_centered_momentum_exponential", "rmsprop",
               {**centered, **momentum}, lrs=falling(1e-2))
    yield case("rmsprop_initial_accumulator", "rmsprop", {"initial_accumulator": 1.0})
    yield case("rmsprop_bias_correction", "rmsprop", correction)
    yield case("rmsprop_bias_correction_eps_outside", "rmsprop",
               {**correction, "eps_placement": "outside"})
    # Its first variance is zero but for rounding, and its second is what two gradients have.
    changes = {**correction, **centered}
    yield case("rmsprop_bias_correction_centered_after_3", "rmsprop", changes,
               t0=3, start_moments=used_moments("optax", "rmsprop", centered, 3))
    yield case("adam", "adam", {})
    yield case("adam_eps_inside", "adam", {"eps_placement": "inside"})
    yield case("amsgrad", "adam", {"amsgrad": True})
    yield case("adamw_exponential", "adam", {"weight_decay": 1e-4}, lrs=falling(1e-3))
    yield case("nadam", "nadam", {})
    yield case("nadamw", "nadam", {"weight_decay": 0.05})
    yield case("radam", "radam", {}, LONG)
    yield case("adamax", "adamax", {})
    yield case("adamaxw", "adamax", {"weight_decay": 0.05})
    yield case("adagrad", "adagrad", {})
    yield case("lion", "lion", {})
    yield case("lion_betas_0.95_0.98_weight_decay", "lion",
               {"betas": [0.95, 0.98], "weight_decay": 0.05})
    # Its momentum nearly balances the first gradient, so that the sign depends on beta1.
    balance = np.resize([-0.11, -0.112], len(ELEMENTS)) * make_gradients(SHORT)[0]
    moments = {"exp_avg": single(balance + 0.0).tolist()}
    yield case("lion_after_10", "lion", {}, t0=10, start_moments=(starts(), moments))
    yield case("lion_maximize", "lion", {"weight_decay": 0.0, "maximize": True})


def keras_cases():
    def case(name, kind, changes, steps=SHORT, **how):
        return make_case("keras", f"keras_{name}", kind, changes, steps, **how)

    momentum, centered = {"momentum": 0.9}, {"centered": True}
    nesterov = {**momentum, "nesterov": True}
    decay = {"weight_decay": 0.05}
    yield case("sgd", "sgd", {})
    yield case("sgd_momentum_exponential", "sgd", momentum, lrs=falling(1e-2))
    yield case("sgd_nesterov_exponential", "sgd", nesterov, lrs=falling(1e-2))
    yield case("sgd_nesterov_weight_decay_exponential", "sgd", {**nesterov, **decay},
               lrs=falling(1e-2))
    yield case("rmsprop", "rmsprop", {})
    yield case("rmsprop_centered", "rmsprop", centered)
    yield case("rmsprop_momentum_exponential", "rmsprop", momentum, lrs=falling(1e-3))
    yield case("rmsprop_centered_momentum_exponential", "rmsprop", {**centered, **momentum},
               lrs=falling(1e-3))
    yield case("rmsprop_momentum_weight_decay", "rmsprop", {**momentum, **decay})
    yield case("adam", "adam", {})
    yield case("adam_amsgrad", "adam", {"amsgrad": True, "betas": [0.9, 0.95]})
    yield case("adam_weight_decay", "adam", decay)
    yield case("nadam", "nadam", {})
    yield case("nadam_weight_decay", "nadam", decay)
    yield case("adamax", "adamax", {})
    yield case("adamax_weight_decay", "adamax", decay)
    yield case("adagrad", "adagrad", {})
    yield case("adagrad_weight_decay", "adagrad", decay)
    yield case("lion", "lion", {})
    yield case("lion_weight_decay", "lion", decay)


# A model with missing gradients.

BETWEEN = [
    ("sgd_momentum", "sgd", {"momentum": 0.9}),
    ("rmsprop_centered_momentum", "rmsprop", {"centered": True, "momentum": 0.9}),
    ("adam", "adam", {}),
    ("adamw", "adam", {"weight_decay": 1e-2, **DECOUPLED}),
    ("adam_amsgrad", "adam", {"amsgrad": True}),
    ("nadam", "nadam", {}),
    ("radam", "radam", {}),
    ("adamax", "adamax", {}),
    ("adagrad", "adagrad", {}),
]


def compare_between(name, kind, changes):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 10), torch.nn.Sigmoid(),
                                torch.nn.Linear(10, 3), torch.nn.ReLU())
    scale = torch.nn.Parameter(torch.tensor(1.5))
    params = dict(model.named_parameters(), scale=scale)
    inputs, target = torch.randn(4, 5), torch.rand(4, 3)
    with torch.no_grad():
        for param in params.values():
            param.copy_(param.float())
    rule = rule_of(kind, changes)
    optimizer = make_torch(rule, params.values())
    tensors = [{"name": key, "shape": list(param.shape), "start": param.flatten().tolist(),
                "grads": [], "steps": []} for key, param in params.items()]
    taken = dict.fromkeys(params, 0)
    for i in range(7):
        optimizer.zero_grad()
        model[2].requires_grad_(i != 5)
        if i != 3:
            ((scale * model(inputs) - target) ** 2).sum().backward()
        for param in params.values():
            if param.grad is not None:
                param.grad.copy_(param.grad.float())
        optimizer.step()
        for tensor, (key, param) in zip(tensors, params.items()):
            grad = param.grad
            taken[key] += grad is not None
            tensor["grads"].append(None if grad is None else grad.flatten().tolist())
            tensor["steps"].append(None if grad is None else {
                "t": taken[key], "params": param.flatten().tolist(),
                "moments": torch_moments(rule, optimizer, param)})
    assert all(any(any(grad or [0.0]) for grad in tensor["grads"]) for tensor in tensors)
    return {"name": name, "rule": rule, "relative": 1e-12, "tensors": tensors}


def write(name, head, cases):
    lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases]
    text = '{%s,"cases":[\n%s\n]}\n' % (json.dumps(head)[1:-1], ",\n".join(lines))
    pathlib.Path(__file__).with_name(name).write_text(text)


def main():
    check_torch_defaults()
    check_optax_defaults()
    check_keras_defaults()
    head = {"torch": torch.__version__, "optax": optax.__version__, "keras": keras.__version__}
    cases = [*torch_cases(), *optax_cases(), *keras_cases()]
    assert len({case["name"] for case in cases}) == len(cases)
    write("optimizers.json", head, cases)
    between = [compare_between(*case) for case in BETWEEN]
    write("compare_between.json", {"torch": torch.__version__}, between)
    check.main()


if __name__ == "__main__":
    main()
