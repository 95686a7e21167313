"""What the peers' benchmarks share: the data, the clock, and what is printed."""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np


def make_rows(rows, features, seed=1):
    """X and y in f32: y = x w + 1 + noise, of normal numbers."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, features), np.float32)
    weights = random.standard_normal(features, np.float32)
    return x, x @ weights + 1.0 + 0.1 * random.standard_normal(rows, np.float32)


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


def measure(works, repeats):
    """Times every work once, and all of them again, so that whatever else the machine does
    meets them alike. The first round warms up and does not count."""
    samples = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, seconds in zip(works, samples):
            start = time.perf_counter()
            work["run"]()
            if repeat > 0:
                seconds.append(time.perf_counter() - start)
    return samples


def write(peer, versions, device, threads, works, repeats):
    """Measures, checks what was computed, and prints one JSON object."""
    results = []
    for work, samples in zip(works, measure(works, repeats)):
        work["check"]()
        median = statistics.median(samples)
        values = work["size"]["rows"] * work["size"]["features"]
        results.append({"work": work["work"], "size": work["size"], "threads": threads,
                        "samples": samples, "median_s": median,
                        "features_per_s": values / median})
    machine = {"cpu": cpu_model(), "threads": os.cpu_count(), "device": device,
               "system": platform.platform()}
    versions = {"python": platform.python_version(), "numpy": np.__version__, **versions}
    report = {"schema": 1, "peer": peer, "versions": versions, "machine": machine,
              "rows": results}
    json.dump(report, sys.stdout, indent=1)
    print()
