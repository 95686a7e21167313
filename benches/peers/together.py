"""Ours and the peers', taking turns on one machine, so that whatever noise there is meets all alike.

    python together.py --out DIR [--device cpu|gpu] [--adapter NAME] [--rounds N] [--sizes 2^24,2^16x256,…]
                       [--rules adam,…] [--threads N] [--time-budget S] [--samples N] [--no-compile]
                       [--ours COMMAND] [--burn COMMAND]

A round runs each program once. DIR gets a file of each library, with the samples of all rounds and what they
come to together; standard output gets the table that table.py makes of these files.
"""

import argparse
import datetime
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pairs
import report
import table
from formulas import RULES

OURS = "cargo run --release --"
BURN = "cargo run --release --manifest-path benches/peers/burn/Cargo.toml --"
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIZES = {"cpu": "2^16,2^20,2^24,2^16x256,2^20x64",
         "gpu": "2^16,2^20,2^24,2^28,2^30,2^16x256,2^20x64,2^24x16,2^20x256,2^18x1024",
         "software": "2^16,2^20,2^24"}
POOLED = ("samples", "beside", "limit_beside", "gpu_samples", "gpu_beside")
CUDA = "import sys, torch; sys.exit(not torch.cuda.is_available())"


class Failed(Exception):
    """A program that did not end well: why, and the exit code that this stands for."""


def commands(args):
    """What a round runs: for each work ours, and then the peers'."""
    steps, shapes = [[size for size in args.sizes.split(",") if ("x" in size) == shape] for shape in (False, True)]
    rules = args.rules.split(",") if args.rules else []
    theirs = [rule for rule in rules if rule in RULES]
    samples, on = f"--samples={args.samples}", f"--device={'cuda' if args.device == 'gpu' else 'cpu'}"

    def ours(work, *more):
        return [*bench(args, work), f"--time-budget={args.time_budget}", *more]

    def torch(script, *more):
        compiled = ["--no-compile"] * args.no_compile
        return [sys.executable, "-B", HERE / script, on, samples, f"--threads={args.threads}", *compiled, *more]

    if steps:
        sizes = f"--sizes={','.join(steps)}"
        yield ours("step", *[f"--rule={args.rules}"] * bool(rules), sizes)
        if args.torch and (theirs or not rules):
            yield torch("torch_steps.py", *[f"--rules={','.join(theirs)}"] * bool(rules), sizes)
        if args.device == "gpu" and "adam" in (rules or RULES):
            yield [*shlex.split(args.burn), sizes, samples, *adapter(args)]
    if shapes:
        sizes = ",".join(shapes)
        yield ours("gradient", f"--sizes={sizes}")
        yield ours("fit", "--rule=adam")  # which has the epochs
        if args.torch:
            yield torch("torch_regression.py", f"--shapes={sizes}")
        if args.device == "cpu":
            yield [sys.executable, "-B", HERE / "sklearn_regression.py", samples]


def adapter(args):
    return [f"--adapter={args.adapter}"] * bool(args.adapter)


def bench(args, work):
    return [*shlex.split(args.ours), "bench", work, "--json", f"--device={args.device}", *adapter(args)]


def suit(args):
    """Sizes that suit what is measured, and whether PyTorch has it. A small run tells what that is."""
    kind, args.torch = args.device, True
    if args.device == "gpu":
        small = ["--sizes=4096", "--rule=sgd", "--time-budget=0", "--stream=65536"]
        found = run([*bench(args, "step"), *small])["machine"]["adapter"]
        args.adapter, why = args.adapter or found["name"], None  # which burn must take too
        if found["software"]:
            kind, why = "software", f"it has no device that is {found['name']}"
        elif subprocess.run([sys.executable, "-c", CUDA], stderr=subprocess.DEVNULL, check=False).returncode:
            why = "there is no CUDA"
        if why:
            report.say(f"left out: PyTorch: {why}")
        args.torch = not why
    args.sizes = args.sizes or SIZES[kind]


def run(command):
    """The JSON that a program prints."""
    shown = shlex.join(map(str, command))
    report.say(f"$ {shown}")
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}", 2) from error
    if done.returncode:
        raise Failed(f"{shown}: exit code {done.returncode}", done.returncode)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise Failed(f"{shown}: no JSON: {error}", 2) from error


def identity(row):
    """What tells a row from the others of its library."""
    shape = tuple(sorted((row.get("shape") or {}).items()))
    names = ("work", "rule", "variant", "size", "device", "threads", "cache")
    return tuple(row.get(name) for name in names) + (shape,)


def pool_rows(rows):
    """The same row of several rounds as one: all samples, what they come to, and each round's median."""
    pooled = dict(rows[0])
    for name in POOLED:
        if all(isinstance(row.get(name), list) for row in rows):
            pooled[name] = [sample for row in rows for sample in row[name]]
    pooled["rounds"] = [row["median_s"] for row in rows]
    return {**pooled, **report.summary(pooled)}


def pool(reports, rounds, started):
    """One library's reports as one. Calibration: before the first and after the last, stable if each
    was and these two are alike; all of them, and what each run was told, are in `together`."""
    rows = {}
    for each in reports:
        # The time to a loss is measured by no peer, and its samples are of other seeds. Beside an adapter
        # ours measures the processor too, which has a run of its own.
        unasked = "cpu" if each["machine"].get("adapter") else None
        for row in (row for row in each["rows"] if row["work"] != "fit" and row["device"] != unasked):
            rows.setdefault(identity(row), []).append(row)
    left_out = {json.dumps(what): what for each in reports for what in each.get("left_out", [])}.values()
    calibrations = [each["calibration"] for each in reports]
    before, after = calibrations[0]["before"], calibrations[-1]["after"]
    stable = all(each["stable"] for each in calibrations) and not report.drifted(before, after)
    runs = [{"calibration": each["calibration"], "settings": each["machine"].get("settings")} for each in reports]
    return {**reports[0], "together": {"rounds": rounds, "started": started, "runs": runs},
            "calibration": {"before": before, "after": after, "stable": stable},
            "rows": [pool_rows(same) for same in rows.values()], "left_out": list(left_out)}


def file_name(pooled):
    """By what it ran on."""
    on = (pooled["machine"].get("adapter") or {}).get("name") or pooled["machine"]["cpu"]
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", on.lower())).strip("-")
    return f"{pairs.library(pooled)}.{slug}.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the JSON files")
    parser.add_argument("--ours", default=OURS, help=f"default `{OURS}`")
    parser.add_argument("--burn", default=BURN, help=f"default `{BURN}`")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu",
                        help="gpu: ours and burn on the adapter, PyTorch on CUDA; default cpu")
    parser.add_argument("--adapter", metavar="NAME", help="of --device gpu: default the best one")
    parser.add_argument("--rounds", type=report.number, default=3, help="default 3")
    parser.add_argument("--sizes", help="of steps, and ROWSxFEATURES of gradients: default "
                        f"{SIZES['cpu']}, on a GPU {SIZES['gpu']}, on a software adapter {SIZES['software']}")
    parser.add_argument("--rules", help="of steps, names between commas: default all")
    parser.add_argument("--threads", type=report.number, help="of PyTorch on the processor: default all")
    parser.add_argument("--time-budget", type=float, default=1.0, help="of ours, seconds a row: default 1")
    parser.add_argument("--samples", type=report.number, default=5,
                        help="of peers, samples a row and round: default 5")
    parser.add_argument("--no-compile", action="store_true", help="leaves torch.compile out")
    args = parser.parse_args()
    if args.adapter and args.device == "cpu":
        parser.error("--adapter is an option of --device gpu")
    args.out.mkdir(parents=True, exist_ok=True)
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    found = {}
    try:
        suit(args)
        for number in range(args.rounds):
            report.say(f"round {number + 1} of {args.rounds}")
            for command in commands(args):
                each = run(command)
                # Ours is first, and measures one thread and as many as run at once: the peers have as many.
                args.threads = args.threads or each["machine"]["threads"]
                found.setdefault(pairs.library(each), []).append(each)
    except Failed as failed:
        message, code = failed.args
        report.say(message)
        sys.exit(code)
    pooled = [pool(reports, args.rounds, started) for reports in found.values()]
    files = [args.out / file_name(each) for each in pooled]
    for path, each in zip(files, pooled):
        pairs.save(path, json.dumps(each, indent=1) + "\n")
    lines = table.table(pooled)
    print("\n".join(lines), "\n".join(table.sources(pooled, [path.name for path in files])), sep="\n\n")


if __name__ == "__main__":
    main()
