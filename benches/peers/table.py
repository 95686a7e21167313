"""Markdown tables of ours beside the peers', from the JSON files alone.

    python table.py [FILE.json …] [--sizes 2^24,…] [--fastest]
    python table.py [FILE.json …] --goals [--into docs/benchmarks.md [--check]]

Without files those of benches/results. A peer's row belongs to the row of ours of the same work on the
same machine (by its processor's name) and device (by its name), with as many threads.
"""

import argparse
import math
import pathlib
import sys

import cells
import goals
import pairs

WORKS = ("step", "gradient", "epoch", "fit")
HEAD = ("work", "ours", "peer", "ratio", "percent of copy", "machine")


def line(ours, report, its, peer):
    compared = ["—", "—"]
    if its:
        compared = [cells.peer(ours, its, cells.versioned(peer)), cells.ratio(ours, report, its, peer)]
    return [cells.words(ours), cells.speed(ours), *compared, cells.of_copy(ours, its), cells.machine(ours, report)]


def order(pair):
    ours, report, its, _ = pair
    work = WORKS.index(ours["work"]) if ours["work"] in WORKS else len(WORKS)
    batch = (ours.get("shape") or {}).get("batch") or 0
    return (ours["device"] != "cpu", cells.machine(ours, report), work, ours["size"], -batch,
            ours.get("rule") or "", (its or {}).get("median_s") or math.inf)


def fastest(found):
    """Of each library's variants of a work the one that takes least."""
    best = {}
    for pair in sorted(found, key=order):
        ours, _, _, peer = pair
        best.setdefault((id(ours), peer and pairs.library(peer)), pair)
    return list(best.values())


def table(reports, sizes=None, only_fastest=False):
    """Lines of Markdown; none if nothing can be compared."""
    found = [pair for pair in pairs.pairs(reports)
             if not sizes or pair[0]["work"] != "step" or pair[0]["size"] in sizes]
    found = sorted(fastest(found) if only_fastest else found, key=order)
    return cells.markdown(HEAD, [line(*pair) for pair in found], right=["ratio"]) if found else []


def sources(reports, names):
    """What each file is, for below the table."""
    for report, name in zip(reports, names):
        versions = ", ".join(f"{of} {version}" for of, version in report["versions"].items())
        machine, run = report["machine"], report.get("together")
        said = [f"`{name}`: {versions}", machine.get("system") or machine.get("os"),
                run and f"{run['rounds']} interleaved rounds, {run['started']}",
                None if report["calibration"]["stable"] else "the copy's bandwidth drifted during the run"]
        yield "- " + "; ".join(filter(None, said))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="default benches/results/*.json")
    parser.add_argument("--sizes", type=lambda text: [pairs.number(each) for each in text.split(",")],
                        help="of steps: default all")
    parser.add_argument("--fastest", action="store_true", help="of each peer the fastest variant alone")
    parser.add_argument("--goals", action="store_true", help="the goals of goals.json, met or not")
    parser.add_argument("--into", type=pathlib.Path, metavar="FILE",
                        help=f"of --goals: puts them between {goals.BEGIN} and {goals.END}")
    parser.add_argument("--check", action="store_true", help="of --into: exits with 1 if they are not there")
    args = parser.parse_args()
    if (args.into and not args.goals) or (args.check and not args.into):
        parser.error("--check is an option of --into, and that of --goals")
    files = args.files or sorted(pairs.RESULTS.glob("*.json"))
    try:
        reports = [pairs.load(path) for path in files]
        if args.goals:
            sys.exit(show_goals(reports, args))
    except (pairs.NotOurs, goals.Wrong) as error:
        parser.error(str(error))
    lines = table(reports, args.sizes, args.fastest)
    if not lines:
        parser.error(f"no row of ours has one of a peer's beside it in {len(reports)} files")
    print("\n".join(lines), "\n".join(sources(reports, [pathlib.Path(file).name for file in files])), sep="\n\n")


def show_goals(reports, args):
    """Prints them, or sees to it that a file has them; the exit code."""
    text, unexplained = goals.tables(goals.read(), reports)
    if not args.into:
        print(text, end="")
        return 0
    for goal in unexplained:
        print(f"not met, and goals.json has no `why`: {goal}", file=sys.stderr)
    if unexplained:
        return 1
    old = goals.text_of(args.into)
    new = goals.put(old, text, args.into)
    if args.check and new != old:
        print(f"{args.into} has other tables than these files make: make table", file=sys.stderr)
        return 1
    if not args.check:
        pairs.save(args.into, new)
    return 0


if __name__ == "__main__":
    main()
