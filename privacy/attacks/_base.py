"""What every attack on a released table shares: its outcome, three tables as numbers, and nearest rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.confidence import Estimate, Rate, checked_level, residual
from privacy.errors import BadInput

__all__ = ["MISSING", "USUAL", "Attack", "Effort", "Numbers", "Tables", "as_numbers", "nearest", "sampled"]

Numbers = npt.NDArray[np.float64]
MISSING: Final = -np.inf
"""What a missing value of a numeric column is; the columns themselves are finite."""
_CELLS: Final = 2_000_000


@dataclass(frozen=True)
class Effort:
    """How hard to attack: how often at most, from which seed, and how sure the intervals are to be."""

    attempts: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        checked_level(self.level)
        if self.attempts < 1:
            raise BadInput("at least one attempt is needed")


USUAL: Final = Effort()


@dataclass(frozen=True)
class Attack:
    """What an attack came to: on the people in the release, on people who aren't in it, and by guessing.

    `risk` is what the release gives away about its own people beyond what it tells about everybody. Attempts that
    came to nothing, such as a query that couldn't be found, count as failed ones.
    """

    name: str
    success: Rate
    control: Rate
    baseline: Rate

    @property
    def risk(self) -> Estimate:
        """The control-adjusted risk with its interval."""
        return residual(self.success, self.control)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        rates = {"success": self.success, "control": self.control, "baseline": self.baseline}
        told = {name: rate.to_dict() for name, rate in rates.items()}
        return {"attack": self.name, "risk": self.risk.to_dict(), **told}


@dataclass(frozen=True)
class Tables:
    """Three tables as matrices of one vocabulary, columns in the release's order.

    `numeric` says which columns are numbers, with MISSING for null; the others are codes, null one of them.
    """

    names: tuple[str, ...]
    numeric: npt.NDArray[np.bool_]
    original: Numbers
    released: Numbers
    control: Numbers

    def places(self, names: Sequence[str]) -> list[int]:
        """Where these columns are; BadInput naming the first that isn't there."""
        for name in names:
            if name not in self.names:
                raise BadInput(f"the released table has no column {name!r}", remedy=f"use {', '.join(self.names)}")
        return [self.names.index(name) for name in names]


def as_numbers(original: pa.Table, released: pa.Table, control: pa.Table) -> Tables:
    """The columns of the release in all three tables as numbers; the other two may have more columns.

    A column that is a number or a moment in all three is one; any other is compared as text. A column that no attack
    could compare would come out as no risk, so it is refused: `20 to 34` equals no number.

    Raises:
        BadInput: a table is empty or lacks a column, a column is infinite or nested, is a number in one table and
            none in another, or is text of which the release shares no value with the original.
    """
    tables = {"original": original, "released": released, "control": control}
    for called, table in tables.items():
        if not table.num_rows or not table.num_columns:
            raise BadInput(f"the {called} table is empty")
        lacking = [name for name in released.column_names if name not in table.column_names]
        if lacking:
            raise BadInput(f"the {called} table lacks {len(lacking)} released column(s), such as {lacking[0]!r}")
    names = tuple(released.column_names)
    if len(set(names)) < len(names):
        raise BadInput("the released table has a column twice")
    columns = [_column(name, [table[name] for table in tables.values()]) for name in names]
    numeric = np.array([is_number for is_number, _ in columns])
    parts = (np.column_stack([values[part] for _, values in columns]) for part in range(3))
    return Tables(names, numeric, *parts)


def _column(name: str, three: list[pa.ChunkedArray]) -> tuple[bool, list[Numbers]]:
    """Whether it is numeric, and its values in the three tables."""
    plain = [part.cast(part.type.value_type) if pa.types.is_dictionary(part.type) else part for part in three]
    if any(pa.types.is_nested(part.type) for part in plain):
        raise BadInput(f"column {name!r} is nested", remedy="flatten it first")
    told = [part for part in plain if part.null_count < len(part)]
    kinds = {_is_number(part.type) for part in told}
    if len(kinds) > 1:
        raise _incomparable(name, "is a number or date in one table and text in another")
    if kinds == {True} and all(_is_number(part.type) or part.null_count == len(part) for part in plain):
        plain = [
            part if _is_number(part.type) else pa.chunked_array([pa.nulls(len(part), pa.float64())]) for part in plain
        ]
        values = [_floats(part) for part in plain]
        if any(np.isinf(part).any() for part in values):
            raise BadInput(f"column {name!r} has infinite values")
        return True, [np.where(np.isnan(part), MISSING, part) for part in values]
    try:
        texts = pa.chunked_array([chunk for part in plain for chunk in part.cast(pa.string()).chunks], pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise BadInput(f"column {name!r} can't be read as text", remedy="cast it to text or a number first") from None
    before, released = (set(part.cast(pa.string()).unique().drop_null().to_pylist()) for part in plain[:2])
    if before and released and before.isdisjoint(released):
        raise _incomparable(name, "shares no value with the original")
    codes = pc.fill_null(texts.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.float64)
    ends = np.cumsum([len(part) for part in plain])
    return False, np.split(codes, ends[:2])


def _incomparable(name: str, why: str) -> BadInput:
    remedy = "give original and control in the release's own values (docs/privacy.md, What attacks come to)"
    return BadInput(f"released column {name!r} {why}: attacks can't compare it", where=name, remedy=remedy)


def _is_number(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return number or pa.types.is_temporal(kind)


def _floats(column: pa.ChunkedArray) -> Numbers:
    if pa.types.is_temporal(column.type):
        wide = pa.types.is_date32(column.type) or pa.types.is_time32(column.type)
        column = column.cast(pa.int32() if wide else pa.int64())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def sampled(rows: Numbers, attempts: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The rows to attack: `attempts` of them drawn without replacement, or all, in a random order."""
    return rng.permutation(len(rows))[:attempts]


def nearest(
    targets: Numbers, released: Numbers, numeric: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(n,) the released row nearest to each target; of several equally near, one at random.

    Equal generators put the rows in equal orders, whatever the columns: an order of its own for each target. The
    distance is Gower's (1971, Biometrics 27, 857-871): a number's difference over the column's range, 1 where codes
    differ, and 1 where one of two values is missing.
    """
    step = max(1, _CELLS // len(released))
    spans = [_span(targets[:, at], released[:, at]) for at in range(len(numeric))]
    found = np.empty(len(targets), np.int64)
    for start in range(0, len(targets), step):
        block = targets[start : start + step]
        distance = np.zeros((len(block), len(released)))
        for at, is_number in enumerate(numeric):
            here, there = block[:, at, None], released[None, :, at]
            distance += _gap(here, there, spans[at]) if is_number else here != there
        # Sums of the same parts differ in the last bits by their order; equal rows must stay equally near.
        least = distance.min(axis=1, keepdims=True) + 1e-9
        place = np.where(distance <= least, rng.random(distance.shape, np.float32), np.float32(2))
        found[start : start + step] = place.argmin(axis=1)
    return found


def _span(left: Numbers, right: Numbers) -> float:
    finite = np.concatenate([left[np.isfinite(left)], right[np.isfinite(right)]])
    return float(np.ptp(finite)) or 1.0 if len(finite) else 1.0


def _gap(here: Numbers, there: Numbers, span: float) -> Numbers:
    with np.errstate(invalid="ignore"):
        gap = np.abs(here - there) / span
    return np.where(here == there, 0.0, np.minimum(gap, 1.0))  # inf - inf is no number, but they are equal
