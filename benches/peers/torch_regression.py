"""Linear regression with PyTorch: an epoch of Adam on mini-batches, and a whole gradient.

    python torch_regression.py [--device cpu|cuda] [--threads N] [--repeats N]
"""

import argparse

import torch
from torch.nn.functional import mse_loss

import report

EPOCH = (200_000, 100)
BATCHES = (4096, 256)
GRADIENTS = ((1 << 20, 256), (1 << 16, 256))
# Rows at a time of the check in f64.
PART = 1 << 14


def on(device, rows, features):
    return [torch.from_numpy(each).to(device) for each in report.make_rows(rows, features)]


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def adam(params):
    try:
        return torch.optim.Adam(params, lr=1e-3, fused=True)
    except RuntimeError:  # the processor before 2.4
        return torch.optim.Adam(params, lr=1e-3)


def epoch(device, x, y, batch):
    """One pass over the rows in their order, as a user would write it: the batches are views
    made ahead, and nothing is read back from the device before the end."""
    w = torch.zeros(x.shape[1], device=device, requires_grad=True)
    b = torch.zeros((), device=device, requires_grad=True)
    optimizer = adam([w, b])
    batches = list(zip(x.split(batch), y.split(batch)))

    def run():
        for x, y in batches:
            optimizer.zero_grad()
            mse_loss(x @ w + b, y).backward()
            optimizer.step()
        wait(device)

    def check():
        with torch.no_grad():
            loss = mse_loss(x @ w + b, y).item()
        assert loss < 0.999 * y.square().mean().item(), f"the loss did not fall: {loss}"

    size = {"rows": x.shape[0], "features": x.shape[1], "batch": batch}
    return {"work": "epoch_adam", "size": size, "run": run, "check": check}


def gradient(device, x, y):
    """2/n Xᵀ(X w - y), two products over all rows into memory that is there already."""
    w = torch.full((x.shape[1],), 0.5, device=device)
    residual, found = torch.empty_like(y), torch.empty_like(w)

    def run():
        torch.mv(x, w, out=residual)
        residual.sub_(y)
        torch.mv(x.t(), residual, out=found)
        found.mul_(2.0 / len(y))
        wait(device)

    def check():
        exact = torch.zeros_like(w, dtype=torch.float64)
        for part_x, part_y in zip(x.split(PART), y.split(PART)):
            part_x = part_x.double()
            exact += part_x.t() @ (part_x @ w.double() - part_y.double())
        exact *= 2.0 / len(y)
        error = ((found - exact).norm() / exact.norm()).item()
        assert error < 1e-4, f"the gradient is wrong by {error}"

    size = {"rows": x.shape[0], "features": x.shape[1], "batch": x.shape[0]}
    return {"work": "gradient", "size": size, "run": run, "check": check}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: default cpu")
    parser.add_argument("--threads", type=int, help="of the processor: default PyTorch's own")
    parser.add_argument("--repeats", type=int, default=9, help="that count: default 9")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    x, y = on(device, *EPOCH)
    works = [epoch(device, x, y, batch) for batch in BATCHES]
    works += [gradient(device, *on(device, *size)) for size in GRADIENTS]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__}
    report.write("torch", versions, name, torch.get_num_threads(), works, args.repeats)


if __name__ == "__main__":
    main()
