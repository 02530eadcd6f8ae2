"""Whether what is published lets anybody find out what must not be inferred: a verdict a table and attribute.

It passes only at a within-spend-decile AUC of at most .55 whose upper bound is at most .60, and fails closed: what
can't be bounded, for want of flagged people or because something broke, has not passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from privacy.errors import CustosError
from training.gates import Verdict
from training.inference_attack import Attacked, Target, attack, telling

__all__ = [
    "FAILED",
    "NOTHING_MARKED",
    "PASSED",
    "GateLimits",
    "Inferred",
    "all_passed",
    "as_verdicts",
    "examine",
    "not_tested",
    "published_columns",
    "target_of",
]

PASSED: Final = "passed"
FAILED: Final = "failed"
NOTHING_MARKED: Final = "nothing marked"
MOST_TELLING: Final = 5
_KEYS: Final = ("customer_token", "event_timestamp")
_NO_COLUMNS: Final = frozenset({*_KEYS, "created_timestamp", "audit_reference"})


@dataclass(frozen=True)
class GateLimits:
    """What an attack within spend deciles may reach, and on how many people at most and at least it is judged."""

    most: float = 0.55
    most_upper: float = 0.60
    fewest_flagged: int = 20
    most_people: int = 20_000


@dataclass(frozen=True)
class Inferred:
    """The verdict on one published table and one attribute; `attacked` is None where nothing could be measured."""

    what: str
    attribute: str
    passed: bool
    why: str
    rows: int = 0
    people_flagged: int = 0
    attacked: Attacked | None = None
    telling: tuple[tuple[str, float], ...] = ()
    """Of what failed: the columns that tell most by themselves, each with its AUC within spend deciles."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Return the verdict as one line.

        >>> Inferred("model:clv", "infant", False, "7 flagged people are too few to bound it").text()
        'model:clv, infant: failed, 7 flagged people are too few to bound it'
        """
        return f"{self.what}, {self.attribute}: {PASSED if self.passed else FAILED}, {self.why}"


def examine(
    what: str, published: pa.Table, evidence: pa.Table, attribute: str, limits: GateLimits | None = None, seed: int = 0
) -> Inferred:
    """Attack `attribute` through every column of `published` and judge what comes out; a failure of ours fails it too.

    `published` has customer_token, event_timestamp and numeric columns; `evidence` has, row by row of it, `spend` and
    a boolean column of the attribute's name. Text columns are attacked by what they tell apart.
    """
    limits = limits or GateLimits()
    try:
        target = target_of(published, evidence, attribute, limits.most_people)
    except (CustosError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        return Inferred(what, attribute, False, f"it could not be tested ({type(error).__name__})")
    rows, flagged = len(target.flag), len(np.unique(target.person[target.flag]))
    if flagged < limits.fewest_flagged:
        why = f"{flagged} flagged people are too few to bound it, {limits.fewest_flagged} are needed"
        return Inferred(what, attribute, False, why, rows, flagged)
    try:
        found = attack(target, seed)
    except CustosError as error:
        return Inferred(what, attribute, False, f"it could not be tested: {error.what}", rows, flagged)
    within = found.within
    passed = within.value <= limits.most and within.high <= limits.most_upper  # a NaN is neither
    why = (
        f"AUC within spend deciles {within.value:.3f} [{within.low:.3f}, {within.high:.3f}], "
        f"allowed {limits.most:.2f} and {limits.most_upper:.2f} at the upper bound; "
        f"over everybody {found.overall.value:.3f}"
    )
    return Inferred(
        what, attribute, bool(passed), why, rows, flagged, found, () if passed else _telling(published, target)
    )


def _telling(published: pa.Table, target: Target) -> tuple[tuple[str, float], ...]:
    """The columns that tell most by themselves, most first."""
    alone = telling(target)
    names = published_columns(published)
    return tuple((names[at], round(float(alone[at]), 3)) for at in np.argsort(-alone, kind="stable")[:MOST_TELLING])


def published_columns(published: pa.Table) -> list[str]:
    """Return the columns of a published table that tell something of people, in order."""
    return [name for name in published.column_names if name not in _NO_COLUMNS]


def not_tested(what: str, attributes: Sequence[str], error: CustosError) -> list[Inferred]:
    """Return the verdicts on a table that couldn't be read or whose flags are gone: not passed, and why."""
    return [Inferred(what, attribute, False, f"it could not be tested: {error.what}") for attribute in attributes]


def all_passed(found: Sequence[Inferred]) -> bool:
    """Tell whether there are verdicts and all of them passed."""
    return bool(found) and all(each.passed for each in found)


def as_verdicts(found: Sequence[Inferred], limits: GateLimits | None = None) -> tuple[Verdict, ...]:
    """Return them as promotion gates show them: the estimate beside its bound, NaN where there is none."""
    bound = (limits or GateLimits()).most
    return tuple(
        Verdict(
            gate=f"{each.attribute} not inferred from {each.what}",
            passed=each.passed,
            value=each.attacked.within.value if each.attacked else float("nan"),
            relation="<=",
            bound=bound,
            against="attack within spend deciles",
        )
        for each in found
    )


def target_of(published: pa.Table, evidence: pa.Table, attribute: str, most_people: int) -> Target:
    """Return the rows in an order that no token has a part in; of more people than `most_people`, an even share.

    Raises ValueError or KeyError where the evidence is about other rows or attributes.
    """
    if published.num_rows != evidence.num_rows:
        raise ValueError("the evidence is about other rows")
    told = published_columns(published)
    # Numbered, so that a published column may have the name of one of the evidence.
    frame = pd.DataFrame({at: _numbers(published[name]) for at, name in enumerate(told)})
    names = list(frame.columns)
    moments = published["event_timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    frame["moment"], frame["spend"] = moments, evidence["spend"].to_numpy()
    frame["flag"] = evidence[attribute].to_numpy()
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy(dtype=np.uint64)
    person = _ranked(published["customer_token"].to_pandas(), hashes)
    order = np.lexsort([hashes, person])
    if person.max(initial=-1) >= most_people:
        share = -(-(int(person.max()) + 1) // most_people)
        order = order[person[order] % share == 0]
        person = person // share
    return Target(
        columns=frame[names].to_numpy(np.float64)[order],
        flag=frame["flag"].to_numpy(np.bool_)[order],
        spend=frame["spend"].to_numpy(np.float64)[order],
        person=person[order],
        moment=frame["moment"].to_numpy(np.int64)[order],
    )


def _ranked(tokens: pd.Series, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Number people by what is known of them, never by their random tokens; a sum is the same in any order."""
    people, distinct = pd.factorize(tokens)
    content = np.zeros(len(distinct), np.uint64)
    np.add.at(content, people, hashes)
    _, rank = np.unique(content, return_inverse=True)
    return rank[people].astype(np.int64)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        values = sorted(value for value in column.unique().to_pylist() if value is not None)
        place = {value: float(at) for at, value in enumerate(values)}
        return np.array([place.get(value, np.nan) for value in column.to_pylist()])
    return column.cast(pa.float64()).to_numpy().astype(np.float64) + 0.0
