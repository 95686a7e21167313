"""A Markdown table of ours beside the peers', from the JSON files alone.

    python table.py [FILE.json …] [--sizes 2^24,…] [--fastest]

Without files those of benches/results. A peer's row belongs to the row of ours of the same work on the
same machine (by its processor's name) and device (by its name), with as many threads.
"""

import argparse
import json
import math
import pathlib
import statistics

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"
OURS = "wgpu-optim"
SCHEMA = 1
WORKS = ("step", "gradient", "epoch", "fit")
NAMES = {"torch": "PyTorch"}
HEAD = ("work", "ours", "peer", "ratio", "percent of copy", "machine")


class NotOurs(Exception):
    """A file that is no benchmark's JSON of this schema."""


def load(path):
    try:
        report = json.loads(pathlib.Path(path).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotOurs(f"{path}: {error}") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA or "rows" not in report:
        raise NotOurs(f"{path}: no benchmark's JSON of schema {SCHEMA}")
    return report


def library(report):
    return report.get("peer") or OURS


def rule(row):
    """AMSGrad is a rule of its own here, also where it is a variant of Adam."""
    return "amsgrad" if "amsgrad" in (row.get("variant") or "") else row.get("rule")


def task(row):
    """What two rows must have in common to be compared."""
    shape = row.get("shape") or {}
    batch = shape.get("batch") if row["work"] == "epoch" else None
    return row["work"], rule(row), row["size"], shape.get("rows"), shape.get("features"), batch


def beside(row):
    """What of ours a peer's row is compared with: where the peer can only make an update a row, that
    is Adam on batches of 4096."""
    work, name, size, rows, features, batch = task(row)
    return (work, "adam", size, rows, features, 4096) if batch == 1 else (work, name, size, rows, features, batch)


def place(report):
    return report["machine"]["cpu"].strip()


def hot_first(rows):
    """One row for each number of threads: hot before what is not said, that before cold."""
    order = ("hot", None, "cold")
    found = {}
    for row in sorted(rows, key=lambda row: order.index(row.get("cache"))):
        found.setdefault(row.get("threads"), row)
    return found


def pairs(reports):
    """Ours and a peer's, each with its report; and steps of ours that no peer has, where peers have
    others of the same size, device and threads."""
    ours = [report for report in reports if library(report) == OURS]
    found, met = [], set()
    for peer in (report for report in reports if library(report) != OURS):
        for its in peer["rows"]:
            for report in ours:
                if place(report) != place(peer):
                    continue
                same = [row for row in report["rows"]
                        if task(row) == beside(its) and row["device"] == its["device"]]
                rows = hot_first(same)
                # A peer that has but one thread is compared with ours of any number.
                some = rows if task(its) != beside(its) else {its["threads"]} & rows.keys()
                for threads in some:
                    found.append((rows[threads], report, its, peer))
                    met.add((id(report), kin(rows[threads])))
    alone = [(row, report) for report in ours for row in report["rows"]
             if row["work"] == "step" and (id(report), kin(row)) in met and row.get("cache") != "cold"
             and not any(row is other or (task(row) == task(other) and kin(row) == kin(other))
                         for other, its_report, *_ in found if its_report is report)]
    return found + [(row, report, None, None) for row, report in alone]


def kin(row):
    return row["work"], row["size"], row["device"], row.get("threads")


def ratio(ours, report, its, peer):
    """How many times as fast ours is. Where both ran together it is the median of what each round
    says (of two the lower), with the least and the largest; else that of the two medians."""
    if not (ours["median_s"] and its["median_s"]):
        return "—"
    run = (report.get("together") or {}).get("started")
    rounds = ours.get("rounds", []), its.get("rounds", [])
    if run and run == (peer.get("together") or {}).get("started") and len(rounds[0]) == len(rounds[1]):
        each = [theirs / mine for mine, theirs in zip(*rounds)]
        return f"{figures(statistics.median_low(each))} ({figures(min(each))}–{figures(max(each))})"
    return figures(its["median_s"] / ours["median_s"])


def figures(value, digits=3):
    """As many figures as say something."""
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{places}f}"


def seconds(value):
    if not value:
        return "—"
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if value * scale >= 1.0:
            return f"{figures(value * scale)} {unit}"
    return f"{figures(value * 1e6)} µs"


def count(value):
    """2²⁴ where it is a power of two that is not read at a glance."""
    power = value.bit_length() - 1
    if value == 1 << power and power >= 12:
        return "2" + str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return str(value)


def words(row):
    """The work, as a reader would say it."""
    shape = row.get("shape") or {}
    if not shape:
        return f"{row['work']} of {rule(row)}, {count(row['size'])}"
    rows, features = count(shape["rows"]), count(shape["features"])
    if row["work"] == "gradient":
        return f"gradient, {rows} × {features}"
    return f"{row['work']} of {rule(row)}, {rows} × {features} by {shape['batch']}"


def speed(row):
    rate = f", {figures(row['gb_s'])} GB/s" if row.get("gb_s") else ""
    return seconds(row["median_s"]) + rate


def peer_cell(ours, its, peer):
    name = library(peer)
    version = peer["versions"].get(name, "").split("+")[0]
    said = [f"{NAMES.get(name, name)} {version}".strip(), its.get("variant")]
    if its["threads"] != ours.get("threads"):
        said.append(f"{its['threads']} thread" + ("s" if its["threads"] != 1 else ""))
    return ", ".join(filter(None, said)) + f": {speed(its)}"


def machine_cell(row, report):
    if row["device"] != "cpu":
        return row["device"]
    threads = row.get("threads")
    return f"{report['machine']['cpu'].strip()}, {threads} thread" + ("s" if threads != 1 else "")


def share(row):
    percent = row.get("percent_of_copy") if row else None
    return f"{percent:.0f} %" if percent else "—"


def line(ours, report, its, peer):
    cells = [words(ours), speed(ours)]
    if its:
        cells += [peer_cell(ours, its, peer), ratio(ours, report, its, peer),
                  f"{share(ours)}, peer {share(its)}"]
    else:
        cells += ["—", "—", share(ours)]
    return cells + [machine_cell(ours, report)]


def order(pair):
    ours, report, its, _ = pair
    work = WORKS.index(ours["work"]) if ours["work"] in WORKS else len(WORKS)
    batch = (ours.get("shape") or {}).get("batch") or 0
    return (ours["device"] != "cpu", machine_cell(ours, report), work, ours["size"], -batch,
            rule(ours) or "", (its or {}).get("median_s") or math.inf)


def fastest(found):
    """Of each library's variants of a work the one that takes least."""
    best = {}
    for pair in sorted(found, key=order):
        ours, _, _, peer = pair
        best.setdefault((id(ours), peer and library(peer)), pair)
    return list(best.values())


def table(reports, sizes=None, only_fastest=False):
    """Lines of Markdown; none if nothing can be compared."""
    found = [pair for pair in pairs(reports)
             if not sizes or pair[0]["work"] != "step" or pair[0]["size"] in sizes]
    found = sorted(fastest(found) if only_fastest else found, key=order)
    if not found:
        return []
    rows = [HEAD, ("---", "---", "---", "---:", "---", "---"), *(line(*pair) for pair in found)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def sources(reports, names):
    """What each file is, for below the table."""
    for report, name in zip(reports, names):
        versions = ", ".join(f"{of} {version}" for of, version in report["versions"].items())
        machine, run = report["machine"], report.get("together")
        said = [f"`{name}`: {versions}", machine.get("system") or machine.get("os"),
                run and f"{run['rounds']} rounds in turns, {run['started']}",
                None if report["calibration"]["stable"] else "the machine's own copy drifted meanwhile"]
        yield "- " + "; ".join(filter(None, said))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="default benches/results/*.json")
    parser.add_argument("--sizes", type=lambda text: [power(each) for each in text.split(",")],
                        help="of steps: default all")
    parser.add_argument("--fastest", action="store_true", help="of each peer the fastest variant alone")
    args = parser.parse_args()
    files = args.files or sorted(RESULTS.glob("*.json"))
    try:
        reports = [load(path) for path in files]
    except NotOurs as error:
        parser.error(str(error))
    lines = table(reports, args.sizes, args.fastest)
    if not lines:
        parser.error(f"no row of ours has one of a peer's beside it in {len(reports)} files")
    print("\n".join(lines), "\n".join(sources(reports, [pathlib.Path(file).name for file in files])), sep="\n\n")


def power(text):
    base, _, exponent = text.partition("^")
    return int(base) ** int(exponent or 1)


if __name__ == "__main__":
    main()
