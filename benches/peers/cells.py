"""What the tables say of a row: the words and figures of their cells, in Markdown."""

import math

from pairs import library, middle, ratios

NAMES = {"torch": "PyTorch"}


def markdown(head, rows, right=()):
    """A table; the columns of the names in `right` are set to the right."""
    rule = ["---:" if name in right else "---" for name in head]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


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
        return f"{row['work']} of {row['rule']}, {count(row['size'])}"
    rows, features = count(shape["rows"]), count(shape["features"])
    if row["work"] == "gradient":
        return f"gradient, {rows} × {features}"
    return f"{row['work']} of {row['rule']}, {rows} × {features} by {shape['batch']}"


def speed(row):
    rate = f", {figures(row['gb_s'])} GB/s" if row.get("gb_s") else ""
    return seconds(row["median_s"]) + rate


def threads(number):
    return f"{number} thread" + ("s" if number != 1 else "")


def name(library):
    return NAMES.get(library, library)


def versioned(report):
    """The library's name and version, without what its build adds to that."""
    version = report["versions"].get(library(report), "")
    return f"{name(library(report))} {version.split('+')[0]}".strip()


def peer(ours, its, called):
    said = [called, its.get("variant")]
    if its.get("threads") != ours.get("threads"):
        said.append(threads(its["threads"]))
    return ", ".join(filter(None, said)) + f": {speed(its)}"


def ratio(*pair):
    """With the least and the largest, where there were rounds."""
    found = ratios(*pair)
    if not found:
        return "—"
    spread = f" ({figures(min(found))}–{figures(max(found))})" if len(found) > 1 else ""
    return figures(middle(found)) + spread


def machine(row, report):
    if row["device"] != "cpu":
        return row["device"]
    return f"{report['machine']['cpu'].strip()}, {threads(row.get('threads'))}"


def percent(value):
    return f"{value:.0f} %" if value else "—"


def of_copy(ours, its):
    beside = f", peer {percent(its.get('percent_of_copy'))}" if its else ""
    return percent(ours.get("percent_of_copy")) + beside
