"""Numbers and dates by ranges: cuts at round places, every elementary range held by at least k people.

A cut is the roundest place among the next people, not the value of who lies there: the start of a year or of a month,
a multiple of 1, 2 or 5 times a power of ten. The outermost ranges are open: what the youngest or the richest person has
is in no published text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.counted import counted
from privacy.errors import BadInput

from ._base import UNKNOWN, Codes, Scale

__all__ = ["RangeScale", "fit_ranges", "is_ranged"]

Kind = Literal["date", "float", "int"]
Numbers = npt.NDArray[Any]

MOST_CELLS: Final = 256
PRESENT: Final = "not missing"
_ROUNDING: Final = Fraction(1, 10**9)


class RangeScale(Scale):
    """Values by `cuts`, ascending: a range begins at its cut and ends before the next; the outer two are open.

    `kind` says how they are written: whole numbers (`20 to 34`), numbers (`2.5 to <4`) or days (`1980`, `1980-03`,
    `1980-03-01`, as coarse as the cuts are). `extents` (ranges, 2) are the least and greatest value of each range;
    they are people's own, serve the loss alone and are never kept.
    """

    def __init__(
        self,
        column: str,
        kind: Kind,
        cuts: Numbers,
        *,
        missing: bool,
        empty: bool = False,
        extents: Numbers | None = None,
    ) -> None:
        super().__init__(column, missing=missing)
        self.kind, self.cuts, self.empty = kind, cuts, empty
        self._extents = extents

    @property
    def last(self) -> int:
        """The highest code."""
        return 0 if self.empty else len(self.cuts) + 1

    @property
    def measurable(self) -> bool:
        """Whether the extents are known: not when it was read back."""
        return self._extents is not None or self.empty

    def encode(self, values: pa.Array) -> Codes:
        """(n,) Codes; fractions have no place on a scale of whole numbers, nor infinity on any."""
        numbers, absent = plain_numbers(values, self.column, self.kind)
        codes = (1 + np.searchsorted(self.cuts, numbers, side="right")).astype(np.int32)
        if self.kind == "int" and numbers.dtype.kind == "f":
            codes[numbers != np.floor(numbers)] = UNKNOWN
        codes[np.isinf(numbers)] = UNKNOWN
        if self.empty:
            codes[:] = UNKNOWN
        codes[absent] = 0 if self.missing else UNKNOWN
        return codes

    def texts(self, low: Codes, high: Codes) -> list[str]:
        """(m,) Texts such as `20 to 34`, `19 or less`, `35 or more`."""
        pairs = zip((low - 2).tolist(), (high - 1).tolist(), strict=True)  # places among the cuts; beyond them, open
        if self.kind == "date":
            return self._days(pairs)
        starts = [f"{cut:.12g}" if self.kind == "float" else str(cut) for cut in self.cuts.tolist()]
        ends = [str(cut - 1) for cut in self.cuts.tolist()] if self.kind == "int" else starts
        between, below = (" to ", "{} or less") if self.kind == "int" else (" to <", "below {}")
        answer = []
        for start, end in pairs:
            if start < 0:
                answer.append(below.format(ends[end]) if end < len(ends) else PRESENT)
            elif end == len(ends):
                answer.append(f"{starts[start]} or more")
            else:
                same = starts[start] == ends[end]
                answer.append(starts[start] if same else f"{starts[start]}{between}{ends[end]}")
        return answer

    def loss(self, low: Codes, high: Codes) -> npt.NDArray[np.float64]:
        """(m,) The interval's extent over the column's; 0 where one value is all it holds."""
        if self._extents is None:
            raise ValueError("a scale that was read back, or is empty, knows no extents")
        whole = self._extents[-1, 1] - self._extents[0, 0]
        if not whole:
            return np.zeros(len(low))
        return (self._extents[high - 1, 1] - self._extents[low - 1, 0]) / whole

    def tells_nothing(self, low: Codes, high: Codes) -> npt.NDArray[np.bool_]:
        """(m,) Whether intervals are open on both sides, or hold only missing values."""
        return ((low <= self.first) & (high == self.last)) | (high == 0)

    def to_json(self) -> dict[str, Any]:
        """Kind, cuts, and whether anybody lacked the value."""
        return {
            "kind": self.kind, "column": self.column, "missing": self.missing, "empty": self.empty,
            "cuts": self.cuts.tolist(),
        }  # fmt: skip

    def _days(self, pairs: Iterable[tuple[int, int]]) -> list[str]:
        """Days, months or years, as coarse as both ends are."""
        cuts = self.cuts.astype("M8[D]")
        units = [cuts.astype(f"M8[{unit}]") for unit in "DMY"]
        grain = np.sum([unit == cuts for unit in units[1:]], axis=0).tolist()
        starts = [unit.astype(str).tolist() for unit in units]
        ends = [(unit - 1).astype(str).tolist() for unit in units]
        answer = []
        for start, end in pairs:
            if start < 0:
                answer.append(f"before {starts[grain[end]][end]}" if end < len(grain) else PRESENT)
            elif end == len(grain):
                answer.append(f"{starts[grain[start]][start]} or later")
            else:
                coarse = min(grain[start], grain[end])
                first, final = starts[coarse][start], ends[coarse][end]
                answer.append(first if first == final else f"{first} to {final}")
        return answer


def is_ranged(kind: pa.DataType) -> bool:
    """Whether a column of this type is generalised by ranges unless a hierarchy says otherwise."""
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )  # fmt: skip


def plain_numbers(values: pa.Array, column: str, kind: Kind) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Values as int64 or float64, and which are missing: nulls and NaN; these hold some number."""
    if not is_ranged(values.type):
        raise BadInput(f"quasi-identifier {column} is no {'date' if kind == 'date' else 'number'} here", where=column)
    if kind == "date":
        if not (pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)):
            raise BadInput(f"quasi-identifier {column} is no date here", where=column)
        values = values.cast(pa.timestamp(values.type.unit)) if pa.types.is_timestamp(values.type) else values
        values = pc.floor_temporal(values, unit="day") if pa.types.is_timestamp(values.type) else values
        values = values.cast(pa.date32()).cast(pa.int32())
    absent = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    try:
        wide = values.cast(pa.float64() if not pa.types.is_integer(values.type) else pa.int64())
    except pa.ArrowInvalid:
        raise BadInput(f"quasi-identifier {column} holds numbers beyond 64 bits", where=column) from None
    return pc.fill_null(wide, 0).to_numpy(zero_copy_only=False), absent


def fit_ranges(column: str, values: pa.Array, k: int) -> RangeScale:
    """The scale of a column of numbers or dates; BadInput where it holds infinity.

    Numbers that are all whole are written as whole numbers. At most 256 ranges, each of at least k people.
    """
    is_day = pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)
    numbers, absent = plain_numbers(values, column, "date" if is_day else "float")
    present = np.sort(numbers[~absent])
    if len(present) and np.isinf(present[[0, -1]]).any():
        count = int(np.isinf(present).sum())
        raise BadInput(
            f"quasi-identifier {column} holds infinity in {counted(count, 'row')}", where=column, remedy="make it null"
        )
    kind: Kind = "date" if is_day else "int"
    if present.dtype.kind == "f" and not _whole(present):
        kind = "float"
    elif present.dtype.kind == "f":
        present = present.astype(np.int64)
    missing = bool(absent.any())
    if not len(present):
        return RangeScale(column, kind, present[:0], missing=missing, empty=True)
    cuts = _round_cuts(present, kind, max(k, len(present) // MOST_CELLS))
    edges = np.concatenate(([0], np.searchsorted(present, cuts), [len(present)]))
    extents = np.stack((present[edges[:-1]], present[edges[1:] - 1]), axis=1).astype(np.float64)
    return RangeScale(column, kind, cuts, missing=missing, extents=extents)


def _whole(numbers: Numbers) -> bool:
    return (
        bool((np.abs(numbers[[0, -1]]) < 2**53).all() and (numbers == np.floor(numbers)).all())
        if len(numbers)
        else True
    )


def _round_cuts(present: Numbers, kind: Kind, size: int) -> Numbers:
    """Cuts from the lowest up, `size` people or more between them: the roundest place within half as many more.

    Where no round place lies so near, the next one above; where none is left, no cut.
    """
    finest = None if kind == "date" else _finest(present)
    cuts: list[float] = []
    reached, last = 0, len(present) - size
    while reached + size <= last and (finest is not None or kind == "date"):
        low, high = present[reached + size - 1].item(), present[min(reached + size + size // 2, last)].item()
        cut = _round_day(low, high) if finest is None else _round_number(low, high, finest, kind)
        reached = int(np.searchsorted(present, cut))
        if reached > last:
            break
        cuts.append(cut)
    return np.array(cuts, present.dtype)


def _round_day(low: int, high: int) -> int:
    """The first start of a year after day `low` if it is up to `high`, else the first start of a month."""
    day = np.datetime64(low, "D")
    year, month = ((day.astype(f"M8[{unit}]") + 1).astype("M8[D]").astype(np.int64).item() for unit in "YM")
    return year if year <= high else month


def _round_number(low: float, high: float, finest: Fraction, kind: Kind) -> float:
    """The lowest multiple above `low` of the greatest step, 1, 2 or 5 times a power of ten, that has one up to `high`.

    Where that step would be finer than `finest`, the next multiple of `finest`.
    """
    if low < high:
        power = Fraction(10) ** ((Decimal(high) - Decimal(low)).adjusted() + 1)
        for step in (power, power / 2, power / 5, power / 10):
            cut = _above(low, step, kind)
            if step >= finest and cut <= high:
                return cut
    return _above(low, finest, kind)


def _above(low: float, step: Fraction, kind: Kind) -> float:
    """The first multiple of `step` above `low`; the next float where steps are finer than floats are there."""
    place = Fraction(low) // step + 1
    if kind == "int":
        return int(place * step)
    cut = float(place * step)
    return cut if cut > low else max(float((place + 1) * step), math.nextafter(low, math.inf))


def _finest(present: Numbers) -> Fraction | None:
    """The greatest step that is at most the median gap between neighbouring values; None where all are equal.

    Finer cuts would follow single values.
    """
    gaps = np.diff(np.unique(present).astype(np.float64))
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return None
    gap = Fraction(float(np.median(gaps))) * (1 + _ROUNDING)  # 0.3 - 0.2 is a little less than 0.1
    power = Fraction(10) ** Decimal(float(gap)).adjusted()
    step = power * next(lead for lead in (5, 2, 1) if lead * power <= gap)
    return max(step, Fraction(1)) if present.dtype.kind == "i" else step
