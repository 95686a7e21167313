"""Optimizer steps with PyTorch: fused, foreach, foreach compiled, and fused in a CUDA graph.

    python torch_steps.py [--device cpu|cuda] [--threads N] [--sizes 2^24,…] [--rules adam,…]
                          [--samples N] [--no-compile] [--seed N]
"""

from functools import partial
from inspect import signature

import numpy as np
import torch

import report
import torch_device
from formulas import RULES

SIZES = {"cpu": [1 << 16, 1 << 20, 1 << 24],
         "cuda": [1 << 16, 1 << 20, 1 << 24, 1 << 28, 1 << 30]}
VARIANTS = ("fused", "foreach", "compiled", "cuda graph")
# A foreach step makes temporaries of as many elements as there are parameters.
TEMPORARIES = 4
# Elements that are checked, drawn, besides the first and the last.
DRAWN = 4096
# u of f32. What an element may be off by: 16 u of the terms of a moment; of a parameter 4 u, and 1e-4
# of its step, because a compiled step has 1 - beta2 ** t in f32, at t = 1 good to 6e-5.
U = 2.0**-24
MOMENT, PARAMETER, STEP = 16 * U, 4 * U, 1e-4


class Memory:
    """What the steps of one size go over, all of them the same: parameters, gradients, and moments
    by the kind of numbers that they hold."""

    def __init__(self, device, size, kinds):
        make = {"average": torch.randn, "square": torch.rand, "largest": torch.rand}
        self.params = torch.nn.Parameter(torch.randn(size, device=device.torch))
        self.params.grad = torch.randn(size, device=device.torch)
        with torch.no_grad():
            self.params.mul_(0.05)  # of the size of a step: what is wrong with it is not rounded away
            self.moments = {kind: make[kind](size, device=device.torch) for kind in kinds}
        drawn = torch.randint(size, (DRAWN,))
        self.drawn = torch.cat([drawn, torch.tensor([0, size - 1])]).to(device.torch)

    def renew(self):
        self.params.grad.normal_()

    def read(self, kinds):
        """The drawn elements in f64."""
        tensors = [self.params.detach(), self.params.grad, *(self.moments[kind] for kind in kinds)]
        return [tensor[self.drawn].cpu().numpy().astype(np.float64) for tensor in tensors]


def optimizer(rule, variant, memory, device):
    """PyTorch's, with its state on the memory that all go over. Raises TypeError or RuntimeError
    where PyTorch has no such variant."""
    options = {**rule.options, ("fused" if variant in ("fused", "cuda graph") else "foreach"): True}
    kind = getattr(torch.optim, rule.optimizer)
    # What a device is to repeat without the processor has its count of steps on the device.
    if device.cuda and variant in ("compiled", "cuda graph") and "capturable" in signature(kind).parameters:
        options["capturable"] = True
    made = kind([memory.params], **options)
    counts_there = options.get("capturable") or options.get("fused")
    count = partial(torch.tensor, device=device.torch if counts_there else "cpu")
    state = {name: memory.moments[kind] for name, kind in rule.moments.items()}
    if rule.optimizer != "SGD":
        state["step"] = count(0.0)
    if rule.optimizer == "NAdam":
        state["mu_product"] = count(1.0)
    made.state[memory.params].update(state)
    return made


def stepper(variant, made, device):
    def step():
        made.step()

    if variant == "compiled":
        return torch_device.compiled(step)
    if variant == "cuda graph":
        return torch_device.graphed(step)
    return step


def check(name, rule, memory, made, run, device):
    """One more step, of the drawn elements, against the formula in f64."""
    kinds = rule.moments.values()
    before = memory.read(kinds)
    run()
    device.wait()
    params, _, *moments = memory.read(kinds)
    t = int(made.state[memory.params].get("step", 1))
    exact, exact_moments = rule.formula(*before[:2], t, *before[2:])
    allowed = PARAMETER * np.abs(before[0]) + STEP * np.abs(exact - before[0])
    compare(f"{name}, params", params, exact, allowed)
    for moment, found, exact, old in zip(rule.moments, moments, exact_moments, before[2:]):
        terms = np.abs(old) + np.abs(exact)
        if rule.moments[moment] == "average":  # whose terms may have cancelled each other
            terms += np.abs(before[1])
        compare(f"{name}, {moment}", found, exact, MOMENT * terms)


def compare(name, found, exact, allowed):
    error = np.abs(found - exact) / allowed
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    if not error[worst] <= 1.0:
        report.wrong(f"{name}: {found[worst]:.9g}, in f64 {exact[worst]:.9g}, "
                     f"{error[worst]:.3g} times what it may be off by")


def work(name, variant, memory, device):
    """A step, or nothing where PyTorch has no such variant of it on the device."""
    rule, size = RULES[name], memory.params.numel()
    try:
        made = optimizer(rule, variant, memory, device)
        run = stepper(variant, made, device)
    except (TypeError, RuntimeError) as error:
        report.leave_out(f"step {name} {variant} of {size}", report.reason(error))
        return None
    checked = partial(check, f"{name} {variant} of {size}", rule, memory, made, run, device)
    # These add the buffer to the gradients themselves, which overflow if that goes on.
    renew = memory.renew if name == "nesterov" and variant in ("foreach", "compiled") else None
    counted = rule.bytes_per_parameter * size
    return report.Work("step", name, variant, size, None, counted, run, checked, renew)


def steps(device, size, names, variants):
    """The steps of one size, if the memory is there."""
    torch.compiler.reset()  # what was compiled for another size
    kinds = sorted({kind for name in names for kind in RULES[name].moments.values()})
    copied = max(RULES[name].bytes_per_parameter for name in names)
    needed = (4 * (2 + len(kinds) + TEMPORARIES) + copied) * size
    if not device.fits(needed, f"steps of {size}"):
        return []
    memory = Memory(device, size, kinds)
    made = [work(name, variant, memory, device) for name in names for variant in variants]
    return [each for each in made if each]


def main():
    parser = torch_device.arguments(__doc__)
    parser.add_argument("--sizes", type=report.numbers, help="parameters: default 2^16,2^20,2^24, "
                        "on CUDA also 2^28,2^30")
    parser.add_argument("--rules", type=report.names(RULES), default=list(RULES),
                        help=f"default {','.join(RULES)}")
    args, device = torch_device.parse(parser)
    args.sizes = args.sizes or SIZES[device.torch.type]
    left_out = {"compiled"} if args.no_compile else set()
    left_out |= set() if device.cuda else {"cuda graph"}
    variants = [variant for variant in VARIANTS if variant not in left_out]
    groups = [partial(steps, device, size, args.rules, variants) for size in args.sizes]
    report.write("torch", {"torch": torch.__version__}, device, args, groups)


if __name__ == "__main__":
    main()
