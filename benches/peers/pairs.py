"""The benchmarks' JSON files, and which of their rows belong together."""

import json
import pathlib
import statistics

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"
OURS = "wgpu-optim"
SCHEMA = 1


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


def save(path, text):
    """Under its name only when it is whole."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def number(text):
    """A whole number, also as 2^24."""
    base, _, exponent = text.partition("^")
    return int(base) ** int(exponent or 1)


def library(report):
    return report.get("peer") or OURS


def parted(reports):
    """Ours and the peers'."""
    return [[report for report in reports if (library(report) == OURS) == ours] for ours in (True, False)]


def task(row):
    """What two rows must have in common to be compared."""
    shape = row.get("shape") or {}
    batch = shape.get("batch") if row["work"] == "epoch" else None
    return row["work"], row.get("rule"), row["size"], shape.get("rows"), shape.get("features"), batch


def beside(row):
    """What of ours a peer's row is compared with: where the peer can only make an update a row, that
    is Adam on batches of 4096."""
    work, name, size, rows, features, batch = task(row)
    return (work, "adam", size, rows, features, 4096) if batch == 1 else (work, name, size, rows, features, batch)


def place(report):
    return report["machine"]["cpu"].strip()


def device(report):
    """What a run was for, as its rows call it."""
    return (report["machine"].get("adapter") or {}).get("name", "cpu")


def belong(row, report, its, peer):
    """Whether a row of ours and a peer's are the same work on the same machine and device, with as many
    threads. A peer that has but one thread is compared with ours of any number."""
    return (place(report) == place(peer) and row["device"] == its["device"] and task(row) == beside(its)
            and (row.get("threads") == its.get("threads") or task(its) != beside(its)))


def hot_first(rows):
    """One row for each number of threads: hot before what is not said, that before cold."""
    order = ("hot", None, "cold")
    found = {}
    for row in sorted(rows, key=lambda row: order.index(row.get("cache"))):
        found.setdefault(row.get("threads"), row)
    return list(found.values())


def kin(row):
    return row["work"], row["size"], row["device"], row.get("threads")


def pairs(reports):
    """Ours and a peer's, each with its report; and steps of ours that no peer has, where peers have
    others of the same size, device and threads."""
    ours, peers = parted(reports)
    found = [(row, report, its, peer) for peer in peers for its in peer["rows"] for report in ours
             for row in hot_first(row for row in report["rows"] if belong(row, report, its, peer))]
    met = {(id(report), kin(row)) for row, report, *_ in found}
    alone = [(row, report) for report in ours for row in report["rows"]
             if row["work"] == "step" and (id(report), kin(row)) in met and row.get("cache") != "cold"
             and not any(row is other or (task(row) == task(other) and kin(row) == kin(other))
                         for other, its_report, *_ in found if its_report is report)]
    return found + [(row, report, None, None) for row, report in alone]


def ratios(ours, report, its, peer):
    """How many times as fast ours is: what each round says, where both ran together, else one ratio,
    that of the two medians; none where a median is of what never came."""
    if not (ours["median_s"] and its["median_s"]):
        return []
    run = (report.get("together") or {}).get("started")
    rounds = ours.get("rounds", []), its.get("rounds", [])
    if run and run == (peer.get("together") or {}).get("started") and len(rounds[0]) == len(rounds[1]):
        return [theirs / mine for mine, theirs in zip(*rounds)]
    return [its["median_s"] / ours["median_s"]]


def middle(found):
    """What the rounds' ratios come to: the median, of two the lower."""
    return statistics.median_low(found) if found else None
