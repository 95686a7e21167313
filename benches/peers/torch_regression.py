"""Linear regression with PyTorch: an epoch of Adam on mini-batches, and a whole gradient.

    python torch_regression.py [--device cpu|cuda] [--threads N] [--shapes 2^20x64,…]
                               [--batches 4096,256] [--samples N] [--no-compile] [--seed N]
"""

from functools import partial

import numpy as np
import torch
from torch.nn.functional import mse_loss

import report
import torch_device
from formulas import adam

EPOCH = (200_000, 100)
BATCHES = [4096, 256]
SHAPES = {"cpu": [(1 << 16, 256), (1 << 20, 64)],
          "cuda": [(1 << 16, 256), (1 << 20, 64), (1 << 24, 16), (1 << 20, 256), (1 << 18, 1024),
                   (1 << 14, 16384)]}
VARIANTS = ("fused", "compiled", "cuda graph", "compiled, cuda graph")
# What a gradient may be off by, of its norm, and a weight after an epoch, of 1 + |w|.
GRADIENT, WEIGHT = 1e-4, 1e-4


def on(device, shape, seed):
    return [torch.from_numpy(each).to(device.torch) for each in report.make_rows(*shape, seed)]


def loss(w, b, x, y):
    return mse_loss(x @ w + b, y)


class Training:
    """Adam on mini-batches, as a user would write it: the batches are views made ahead, and nothing
    is read back from the device before the end."""

    def __init__(self, device, x, y, batch, variant):
        self.w = torch.zeros(x.shape[1], device=device.torch, requires_grad=True)
        self.b = torch.zeros((), device=device.torch, requires_grad=True)
        graph = "graph" in variant
        # A graph has no processor between its steps to count them.
        self.optimizer = torch.optim.Adam([self.w, self.b], fused=True, capturable=graph)
        self.batches = list(zip(x.split(batch), y.split(batch)))
        self.loss = torch_device.compiled(loss) if "compiled" in variant else loss
        self.device, self.run = device, self.epoch
        if graph:
            self.run = torch_device.graphed(self.epoch)

    def epoch(self):
        for x, y in self.batches:
            self.optimizer.zero_grad()
            self.loss(self.w, self.b, x, y).backward()
            self.optimizer.step()

    def from_zero(self):
        """An epoch from weights and moments of zero, on the tensors that a graph knows."""
        with torch.no_grad():
            for params in (self.w, self.b):
                for tensor in (params, *self.optimizer.state[params].values()):
                    tensor.zero_()
        self.run()
        self.device.wait()
        return torch.cat([self.w.detach(), self.b.detach()[None]]).cpu().numpy()


def epoch_in_f64(x, y, batch):
    """The weights and the intercept that an epoch of Adam makes of zeros."""
    params, moments = np.zeros(x.shape[1] + 1), [np.zeros(x.shape[1] + 1)] * 2
    for t, at in enumerate(range(0, len(y), batch), start=1):
        part, targets = x[at : at + batch].astype(np.float64), y[at : at + batch]
        residual = part @ params[:-1] + params[-1] - targets
        gradient = 2.0 / len(targets) * np.append(residual @ part, residual.sum())
        params, moments = adam(params, gradient, t, *moments)
    return params


def check_epoch(name, training, exact):
    error = float(np.max(np.abs(training.from_zero() - exact) / (1.0 + np.abs(exact))))
    if not error <= WEIGHT:
        report.wrong(f"{name}: a weight is off by {error:.3g} after an epoch")


def epochs(device, batch, variants, seed):
    """One pass over the rows in their order, in each variant."""
    x, y = on(device, EPOCH, seed)
    exact = epoch_in_f64(x.cpu().numpy(), y.cpu().numpy(), batch)
    shape = {"rows": EPOCH[0], "features": EPOCH[1], "batch": batch}
    size, made = x.numel(), []
    for variant in variants:
        name = f"epoch of adam, {variant}, batches of {batch}"
        try:
            training = Training(device, x, y, batch, variant)
        except (TypeError, RuntimeError) as error:
            report.leave_out(name, report.reason(error))
            continue
        check = partial(check_epoch, name, training, exact)
        made.append(report.Work("epoch", "adam", variant, size, shape, 4 * size, training.run, check))
    return made


def gradient(device, shape, seed):
    """2/n Xᵀ(X w - y), two products over all rows into memory that is there already. They read X
    twice; counted it is once."""
    rows, features = shape
    if not device.fits(5 * 4 * rows * features, f"gradient of {rows} x {features}"):
        return []
    x, y = on(device, shape, seed)
    w = torch.randn(features, device=device.torch)
    residual, found = torch.empty_like(y), torch.empty_like(w)

    def run():
        torch.mv(x, w, out=residual)
        residual.sub_(y)
        torch.mv(x.t(), residual, out=found)
        found.mul_(2.0 / rows)

    def check():
        found.fill_(float("nan"))
        run()
        exact = torch.zeros_like(w, dtype=torch.float64)
        for part_x, part_y in zip(x.split(report.PART), y.split(report.PART)):
            part_x = part_x.double()
            exact += part_x.t() @ (part_x @ w.double() - part_y.double())
        exact *= 2.0 / rows
        error = ((found - exact).norm() / exact.norm()).item()
        if not error <= GRADIENT:
            report.wrong(f"gradient of {rows} x {features}: off by {error:.3g} of its norm")

    size, shape = rows * features, {"rows": rows, "features": features, "batch": None}
    return [report.Work("gradient", None, "two products", size, shape, 4 * size, run, check)]


def main():
    parser = torch_device.arguments(__doc__)
    parser.add_argument("--shapes", type=report.shapes, help="of gradients: default 2^16x256,2^20x64, "
                        "on CUDA also 2^24x16,2^20x256,2^18x1024,2^14x16384")
    parser.add_argument("--batches", type=report.numbers, default=BATCHES,
                        help="of epochs of 200000 x 100: default 4096,256")
    args, device = torch_device.parse(parser)
    args.shapes = args.shapes or SHAPES[device.torch.type]
    variants = [variant for variant in VARIANTS
                if (device.cuda or "graph" not in variant)
                and not (args.no_compile and "compiled" in variant)]
    groups = [partial(epochs, device, batch, variants, args.seed) for batch in args.batches]
    groups += [partial(gradient, device, shape, args.seed) for shape in args.shapes]
    report.write("torch", {"torch": torch.__version__}, device, args, groups)


if __name__ == "__main__":
    main()
