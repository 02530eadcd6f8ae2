"""Masks that ask nothing of a value's meaning: redact, constant, partial, scrub."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.masks._base import REDACTED, Mask, TextMask, Whole, Words, as_text, fitting
from privacy.masks._characters import bytes_of, lengths_of

__all__ = ["Constant", "Partial", "Redact", "Scrub"]


_BEHIND: Final = 2**31 - 1


class Redact(Mask):
    """Three stars for every value.

    >>> Redact().apply(pa.array([1, None])).to_pylist()
    ['***', None]
    """

    name = "redact"

    def _masked(self, array: pa.Array) -> pa.Array:
        return _repeated(array, REDACTED)


class Constant(Mask):
    """One given text for every value.

    >>> Constant(value="withheld").apply(pa.array(["a", None])).to_pylist()
    ['withheld', None]
    """

    name = "constant"
    parameters = MappingProxyType({"value": Words(longest=100)})

    def _masked(self, array: pa.Array) -> pa.Array:
        return _repeated(array, self.given["value"])


class Partial(TextMask):
    """First and last characters of values at least twice as long; the middle's length isn't told.

    >>> Partial(first=2, last=1).apply(pa.array(["abcdefgh", "abc"])).to_pylist()
    ['ab**h', '***']
    """

    name = "partial"
    parameters = MappingProxyType({"first": Whole(1, 0, 8), "last": Whole(1, 0, 8)})

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        first, last = self.given["first"], self.given["last"]
        lengths, part = lengths_of(text), bytes_of(text)
        if len(part) and part.max() > 0x7F:
            lengths = pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False)
            masked = pc.utf8_replace_slice(text, first, -last if last else _BEHIND, "**")
        else:
            masked = pc.binary_replace_slice(text.cast(pa.binary()), first, -last if last else _BEHIND, "**")
            masked = masked.view(pa.string())
        fits = (lengths >= 2 * (first + last)) & (lengths > 0)
        return fitting(masked, fits, text)


class Scrub(Mask):
    """Free text with what identifies people in it replaced by its kind (`privacy.scrubbing`).

    >>> Scrub().apply(pa.array(["write to ada@example.org"])).to_pylist()
    ['write to <EMAIL>']
    """

    name = "scrub"
    parameters = MappingProxyType({"region": Words(longest=2, default="US")})

    def __init__(self, /, **given: object) -> None:
        super().__init__(**given)
        from phonenumbers import SUPPORTED_REGIONS  # its tables take a while to load

        if self.given["region"] not in SUPPORTED_REGIONS:
            raise BadInput("parameter region of mask scrub must be two letters of ISO 3166-1, such as US or CN")

    def _masked(self, array: pa.Array) -> pa.Array:
        from privacy.scrubbing import scrub  # its patterns are compiled when first wanted

        return scrub(as_text(array, self), region=self.given["region"])


def _repeated(array: pa.Array, value: str) -> pa.Array:
    answer = pa.repeat(pa.scalar(value), len(array))
    return pc.if_else(array.is_valid(), answer, pa.scalar(None, pa.string())) if array.null_count else answer
