"""k, l and t of our releases beside those that pycanon counts on the same tables.

Example: python -m tests.crosscheck.pycanon
"""

from __future__ import annotations

import math
import sys

import numpy as np
import pyarrow as pa

from privacy.anonymity import anonymise
from tests.bench.yardsticks import answer_of
from tests.households import HIERARCHIES, households

CLOSE = 1e-9


def crosscheck() -> bool:
    """Print each figure of ours beside pycanon's; whether all are equal. pycanon rounds entropy l down."""
    agreed = True
    for what, table, names, hidden, demands in cases():
        done = anonymise(table, quasi_identifiers=names, sensitive=hidden, hierarchies=hierarchies_of(names), **demands)
        released = done.table.select([*names, *hidden]).to_pydict()
        question = {"columns": released, "quasi_identifiers": names, "sensitive": hidden}
        theirs = answer_of("anjana", "pycanon_measures.py", question)
        if theirs is None:
            return False
        report = done.report
        pairs = [("k", report.k, theirs["k"]), ("classes", report.classes, theirs["classes"])]
        for name in hidden:
            ours = report.sensitive[name]
            pairs.append((f"l of {name}", ours["l"], theirs[name]["l"]))
            # An entropy of exactly log n, a hair off, rounds down to n or to n - 1.
            rounded = {math.floor(ours["entropy_l"] + hair) for hair in (CLOSE, -CLOSE)}
            other = theirs[name]["entropy_l"]
            pairs.append((f"entropy l of {name}", other if other in rounded else max(rounded), other))
            pairs.append((f"t of {name}", ours["t"], theirs[name]["t"]))
        for figure, own, other in pairs:
            same = abs(own - other) <= CLOSE
            agreed &= same
            print(f"  {what:<26} {figure:<22} {own:>9.4f} {other:>9.4f}  {'ok' if same else 'DIFFERENT'}")
    return agreed


def cases() -> list[tuple[str, pa.Table, list[str], list[str], dict]]:
    """What is released: the households with two sensitive columns, and made-up people with a number and a name."""
    homes = households()
    homes = homes.filter(pa.compute.is_valid(homes["marital_status"]))  # pycanon doesn't count missing values
    shown = ["age", "household_size", "household_comp", "kids_count"]
    draw = np.random.default_rng(11)
    people = pa.table(
        {
            "age": draw.integers(18, 90, 3_000),
            "place": [f"p{code}" for code in draw.zipf(1.5, 3_000) % 50],
            "income": draw.integers(8, 60, 3_000) * 1_000,
            "illness": [f"i{code}" for code in draw.integers(0, 6, 3_000)],
        }
    )
    return [
        ("households, k=5", homes, shown, ["income", "marital_status"], {"k": 5}),
        ("households, k=4 l=2 t=0.45", homes, shown, ["income", "marital_status"], {"k": 4, "l": 2, "t": 0.45}),
        ("people, k=10", people, ["age", "place"], ["income", "illness"], {"k": 10}),
        ("people, k=5 l=4 t=0.2", people, ["age", "place"], ["income", "illness"], {"k": 5, "l": 4, "t": 0.2}),
    ]


def hierarchies_of(names: list[str]) -> dict[str, object]:
    """Those of the households' columns among `names`; made-up people have none."""
    return {name: HIERARCHIES[name] for name in names if name in HIERARCHIES and "place" not in names}


if __name__ == "__main__":
    sys.exit(not crosscheck())
