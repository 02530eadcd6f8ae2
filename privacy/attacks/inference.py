"""Inference: does the release tell a person's secret to somebody who knows their other columns?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.attacks._base import MISSING, USUAL, Attack, Effort, Numbers, as_numbers, nearest, sampled
from privacy.confidence import Rate
from privacy.errors import BadInput

__all__ = ["inference"]


def inference(
    original: pa.Table,
    released: pa.Table,
    control: pa.Table,
    secret: str,
    known: Sequence[str] | None = None,
    *,
    tolerance: float = 0.05,
    how: Effort = USUAL,
) -> Attack:
    """Attack the column `secret` of people whose `known` columns (all others by default) the attacker has.

    The guess is the secret of the released row nearest to what is known. A guessed number is right within
    `tolerance` of the true one's size, anything else when it is equal. The baseline always guesses the release's
    most common value, or its median.

    Source: Article 29 Working Party, opinion 05/2014 (WP216); Giomi et al. (2023, PoPETs).

    Raises:
        BadInput: a table is empty or lacks a column, or the secret is among what is known.

    >>> people = pa.table({"age": range(40), "ill": [n % 3 for n in range(40)]})
    >>> inference(people[:20], people[:20], people[20:], "ill").success.value
    1.0
    """
    tables = as_numbers(original, released, control)
    (place,) = tables.places([secret])
    others = tables.places([name for name in tables.names if name != secret] if known is None else known)
    if not others or place in others:
        raise BadInput("inference needs known columns, and the secret not among them")
    rng, is_number = np.random.default_rng(how.seed), bool(tables.numeric[place])

    def right(people: Numbers, *, guessing: bool = False) -> npt.NDArray[np.bool_]:
        targets = people[sampled(people, how.attempts, rng)]
        guesses = np.full(len(targets), _usual(tables.released[:, place], is_number))
        if not guessing:
            at = nearest(targets[:, others], tables.released[:, others], tables.numeric[others], rng)
            guesses = tables.released[at, place]
        return _matches(guesses, targets[:, place], tolerance if is_number else 0.0)

    outcomes = right(tables.original), right(tables.control), right(tables.original, guessing=True)
    return Attack(f"inference of {secret}", *(Rate(int(hits.sum()), len(hits), how.level) for hits in outcomes))


def _usual(values: Numbers, is_number: bool) -> float:
    """The best guess of somebody who knows the release's distribution only."""
    if is_number and (known := values[values != MISSING]).size:
        return float(np.median(known))
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()])


def _matches(guesses: Numbers, truth: Numbers, tolerance: float) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        near = np.isfinite(truth) & (np.abs(guesses - truth) <= tolerance * np.abs(truth))
    return near | (guesses == truth)
