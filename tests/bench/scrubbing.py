"""Scrubbing: recall by kind on planted texts, false positives on lookalikes, and speed beside presidio's patterns.

Both go over the same texts in one run, in CPU seconds, once with phone numbers and once without: presidio's phone
recogniser is the one of its default ones that isn't made of patterns, and the slowest.

Example: python -m tests.bench.scrubbing
"""

from __future__ import annotations

import sys
from collections import Counter

import pyarrow as pa

from privacy.scrubbing import KINDS, find_pii, scrub
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.planted import lookalikes, planted
from tests.bench.yardsticks import answer_of

EACH, LOOKALIKES, TEXTS_EACH, FASTER = 300, 3_000, 80, 20.0
CHECKED = frozenset({"CARD", "IBAN", "NATIONAL_ID", "USCC"})
"""Kinds with check digits."""


def bars() -> list[Bar]:
    """Recall, false positives, speed."""
    found, total = Counter(), Counter()
    for plant in planted(EACH):
        total[plant.kind] += 1
        found[plant.kind] += is_found(plant.text, plant.kind, plant.value)
    shown = [
        Bar(f"recall of {kind}", found[kind] / total[kind], 0.99 if kind in CHECKED else 0.95, False) for kind in KINDS
    ]
    wrong = sum(bool(find_pii(text)) for text in lookalikes(LOOKALIKES))
    shown.append(Bar("false positives in 1,000 lookalikes", 1_000 * wrong / LOOKALIKES, 5.0, True))
    return shown + speed()


def is_found(text: str, kind: str, value: str) -> bool:
    """Whether all of the value is within one stretch of its kind."""
    start = text.index(value)
    end = start + len(value)
    return any(each.kind == kind and each.start <= start and each.end >= end for each in find_pii(text))


def speed() -> list[Bar]:
    """How many times faster than presidio, by the text."""
    texts = [plant.text for plant in planted(TEXTS_EACH, seed=9)] + list(lookalikes(len(KINDS) * TEXTS_EACH, seed=10))
    column = pa.array(texts)
    without = [kind for kind in KINDS if kind != "PHONE"]
    scrub(column.slice(0, 50))
    ours = cpu_seconds(lambda: scrub(column)), cpu_seconds(lambda: scrub(column, without))
    theirs = answer_of("presidio", "presidio_yardstick.py", texts)
    return [
        Bar("presidio's default recognisers / scrub", theirs and theirs["all"] / ours[0], FASTER, False),
        Bar("presidio's patterns, no phones / scrub", theirs and theirs["patterns"] / ours[1], FASTER, False),
    ]


if __name__ == "__main__":
    sys.exit(tell(bars()))
