"""Masks of dates: year, month, and a band of birth years; they read dates, timestamps, years and ISO-like text."""

from __future__ import annotations

from abc import abstractmethod
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import Choice, Mask, Whole, as_text, tidy
from privacy.masks._characters import ZERO, assembled, columns_of, digits_of, lengths_of

__all__ = ["AgeBand", "Month", "Year"]

_FIRST: Final = 1800
_LAST: Final = 2199
_YEAR_SIGN: Final = "年".encode()
Flags = npt.NDArray[np.bool_]


class _DateMask(Mask):
    """Finds year and month of each row; a subclass has a label for each that it tells apart."""

    by_month: ClassVar[bool] = False
    head: ClassVar[int | None] = None
    """How many signs of an ISO date are its label, if it is one of them."""

    def __init__(self, /, **given: object) -> None:
        super().__init__(**given)
        step = 12 if not self.by_month else 1
        self._labels = pa.array(
            [self._label(at // 12, at % 12 + 1) for at in range(12 * _FIRST, 12 * _LAST + 12, step)]
        )

    @abstractmethod
    def _label(self, year: int, month: int) -> str:
        """What is left of a date."""

    def _masked(self, array: pa.Array) -> pa.Array:
        if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
            return self._labelled(pc.year(array), pc.month(array) if self.by_month else None, array)
        if pa.types.is_integer(array.type) and not self.by_month:
            return self._labelled(array, None, array)
        return self._masked_text(as_text(array, self))

    def _labelled(self, years: pa.Array, months: pa.Array | None, array: pa.Array) -> pa.Array:
        values = pc.fill_null(years, 0).to_numpy(zero_copy_only=False)
        month = None if months is None else pc.fill_null(months, 1).to_numpy(zero_copy_only=False)
        return self._looked_up(values, month, ~array.is_null().to_numpy(zero_copy_only=False))

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        columns = columns_of(text, 7)
        fits = _is_iso(columns) & (lengths_of(text) == 10)
        if self.head is None or not fits.any():
            return self._looked_up(*self._found(text))
        others = np.flatnonzero(~fits & text.is_valid().to_numpy(zero_copy_only=False))
        rest = self._looked_up(*self._found(text.take(pa.array(others)))) if len(others) else None
        return assembled(list(columns[: self.head]), fits, text, rest)

    def _found(self, text: pa.StringArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None, Flags]:
        years, months, fits = _read(text)
        again = np.flatnonzero(~fits & text.is_valid().to_numpy(zero_copy_only=False))
        if len(again):
            years[again], months[again], fits[again] = _read(tidy(text.take(pa.array(again))))
        if self.by_month:
            fits &= months > 0
        return years, months if self.by_month else None, fits & text.is_valid().to_numpy(zero_copy_only=False)

    def _looked_up(self, years: npt.NDArray[Any], months: npt.NDArray[Any] | None, fits: Flags) -> pa.Array:
        fits = fits & (years >= _FIRST) & (years <= _LAST)
        at = np.where(fits, years, _FIRST).astype(np.int32) - _FIRST
        if months is not None:
            at = 12 * at + np.where(fits, months, 1).astype(np.int32) - 1
        return self._labels.take(pa.array(at, mask=None if fits.all() else ~fits))


def _read(text: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Flags]:
    """Year, month (0: none) and whether a date begins the text: 1990, 1990-03, 1990/3/7, 19900307, 1990年3月."""
    lengths = lengths_of(text)
    raw = columns_of(text, 9)
    for at in range(4, 9):
        raw[at, lengths <= at] = 0  # bytes of the next row
    digits = raw - ZERO
    is_digit = digits <= 9
    years = _number(digits[:4])
    compact = (lengths == 8) & is_digit[4:8].all(axis=0)
    signed = (raw[4] == _YEAR_SIGN[0]) & (raw[5] == _YEAR_SIGN[1]) & (raw[6] == _YEAR_SIGN[2])
    parted = np.isin(raw[4], np.frombuffer(b"-/.", np.uint8)) & is_digit[5]
    fits = (lengths >= 4) & is_digit[:4].all(axis=0) & ((lengths == 4) | compact | parted | signed)
    months = np.zeros(len(text), np.int32)
    for chosen, at in ((compact, 4), (parted, 5), (signed, 7)):
        two = is_digit[at] & is_digit[at + 1]
        months = np.where(chosen & is_digit[at], np.where(two, _number(digits[at : at + 2]), digits[at]), months)
    return years, np.where(months <= 12, months, 0), fits


def _is_iso(columns: npt.NDArray[np.uint8]) -> Flags:
    """Whether 1800-01 to 2199-12 and a hyphen begin the text."""
    digits = columns - ZERO
    century, month = 10 * digits[0] + digits[1], 10 * digits[5] + digits[6]
    formed = digits_of(digits[:4]) & (columns[4] == ord("-")) & digits_of(digits[5:])
    return formed & (century >= _FIRST // 100) & (century <= _LAST // 100) & (month >= 1) & (month <= 12)


def _number(digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    total = np.zeros(digits.shape[1], np.int32)
    for digit in digits:
        total = 10 * total + digit
    return total


class Year(_DateMask):
    """The year; null for what doesn't begin as a date.

    >>> Year().apply(pa.array(["1990-03-07", "7/3/90"])).to_pylist()
    ['1990', None]
    """

    name, head = "year", 4

    def _label(self, year: int, month: int) -> str:  # noqa: ARG002
        return str(year)


class Month(_DateMask):
    """Year and month; null for what doesn't begin as a date with a month.

    >>> Month().apply(pa.array(["1990-03-07", "1990年3月7日", "1990"])).to_pylist()
    ['1990-03', '1990-03', None]
    """

    name, by_month, head = "month", True, 7

    def _label(self, year: int, month: int) -> str:
        return f"{year}-{month:02d}"


class AgeBand(_DateMask):
    """The years of birth in a band, such as 1980s: unlike an age it doesn't depend on today.

    Births before `oldest` are one band: so few are that old that a decade would single them out.

    >>> AgeBand().apply(pa.array(["1987-03-07", "1921"])).to_pylist()
    ['1980s', 'before 1930']
    >>> AgeBand(years=20).apply(pa.array(["1987-03-07"])).to_pylist()
    ['1980-1999']
    """

    name = "age_band"
    parameters = MappingProxyType({"years": Choice(10, (5, 10, 20, 25, 50)), "oldest": Whole(1930, 1850, 2000)})

    def _label(self, year: int, month: int) -> str:  # noqa: ARG002
        wide, oldest = self.given["years"], self.given["oldest"]
        if year < oldest:
            return f"before {oldest}"
        begin = year - year % wide
        return f"{begin}s" if wide == 10 else f"{begin}-{begin + wide - 1}"
