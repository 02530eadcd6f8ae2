"""What every mask is: a name, declared parameters, and a function from a column to a column."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.masks._characters import assembled, bytes_of

__all__ = [
    "REDACTED",
    "ByteMask",
    "Choice",
    "Edges",
    "Mask",
    "Parameter",
    "TextMask",
    "Whole",
    "Words",
    "as_text",
    "fitting",
    "is_text",
    "nulled",
    "tidy",
    "without",
]

REDACTED: Final = "***"
_SLICE: Final = 65_536
"""Rows at a time: temporaries stay small, and patterns are compiled seldom."""
_FOLDED: Final = np.isin(np.arange(256), (0xC2, 0xE1, 0xE2, 0xE3, 0xEF))
"""First bytes of full-width signs and of spaces beyond ASCII; other signs that NFKC would fold are in no form."""
_WIDE: Final = "[\uff01-\uff5e\u3000]"


class Parameter(Protocol):
    """One parameter of a mask; `default` None says that it must be given."""

    @property
    def default(self) -> Any: ...

    def says(self) -> str:
        """What is allowed, in words."""

    def fits(self, value: object) -> bool:
        """Whether a value may be used."""


@dataclass(frozen=True)
class Whole:
    """A whole number between bounds."""

    default: int
    least: int
    most: int

    def says(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def fits(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most


@dataclass(frozen=True)
class Choice:
    """One of a few words or numbers."""

    default: str | int
    allowed: tuple[str | int, ...]

    def says(self) -> str:
        return f"one of {', '.join(map(str, self.allowed))}"

    def fits(self, value: object) -> bool:
        return any(type(value) is type(each) and value == each for each in self.allowed)


@dataclass(frozen=True)
class Words:
    """A text of bounded length."""

    longest: int
    default: str | None = None

    def says(self) -> str:
        return f"a text of at most {self.longest} characters"

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and len(value) <= self.longest


@dataclass(frozen=True)
class Edges:
    """A rising list of finite numbers; none where whoever tells the number has bands of its own for it."""

    most: int
    default: tuple[float, ...] = ()

    def says(self) -> str:
        return f"a rising list of 1 to {self.most} numbers"

    def fits(self, value: object) -> bool:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= self.most:
            return False
        numbers = all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in value)
        # Neither infinite nor NaN, which is below nothing.
        return numbers and all(abs(edge) < 2**1023 for edge in value) and all(a < b for a, b in pairwise(value))


class Mask(ABC):
    """A column to a column of equal length: nulls stay null, and what lacks the expected form is redacted.

    Masked twice, a value is as masked once, or redacted. `tests/privacy/masks` holds every mask to this. Two masks
    are equal if they are of one name and have the same parameters, which `str()` shows.
    """

    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})
    type: ClassVar[pa.DataType] = pa.string()

    own: bool = False
    """Whether it is `band` without edges: what is told instead are the bands that the masked field has of its own."""

    def __init__(self, /, **given: object) -> None:
        for name, value in given.items():
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "no parameters"
                raise BadInput(f"mask {self.name} has no parameter {name}", remedy=f"it has {known}")
            if not self.parameters[name].fits(value):
                raise BadInput(f"parameter {name} of mask {self.name} must be {self.parameters[name].says()}")
        self.given: Mapping[str, Any] = {name: given.get(name, each.default) for name, each in self.parameters.items()}
        for name, value in self.given.items():
            if value is None:
                raise BadInput(f"mask {self.name} needs {name}", remedy=f"give {self.parameters[name].says()}")

    def __str__(self) -> str:
        told = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in self.given.items())
        return f"{self.name} {{{told}}}" if told and not self.own else self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def apply(self, array: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The masked column, (n,) of `type`; BadInput for a column of a type that the mask can't read."""
        if isinstance(array, pa.ChunkedArray):
            parts = [self.apply(chunk) for chunk in array.chunks]
            return pa.concat_arrays(parts) if parts else pa.array([], self.type)
        if pa.types.is_dictionary(array.type):
            return self.apply(array.dictionary).take(array.indices)  # each distinct value once
        if pa.types.is_null(array.type):
            return pa.nulls(len(array), self.type)
        parts = [self._masked(array.slice(at, _SLICE)) for at in range(0, len(array), _SLICE)]
        if len(parts) == 1:
            return parts[0]
        return pa.concat_arrays(parts) if parts else pa.array([], self.type)

    @abstractmethod
    def _masked(self, array: pa.Array) -> pa.Array:
        """A few thousand rows, masked."""


class TextMask(Mask):
    """A mask of text: it sees trimmed text, full-width signs made ASCII (Unicode NFKC, UAX #15)."""

    def _masked(self, array: pa.Array) -> pa.Array:
        return self._masked_text(tidy(as_text(array, self)))

    @abstractmethod
    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        """A few thousand trimmed texts, masked."""


class ByteMask(Mask):
    """A mask of short text with fixed positions; only what has no form as it stands is trimmed and read again."""

    def _masked(self, array: pa.Array) -> pa.Array:
        text = as_text(array, self)
        columns, fits = self._positions(text)
        again = ~fits
        if text.null_count:
            again &= text.is_valid().to_numpy(zero_copy_only=False)
        if again.any():
            rows = np.flatnonzero(again)
            rest, fits[rows] = self._positions(self._plain(text.take(pa.array(rows))))
            for column, other in zip(columns, rest, strict=True):
                if isinstance(column, np.ndarray):
                    column[rows] = other
        return assembled(columns, fits, text)

    def _plain(self, text: pa.StringArray) -> pa.StringArray:
        """The same values without what only sets their signs apart."""
        return tidy(text)

    @abstractmethod
    def _positions(self, text: pa.StringArray) -> tuple[list[npt.NDArray[np.uint8] | np.uint8], npt.NDArray[np.bool_]]:
        """What is left, a byte position an item, each (n,) or one for all; (n,) which rows have the form."""


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def as_text(array: pa.Array, mask: Mask) -> pa.StringArray:
    """Text, and whole numbers as text; BadInput for other types."""
    if pa.types.is_string(array.type):
        return array
    if is_text(array.type) or pa.types.is_integer(array.type):
        return array.cast(pa.string())
    raise BadInput(f"mask {mask.name} can't read a column of {array.type}", remedy="give it another mask or type")


def tidy(text: pa.StringArray) -> pa.StringArray:
    """Trimmed text in NFKC; each step is left out where no row can need it."""
    part = bytes_of(text)
    if not len(part):
        return text
    if part.max() > 0x7F and _FOLDED[part].any():
        wide = pc.fill_null(pc.match_substring_regex(text, _WIDE), False)
        if wide.true_count:
            text = pc.replace_with_mask(text, wide, pc.utf8_normalize(text.filter(wide), "NFKC"))
        return pc.utf8_trim_whitespace(text)
    return pc.utf8_trim_whitespace(text) if part.min() <= 0x20 else text


def without(text: pa.StringArray, signs: str) -> pa.StringArray:
    """`text` without these ASCII signs: a plain replacement for each that occurs, far cheaper than one pattern."""
    occurring = np.bincount(bytes_of(text), minlength=256)
    for sign in signs:
        if occurring[ord(sign)]:
            text = pc.replace_substring(text, sign, "")
    return text


def nulled(values: pa.Array, kept: npt.NDArray[np.bool_] | pa.Array) -> pa.Array:
    """`values` where `kept`, null elsewhere."""
    return pc.if_else(kept, values, pa.scalar(None, values.type))


def fitting(masked: pa.Array, fits: npt.NDArray[np.bool_] | pa.Array, text: pa.Array) -> pa.Array:
    """`masked` where the value has the expected form, redacted elsewhere, null where `text` is null."""
    if isinstance(fits, np.ndarray):
        if fits.all() and not text.null_count:
            return masked
        fits = pa.array(fits)
    answer = pc.if_else(pc.fill_null(fits, False), masked, pa.scalar(REDACTED))
    return nulled(answer, text.is_valid()) if text.null_count else answer
