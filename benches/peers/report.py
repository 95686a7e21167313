"""What the peers' benchmarks share: the data, the turns, the statistics, and what is printed."""

import argparse
import json
import math
import os
import pathlib
import platform
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

SCHEMA = 1
# A sample is as many runs as take this long: no clock is asked for less than it can tell.
SAMPLE_S = 5e-3
RUNS = 1000
# Of the calibration's copy and triad, in f32, on the processor.
CALIBRATION = 1 << 26
CALIBRATION_REPEATS = 5
# What a copy may be off by at the end of a run that counts as stable.
DRIFT = 0.05
# Of the check in f64: rows at a time.
PART = 1 << 14


@dataclass
class Work:
    """What is timed: `run` enqueues it, `check` runs it once more and calls `wrong` if it is. What
    cannot run on what it left behind has a `renew`, not timed, and one run a sample."""

    work: str
    rule: str | None
    variant: str | None
    size: int
    shape: dict | None
    counted: int
    run: Callable
    check: Callable
    renew: Callable | None = None


@dataclass
class Turn:
    """A work and the copy beside it, how often each runs in a sample, and their samples, by the wall
    clock and by the device's own."""

    work: Work
    copy: Callable
    runs: int
    copies: int
    samples: list = field(default_factory=list)
    beside: list = field(default_factory=list)
    gpu_samples: list = field(default_factory=list)
    gpu_beside: list = field(default_factory=list)


class Host:
    """The processor by numpy, whose copies have one thread."""

    name = "cpu"
    adapter = None
    threads = 1
    elements = CALIBRATION

    def time(self, run, runs):
        """Seconds of one of the runs, by the wall clock and by the device's own, if it has one."""
        start = time.perf_counter()
        for _ in range(runs):
            run()
        return (time.perf_counter() - start) / runs, None

    def pair(self, elements):
        random = np.random.default_rng()
        return random.random(elements, np.float32), random.random(elements, np.float32)

    def copy(self, target, source):
        np.copyto(target, source)

    def triad(self, a, b):
        """a ← a + s · b. numpy has no one pass for this: s · b stays in the cache."""
        for at in range(0, len(a), PART):
            a[at : at + PART] += np.float32(1e-3) * b[at : at + PART]


def say(message):
    print(message, file=sys.stderr, flush=True)


LEFT_OUT = []


def leave_out(what, why):
    """Nothing is left out in silence."""
    say(f"left out: {what}: {why}")
    LEFT_OUT.append({"what": what, "reason": why})


def wrong(message):
    """No time is printed for a wrong answer."""
    sys.exit(f"wrong: {message}")


def number(text):
    """A whole number above 0, also as 2^24 or 1e6."""
    base, power, exponent = text.partition("^")
    value = int(base) ** int(exponent) if power else float(text)
    if value != int(value) or value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(value)


def numbers(text):
    return [number(each) for each in text.split(",")]


def shapes(text):
    """ROWSxFEATURES, several of them between commas."""
    found = [numbers(each.replace("x", ",")) for each in text.split(",")]
    if any(len(shape) != 2 for shape in found):
        raise argparse.ArgumentTypeError(f"{text} is not ROWSxFEATURES,…")
    return [tuple(shape) for shape in found]


def names(known):
    """A parser of some of the known names."""

    def parse(text):
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
        return text.split(",")

    return parse


def arguments(about):
    """What every peer can be told."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--samples", type=number, default=11, help="samples a row: default 11")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32),
                        help="of the data: default another one in each run")
    return parser


def make_rows(rows, features, seed):
    """X and y in f32: y = x w + 1 + noise, of normal numbers."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, features), np.float32)
    weights = random.standard_normal(features, np.float32)
    return x, x @ weights + 1.0 + 0.1 * random.standard_normal(rows, np.float32)


def threads():
    """How many threads run at once."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells
        return os.cpu_count()


def cpu_model():
    try:
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(asked, text=True).strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def memory_available():
    """What may still be allocated, where the system tells."""
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return memory_bytes()


def enough_runs(device, run):
    """How many runs a sample has; those made to find out warm up."""
    runs = 1
    while runs < RUNS:
        seconds = device.time(run, runs)[0]
        if seconds * runs >= SAMPLE_S:
            break
        runs = min(RUNS, max(2 * runs, math.ceil(SAMPLE_S / max(seconds, 1e-9))))
    return runs


def runs_here(work):
    """Whether it does, and right; if not, why is said."""
    name = " ".join(filter(None, [work.work, work.rule, work.variant]))
    try:
        work.run()
    except RuntimeError as error:
        leave_out(f"{name} of {work.size}", reason(error))
        return False
    work.check()
    return True


def reason(error):
    """What an error says first: a compiler's names its cause in the second line."""
    lines = [line.strip() for line in str(error).split("\n\n")[0].splitlines()]
    return " ".join(lines[:2]) or type(error).__name__


def measure(works, device, samples):
    """Rows of works that take turns with each other, and each with a copy of as many bytes, so
    that whatever else the machine does meets them alike."""
    target, source = device.pair(max((work.counted // 8 for work in works), default=1))
    turns = []
    for work in filter(runs_here, works):
        # Half of the bytes are read, half are written.
        part = slice(work.counted // 8)
        copy = partial(device.copy, target[part], source[part])
        runs = 1 if work.renew else enough_runs(device, work.run)
        turns.append(Turn(work, copy, runs, enough_runs(device, copy)))
    for _ in range(samples):
        for turn in turns:
            if turn.work.renew:
                turn.work.renew()
            for seconds, of_device, run, runs in (
                (turn.samples, turn.gpu_samples, turn.work.run, turn.runs),
                (turn.beside, turn.gpu_beside, turn.copy, turn.copies),
            ):
                if not turn.work.renew:
                    run()  # what the others have left in the caches is not this one's
                by_wall, by_device = device.time(run, runs)
                seconds.append(by_wall)
                of_device += [by_device] if by_device else []
    return [row(turn, device) for turn in turns]


def row(turn, device):
    """What is printed of a work; it is checked again after all that was timed."""
    work = turn.work
    work.check()
    found = {"work": work.work, "rule": work.rule, "variant": work.variant, "size": work.size,
             "shape": work.shape, "device": device.name, "threads": device.threads, "cache": "hot",
             "repeats": turn.runs, "bytes": work.counted, "samples": turn.samples,
             "beside": turn.beside}
    if turn.gpu_samples:
        found.update(gpu_samples=turn.gpu_samples, gpu_beside=turn.gpu_beside)
    return {**found, **summary(found)}


def quantile(ordered, share):
    """Between the two nearest; what never came (infinite) stays so."""
    at = share * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return low if low == high else low + (at - math.floor(at)) * (high - low)


def interval(ordered):
    """Two samples that the median lies between in 95 of 100 cases, whatever the distribution: each
    is below it or not, as a coin falls. Of fewer than six samples it is all of them."""
    outside, below = 0, 0
    while (below := below + math.comb(len(ordered), outside)) <= 0.025 * 2 ** len(ordered):
        outside += 1
    low = max(0, outside - 1)
    return [ordered[low], ordered[-1 - low]]


def finite(value):
    return value if math.isfinite(value) else None


def share(samples, beside):
    """Of what ran beside it, in percent: the median of pairs that were neighbours."""
    return 100 * quantile(sorted(other / sample for other, sample in zip(beside, samples)), 0.5)


def summary(row):
    """What samples come to, by the wall clock and, where there is one, by the device's own."""
    samples = [math.inf if sample is None else sample for sample in row["samples"]]
    ordered = sorted(samples)
    median = quantile(ordered, 0.5)
    ends = interval(ordered)
    found = {"min_s": finite(ordered[0]), "q1_s": finite(quantile(ordered, 0.25)), "median_s": finite(median),
             "q3_s": finite(quantile(ordered, 0.75)), "interval": ends if math.isfinite(ends[1]) else None,
             "params_per_s" if row["work"] == "step" else "features_per_s": row["size"] / median}
    if row.get("bytes"):
        found["gb_s"] = row["bytes"] / median / 1e9
    if row.get("beside"):
        found["percent_of_copy"] = share(samples, row["beside"])
    if row.get("limit_beside"):
        found["percent_of_limit"] = share(samples, row["limit_beside"])
    if row.get("gpu_samples"):
        found["gpu_median_s"] = quantile(sorted(row["gpu_samples"]), 0.5)
        found["gpu_gb_s"] = row["bytes"] / found["gpu_median_s"] / 1e9
        found["gpu_percent_of_copy"] = share(row["gpu_samples"], row["gpu_beside"])
    return found


def calibrate(device):
    """What the memory gives right now."""
    a, b = device.pair(device.elements)
    found = {}
    for name, run, counted in (("copy_gb_s", device.copy, 8), ("triad_gb_s", device.triad, 12)):
        times = [device.time(partial(run, a, b), 1)[0] for _ in range(1 + CALIBRATION_REPEATS)]
        found[name] = counted * device.elements / statistics.median(times[1:]) / 1e9
    return found


def drifted(before, after):
    return abs(after["copy_gb_s"] / before["copy_gb_s"] - 1.0) > DRIFT


def write(peer, versions, device, args, groups):
    """Measures one group of works after the other, and prints one JSON object. A group is made
    when its turn comes: what it holds may take most of the memory."""
    before = calibrate(device)
    rows = [row for group in groups for row in measure(group(), device, args.samples)]
    after = calibrate(device)
    if not rows:
        say("nothing was measured")
        sys.exit(2)
    if drifted(before, after):
        say(f"unstable: a copy ran at {before['copy_gb_s']:.1f} GB/s before and at "
            f"{after['copy_gb_s']:.1f} GB/s after")
    variables = {name: value for name, value in os.environ.items()
                 if name.startswith(("OMP_", "MKL_", "KMP_", "TORCH", "PYTORCH", "CUDA_"))
                 and not name.endswith("_DIR")}  # where PyTorch itself keeps what it compiled
    settings = {**vars(args), "sample_s": SAMPLE_S, "environment": variables}
    machine = {"cpu": cpu_model(), "threads": threads(), "memory_bytes": memory_bytes(),
               "system": platform.platform(), "adapter": device.adapter, "settings": settings}
    versions = {"python": platform.python_version(), "numpy": np.__version__, **versions}
    calibration = {"before": before, "after": after, "stable": not drifted(before, after)}
    json.dump({"schema": SCHEMA, "peer": peer, "versions": versions, "machine": machine,
               "calibration": calibration, "rows": rows, "left_out": LEFT_OUT}, sys.stdout, indent=1)
    print()
