"""Risks as figures with an interval and a baseline: of a released table, and of equal values under two tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.attacks import USUAL, Attack, Effort, inference, linkability, singling_out
from privacy.confidence import Rate
from privacy.errors import BadInput

__all__ = ["EXACT", "Coarsening", "Linkage", "ReleaseRisk", "attack_release", "linkage", "strongest_columns"]

_Groups = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReleaseRisk:
    """What all attacks on one release came to; it is as risky as the worst of them, whatever the others say."""

    attacks: tuple[Attack, ...]

    @property
    def worst(self) -> Attack:
        """The attack whose risk may be the highest, by the upper bound of its interval.

        One attack can fail by its nature: an exact copy is hardly linkable where halves of rows are rarely unique.
        """
        return max(self.attacks, key=lambda attack: (attack.risk.high, attack.risk.value))

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        return {"worst": self.worst.name, "attacks": [attack.to_dict() for attack in self.attacks]}


def attack_release(
    original: pa.Table,
    released: pa.Table,
    control: pa.Table,
    *,
    secrets: Sequence[str] | None = None,
    columns: int = 3,
    how: Effort = USUAL,
) -> ReleaseRisk:
    """Attack a release with singling out, linkability and the inference of each of `secrets` (default: all columns).

    `original` are the people it was made of, `control` others of the same kind who aren't in it, at least as many.
    Two holders of every other column try to link. Deterministic by `how.seed`, up to the order of the rows.

    Source: Article 29 Working Party, opinion 05/2014 (WP216).

    Raises:
        BadInput: a table is empty or lacks a column, fewer than two columns, or too small a control.

    >>> people = pa.table({"age": range(40), "city": [f"c{n}" for n in range(40)]})
    >>> attack_release(people[:20], people[:20], people[20:], how=Effort(20)).worst.success.value
    1.0
    """
    names = released.column_names
    if len(names) < 2:
        raise BadInput("a release of fewer than two columns can't be linked or inferred from")
    return ReleaseRisk(
        (
            singling_out(original, released, control, min(columns, len(names)), how=how),
            linkability(original, released, control, (names[::2], names[1::2]), how=how),
            *(inference(original, released, control, secret, how=how) for secret in secrets or names),
        )
    )


@dataclass(frozen=True)
class Coarsening:
    """How values are made less telling: not at all, to `size` decimals or significant digits, or into `size` bands.

    Bands hold equally many people each, as far as equal values let them.

    >>> Coarsening("significant", 2).text(), Coarsening("decimals", 2).of(np.array([1.239, 1.241])).tolist()
    ('2 significant digits', [1.24, 1.24])
    """

    kind: Literal["exact", "decimals", "significant", "bands"]
    size: int = 0

    def text(self) -> str:
        """What is done, in words."""
        named = {"exact": "exact", "decimals": "decimals", "significant": "significant digits", "bands": "bands"}
        return named[self.kind] if self.kind == "exact" else f"{self.size} {named[self.kind]}"

    def of(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(n,) the values as they would be told; NaN stays NaN."""
        if self.kind == "decimals":
            return np.round(values, self.size)
        if self.kind == "significant":
            with np.errstate(divide="ignore", invalid="ignore"):
                digits = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
            scale = 10.0 ** (self.size - 1 - digits)
            return np.round(values * scale) / scale
        if self.kind == "bands":
            known = values[~np.isnan(values)]
            edges = np.unique(np.quantile(known, np.arange(1, self.size) / self.size)) if len(known) else known
            return np.where(np.isnan(values), np.nan, np.searchsorted(edges, values, side="right"))
        return values


EXACT: Final = Coarsening("exact")


@dataclass(frozen=True)
class Linkage:
    """How many people two tables under different tokens give away by equal values of `columns`.

    `linked` are those whose values nobody else has in either table, `baseline` those met by matching at random.
    """

    coarsening: Coarsening
    columns: tuple[str, ...]
    linked: Rate
    baseline: Rate

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        rates = {"linked": self.linked.to_dict(), "baseline": self.baseline.to_dict()}
        return {"values": self.coarsening.text(), "columns": list(self.columns), **rates}


def linkage(
    left: pa.Table,
    right: pa.Table,
    person: str,
    columns: Sequence[str],
    coarsening: Coarsening = EXACT,
    *,
    level: float = 0.95,
) -> Linkage:
    """Link the rows of two tables by equal values of numeric `columns`; `person` tells whether that was right.

    Each table has a row a person; missing values equal each other. Tokens of two purposes can't be linked without
    the key, but rows with equal values can: this is how many. The baseline matches every person of `left` with a
    row of `right` drawn at random.

    Raises:
        BadInput: a table is empty, lacks a column, has a person twice, or a column isn't numeric.

    >>> left = pa.table({"token": ["a", "b", "c"], "spend": [1.0, 2.0, 2.0]})
    >>> linkage(left, left, "token", ["spend"]).linked.value
    0.3333333333333333
    """
    matrices = [_matrix(table, columns) for table in (left, right)]
    people = _people(left, right, person)
    groups = np.zeros(sum(map(len, matrices)), np.int64)
    for column in np.vstack(matrices).T:
        groups = _split(groups, _codes(coarsening.of(column)))
    here, there = np.split(groups, [len(matrices[0])])
    once = np.bincount(here, minlength=groups.max() + 1) == 1
    once &= np.bincount(there, minlength=groups.max() + 1) == 1
    holder = np.zeros(len(once), np.int64)
    holder[there] = np.arange(len(there))
    alone = np.flatnonzero(once[here])
    right_ones = people[0][alone] == people[1][holder[here[alone]]]
    known = int(np.isin(people[0], people[1]).sum())
    guessed = round(known / len(people[1]))  # one of all rows is the right one
    count = len(people[0])
    rates = (Rate(int(right_ones.sum()), count, level), Rate(guessed, count, level))
    return Linkage(coarsening, tuple(columns), *rates)


def strongest_columns(
    table: pa.Table, candidates: Sequence[str], most: int, coarsening: Coarsening = EXACT
) -> tuple[str, ...]:
    """The columns an attacker would take: one after the other, each the one that makes most people unique.

    At most `most` of them, and fewer where more make nobody else unique. Raises BadInput as `linkage` does.

    >>> shop = pa.table({"orders": [1, 1, 2, 2], "spend": [5.0, 6.0, 5.0, 7.0], "store": [1, 1, 1, 1]})
    >>> strongest_columns(shop, ["orders", "spend", "store"], 3)
    ('spend', 'orders')
    """
    codes = np.stack([_codes(coarsening.of(column)) for column in _matrix(table, candidates).T])
    left, groups = list(range(len(candidates))), np.zeros(codes.shape[1], np.int64)
    chosen: list[int] = []
    while left and len(chosen) < most and len(groups):
        tried = {at: _split(groups, codes[at]) for at in left}
        best = max(left, key=lambda at: (int((np.bincount(tried[at]) == 1).sum()), int(tried[at].max()), -at))
        if int(tried[best].max()) + 1 == len(np.unique(groups)):
            break
        left.remove(best)
        chosen.append(best)
        shared = np.bincount(tried[best])[tried[best]] > 1  # who is unique stays so
        groups, codes = tried[best][shared], codes[:, shared]
    return tuple(candidates[at] for at in chosen)


def _codes(values: npt.NDArray[np.float64]) -> _Groups:
    """The values numbered from 0, NaN one of them."""
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def _split(groups: _Groups, codes: _Groups) -> _Groups:
    """The groups divided by one more column's codes, numbered from 0."""
    joint = groups * (int(codes.max()) + 1) + codes
    return np.asarray(np.unique(joint, return_inverse=True)[1], np.int64)


def _matrix(table: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.float64]:
    if not table.num_rows or not columns:
        raise BadInput("linkage needs rows and columns")
    found = []
    for name in columns:
        if name not in table.column_names:
            raise BadInput(f"there is no column {name!r} to link by")
        if not (pa.types.is_integer(table[name].type) or pa.types.is_floating(table[name].type)):
            raise BadInput(f"column {name!r} is not numeric", remedy="linkage compares numbers")
        found.append(table[name].cast(pa.float64(), safe=False).to_numpy())
    return np.column_stack(found) + 0.0  # -0.0 and 0.0 are one value


def _people(left: pa.Table, right: pa.Table, person: str) -> list[_Groups]:
    """The people of both tables as numbers."""
    if person not in left.column_names or person not in right.column_names:
        raise BadInput(f"there is no column {person!r} to tell people by")
    same = right[person].cast(left[person].type)
    tokens = pa.chunked_array([*left[person].chunks, *same.chunks]).combine_chunks()
    if tokens.null_count:
        raise BadInput(f"column {person!r} lacks {tokens.null_count} people")
    codes = np.asarray(tokens.dictionary_encode().indices.to_numpy(), np.int64)
    both = np.split(codes, [left.num_rows])
    if any(len(np.unique(one)) < len(one) for one in both):
        raise BadInput(f"column {person!r} holds a person more than once", remedy="give one row a person")
    return both
