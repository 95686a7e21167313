"""What is to be reached (goals.json), and what the JSON files say of it: a table for each section of the
goals and each machine, and below it a line for every goal that is not met, with the `why` of goals.json.

A goal names a row of ours (`work`, `rule`, `size` or `shape` and `batch`), of all threads where it is the
processor's; of which `peers`' rows it is to be how many times as fast (`ratio`); and which shares, in
percent, it is to have `least` of the copy and of its limit. What no row can show has but `words` and a `goal`.
"""

import json
import pathlib

import cells
import pairs

GOALS = pathlib.Path(__file__).resolve().parent / "goals.json"
HEAD = ("work", "ours", "peer", "ratio", "goal", "of copy", "of limit", "met")
BEGIN, END = "<!-- goals -->", "<!-- /goals -->"
MISSING = "not measured"


class Wrong(Exception):
    """A file that has no place for the tables."""


def read(path=GOALS):
    return json.loads(path.read_text())["sections"]


def wanted(goal):
    """A row of nothing but what it is about."""
    row = {"work": goal["work"], "rule": goal.get("rule"), "shape": None}
    if "shape" not in goal:
        return {**row, "size": pairs.number(goal["size"])}
    rows, features = map(pairs.number, goal["shape"].split("x"))
    return {**row, "size": rows * features, "shape": {"rows": rows, "features": features, "batch": goal.get("batch")}}


def name(goal):
    return goal.get("words") or cells.words(wanted(goal))


def kind(report):
    """What a run of ours was for."""
    adapter = report["machine"].get("adapter")
    return "processor" if not adapter else "software" if adapter["software"] else "hardware"


def ours(goal, report):
    """The row that a goal is about, if it is there."""
    if "work" not in goal:
        return None
    same = [row for row in report["rows"] if pairs.task(row) == pairs.task(wanted(goal))
            and row["device"] == pairs.device(report)
            and row.get("threads") in (None, report["machine"]["threads"])]
    return next(iter(pairs.hot_first(same)), None)


def theirs(peer, row, report, peers):
    """The row of a peer that ours is compared with, and its report, if they are there."""
    for each in peers:
        for its in each["rows"]:
            if (pairs.library(each), its.get("variant")) == (peer["library"], peer["variant"]):
                if pairs.belong(row, report, its, each):
                    return its, each
    return None


def called(peer):
    return ", ".join(filter(None, (cells.name(peer["library"]), peer["variant"])))


def aim(goal, peer):
    """The cell that says what is to be reached."""
    said = [goal.get("goal"), peer and f"≥ {peer['ratio']}×"]
    said += [f"≥ {least} % of {of}" for of, least in goal.get("least", {}).items()]
    return ", ".join(filter(None, said))


def blank(goal, mark="", met=""):
    """The lines of a goal of which nothing is measured."""
    for peer in goal.get("peers") or [None]:
        beside = called(peer) if peer else goal.get("alone", "")
        yield [name(goal), mark, beside, "", aim(goal, peer), "", "", met]


def shares(goal, row):
    """What is too little of a copy or of the limit."""
    for of, least in goal.get("least", {}).items():
        share = row.get("percent_of_copy") if of == "copy" else row.get("percent_of_limit")
        if share is None or of not in ("copy", row.get("limit")):
            yield f"{of}: {MISSING}"
        elif share < least:
            yield f"{of}: {cells.figures(share)} % of {least} %"


def compared(peer, row, report, peers):
    """The cells of a peer and of the ratio, of the copies' shares, and in what the ratio falls short."""
    found = theirs(peer, row, report, peers)
    if not found:
        return f"{called(peer)}: {MISSING}", "—", cells.of_copy(row, None), [f"{called(peer)}: {MISSING}"]
    its, its_report = found
    ratio = pairs.middle(pairs.ratios(row, report, its, its_report))
    reached = MISSING if ratio is None else f"{cells.figures(ratio)}× of {peer['ratio']}×"
    short = [] if ratio is not None and ratio >= peer["ratio"] else [f"{called(peer)}: {reached}"]
    return (cells.peer(row, its, cells.name(peer["library"])), cells.ratio(row, report, its, its_report),
            cells.of_copy(row, its), short)


def judge(goal, report, peers):
    """A goal's lines, and in what it falls short: nothing if it is met."""
    row = ours(goal, report)
    if not row:
        return list(blank(goal, MISSING, "no")), [MISSING]
    lines, short = [], list(shares(goal, row))
    limit = f"{cells.figures(row['percent_of_limit'])} % of {row['limit']}" if row.get("percent_of_limit") else "—"
    missed = bool(short)
    for peer in goal.get("peers") or [None]:
        beside, ratio, copy, slower = (compared(peer, row, report, peers) if peer else
                                       (goal.get("alone", "—"), "—", cells.of_copy(row, None), []))
        met = "no" if missed or slower else "yes"
        lines.append([cells.words(row), cells.speed(row), beside, ratio, aim(goal, peer), copy, limit, met])
        short += slower
    return lines, short


def faster(goal, report, peers):
    """Peers' rows of the same work that take less time than ours, and are not what the goal is about."""
    row = ours(goal, report)
    known = [(peer["library"], peer["variant"]) for peer in goal.get("peers", [])]
    for each in peers if row else []:
        for its in each["rows"]:
            ratio = pairs.belong(row, report, its, each) and pairs.middle(pairs.ratios(row, report, its, each))
            if ratio and ratio < 1 and (pairs.library(each), its.get("variant")) not in known:
                beside = called({"library": pairs.library(each), "variant": its.get("variant")})
                yield f"{name(goal)}: {beside}, {cells.ratio(row, report, its, each)}"


def about(report, peers):
    """The machine, the versions and the run, for above a table."""
    machine, run, beside = report["machine"], report.get("together"), [report, *peers]
    adapter = machine.get("adapter")
    where = [adapter and f"{adapter['name']} ({adapter['backend']}, {adapter['driver_info']})",
             f"{pairs.place(report)}, {cells.threads(machine['threads'])}", machine["system"]]
    versions = {of: version for each in beside for of, version in each["versions"].items()}
    said = [", ".join(filter(None, where)), ", ".join(f"{of} {version}" for of, version in versions.items()),
            run and f"{run['rounds']} interleaved rounds, {run['started']}",
            None if all(each["calibration"]["stable"] for each in beside) else
            "the copy's bandwidth drifted by more than 5 % during the run"]
    return "; ".join(filter(None, said)) + "."


def measured(section, report, peers):
    """The paragraphs of a section on one machine, and the goals that are not met and have no `why`."""
    judged = [(goal, *judge(goal, report, peers)) for goal in section["goals"]]
    beside = [peer for peer in peers if pairs.place(peer) == pairs.place(report)
              and any(its["device"] == pairs.device(report) for its in peer["rows"])]
    table = cells.markdown(HEAD, [line for _, lines, _ in judged for line in lines], right=["ratio"])
    unmet = [(goal, short) for goal, _, short in judged if short]
    reasons = [f"- {name(goal)} ({'; '.join(short)}): {goal.get('why') or 'why?'}" for goal, short in unmet]
    unexplained = [f"{section['title']}, {name(goal)}: {'; '.join(short)}" for goal, short in unmet
                   if not goal.get("why")]
    paragraphs = [about(report, beside), "\n".join(table)]
    if reasons:
        paragraphs += ["Not met:", "\n".join(reasons)]
    others = [f"- {said}" for goal in section["goals"] for said in faster(goal, report, peers)]
    if others:
        paragraphs += ["Faster than this library in the same run, by the same ratio:", "\n".join(others)]
    return paragraphs, unexplained


def tables(sections, reports):
    """Markdown of all sections, and the goals that are not met and have no `why`."""
    own, peers = pairs.parted(reports)
    text, unexplained = [], []
    for section in sections:
        text.append(f"### {section['title']}")
        here = [report for report in own if kind(report) == section["on"]]
        for report in here:
            paragraphs, unknown = measured(section, report, peers)
            text += paragraphs
            unexplained += unknown
        if not here:
            lines = [line for goal in section["goals"] for line in blank(goal)]
            text += [section["unmeasured"], "\n".join(cells.markdown(HEAD, lines, right=["ratio"]))]
    return "\n\n".join(text) + "\n", unexplained


def text_of(path):
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{path}: {error}") from error


def put(old, tables, path):
    """The file with other tables between its marks."""
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(END) < old.index(BEGIN):
        raise Wrong(f"{path}: there must be one {BEGIN} and after it one {END}")
    before, rest = old.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{rest.split(END)[1]}"
