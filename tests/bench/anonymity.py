"""What anonymising costs and leaves: a million rows, anjana's lattice beside it, and the 801 households.

Example: python -m tests.bench.anonymity
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pyarrow as pa

from privacy.anonymity import anonymise
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.yardsticks import answer_of
from tests.households import HIERARCHIES, households

ROWS, PEOPLE = 1_000_000, 30_000
SECONDS, FASTER, SMALLER, CLASSES, SUPPRESSED = 6.0, 20.0, 3.0, 90, 0.05


def bars() -> list[Bar]:
    """CPU seconds of a million rows; speed and class size over anjana's; classes of the households."""
    many = million()
    seconds = cpu_seconds(lambda: anonymise(many, quasi_identifiers=many.schema.names, k=10), rounds=3)
    faster, smaller = beside_anjana()
    homes = households()
    report = anonymise(homes, quasi_identifiers=list(HIERARCHIES), k=5, hierarchies=HIERARCHIES).report
    return [
        Bar("anonymise 1,000,000 x 8 at k=10, CPU seconds", seconds, SECONDS, True),
        Bar("anonymise 30,000 x 8 at k=5, x anjana's speed", faster, FASTER, False),
        Bar("anjana's average class over ours", smaller, SMALLER, False),
        Bar("801 households at k=5, classes", report.classes, CLASSES, False),
        Bar("801 households at k=5, share suppressed", report.suppressed_share, SUPPRESSED, True),
    ]


def million() -> pa.Table:
    """A million made-up people, eight quasi-identifiers of every sort, some of them missing."""
    draw = np.random.default_rng(20170101)
    places = np.array([f"{prefix:03d}" for prefix in range(400)])
    born = np.datetime64("1930-01-01") + draw.integers(0, 29_000, ROWS)
    return pa.table(
        {
            "born": pa.array(born),
            "income": draw.lognormal(10.4, 0.7, ROWS).round(2),
            "children": pa.array(draw.poisson(1.1, ROWS), mask=draw.random(ROWS) < 0.1),
            "place": places[draw.zipf(1.4, ROWS) % 400],
            "size": draw.integers(1, 9, ROWS),
            "since": pa.array(np.datetime64("2005-01-01") + draw.integers(0, 6_500, ROWS)),
            "home": pa.array(np.array(["owns", "rents", "shares", "other"])[draw.integers(0, 4, ROWS)]),
            "visits": draw.negative_binomial(3, 0.1, ROWS),
        }
    )


def adults() -> tuple[pa.Table, dict[str, list[list[str]]]]:
    """30,000 made-up people in the shape of the census sample Adult, and a table of levels for each column."""
    draw = np.random.default_rng(7)
    ages = (17 + 73 * draw.beta(1.6, 3.2, PEOPLE)).astype(int)
    hours = np.clip(draw.normal(40, 12, PEOPLE).round().astype(int), 1, 99)
    sizes = {"work": (7, 3), "study": (16, 5), "married": (7, 3), "job": (14, 4), "origin": (41, 6), "sex": (2, 1)}
    columns = {"age": [str(age) for age in ages], "hours": [str(hour) for hour in hours]}
    levels = {"age": _bands(17, 90, (5, 10, 20, 40)), "hours": _bands(1, 99, (5, 10, 25, 50))}
    for name, (values, groups) in sizes.items():
        share = 1 / np.arange(1, values + 1)
        codes = draw.choice(values, PEOPLE, p=share / share.sum())
        columns[name] = [f"{name}-{code}" for code in codes]
        levels[name] = [[f"{name}-{code}", f"{name} group {code % groups}", "*"] for code in range(values)]
    return pa.table(columns), levels


def _bands(low: int, high: int, widths: tuple[int, ...]) -> list[list[str]]:
    rows = []
    for value in range(low, high + 1):
        starts = [(value // width * width, width) for width in widths]
        rows.append([str(value), *(f"[{start}, {start + width})" for start, width in starts), "*"])
    return rows


def beside_anjana() -> tuple[float | None, float | None]:
    """How many times faster than anjana, and how many times smaller the average class; None if anjana didn't run."""
    table, levels = adults()
    question = {"columns": table.to_pydict(), "levels": levels, "k": 5, "suppressed_percent": 5}
    theirs = answer_of("anjana", "anjana_yardstick.py", question)
    if theirs is None:
        return None, None
    start = time.process_time()
    done = anonymise(table, quasi_identifiers=table.schema.names, k=5, hierarchies=levels)
    ours = time.process_time() - start
    return theirs["seconds"] / ours, theirs["average_class"] / done.report.average_class


if __name__ == "__main__":
    sys.exit(tell(bars()))
