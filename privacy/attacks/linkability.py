"""Linkability: does the release tell that two records with different columns belong to one person?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from privacy.attacks._base import USUAL, Attack, Effort, Numbers, Tables, as_numbers, nearest, sampled
from privacy.confidence import Rate
from privacy.errors import BadInput

__all__ = ["linkability"]


def linkability(
    original: pa.Table,
    released: pa.Table,
    control: pa.Table,
    known: tuple[Sequence[str], Sequence[str]],
    *,
    how: Effort = USUAL,
) -> Attack:
    """Attack with two sets of columns that two holders `known` of the same people.

    Each looks for the released row nearest to what they know; where both come to the same row, the records are
    linked. The baseline is that of two who pick released rows at random. Of equally near rows both take the one that
    comes first in a random order they share, so a link is as likely as their candidates are alike (Jaccard).

    A low value alone proves nothing: halves that are rarely unique link few people even in an exact copy.
    Source: Article 29 Working Party, opinion 05/2014 (WP216); Giomi et al. (2023, PoPETs).

    Raises:
        BadInput: a table is empty or lacks a column, or the two sets share one.

    >>> people = pa.table({"age": range(40), "city": [f"c{n}" for n in range(40)]})
    >>> linkability(people[:20], people[:20], people[20:], (["age"], ["city"])).success.value
    1.0
    """
    tables = as_numbers(original, released, control)
    halves = [tables.places(names) for names in known]
    if not all(halves) or set(halves[0]) & set(halves[1]):
        raise BadInput("linkability needs two sets of columns that share none")
    rng = np.random.default_rng(how.seed)
    success = _linked(tables.original, tables, halves, how.attempts, rng)
    missed = _linked(tables.control, tables, halves, how.attempts, rng)
    tried = len(success)
    guessed = int(rng.binomial(tried, 1.0 / len(tables.released)))
    return Attack(
        "linkability",
        Rate(int(success.sum()), tried, how.level),
        Rate(int(missed.sum()), len(missed), how.level),
        Rate(guessed, tried, how.level),
    )


def _linked(
    people: Numbers, tables: Tables, halves: list[list[int]], attempts: int, rng: np.random.Generator
) -> np.ndarray:
    """Whether both halves of each attacked person lead to one released row."""
    targets = people[sampled(people, attempts, rng)]
    order = int(rng.integers(2**32))
    found = [
        nearest(targets[:, half], tables.released[:, half], tables.numeric[half], np.random.default_rng(order))
        for half in halves
    ]
    return np.asarray(found[0] == found[1])
