"""Masks of what reaches people: e-mail addresses, phone numbers, IP addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import REDACTED, Choice, Mask, TextMask, as_text, tidy, without
from privacy.masks._characters import STAR, ZERO, assembled, columns_of, digits_of, lengths_of
from privacy.masks._patterns import replaced

__all__ = ["Email", "IpAddress", "Phone"]

_MOBILE: Final = r"(1[3-9]\d)\d{4}(\d{4})"
_AMERICAN: Final = r"^1[ .\-]?\(?[2-9]\d\d[).\- ][).\- ]?\d{3}[.\- ]?\d{4}"
"""A number of the North American plan as it is written: 1-415-555-2671, 1 (415) 555-2671."""
_OTHER: Final = r"^\d{5,13}(\d\d)(?:x\d{1,6})?$"
_OCTET: Final = r"(?:0|1\d{0,2}|2(?:[0-4]\d?|5[0-5]?|[6-9])?|[3-9]\d?)"
_GROUP: Final = "[0-9a-f]{1,4}"


class Email(TextMask):
    """First character and domain of an address (RFC 5321); text around an address isn't one.

    >>> Email().apply(pa.array(["ada@example.org", "13812345678"])).to_pylist()
    ['a**@example.org', '***']
    """

    name = "email"
    parameters = MappingProxyType({"domain": Choice("keep", ("keep", "hide"))})

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        kept = r"\1**@\2" if self.given["domain"] == "keep" else r"\1**@**"
        return replaced(text, r"^([^@\s])[^@\s]+@([A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+)$", kept)


class Phone(Mask):
    """手机号 keeps 3 + 4 digits; an international number its country code and the last 2 (E.164); others the last 2.

    >>> Phone().apply(pa.array(["+86 138-1234-5678", "+44 20 7946 0958", "+999 1234567"])).to_pylist()
    ['138****5678', '+44**58', '***']
    """

    name = "phone"

    def _masked(self, array: pa.Array) -> pa.Array:
        text = as_text(array, self)
        columns = columns_of(text, 11)
        digits = columns - ZERO
        bare = (lengths_of(text) == 11) & (digits[0] == 1) & (digits[1] >= 3) & digits_of(digits)
        others = np.flatnonzero(~bare & text.is_valid().to_numpy(zero_copy_only=False))
        rest = _other_phones(tidy(text.take(pa.array(others)))) if len(others) else None
        return assembled([*columns[:3], STAR, STAR, STAR, STAR, *columns[7:]], bare, text, rest)


def _other_phones(text: pa.StringArray) -> pa.Array:
    """Numbers with blanks and brackets, country codes and extensions; each pattern sees rows of its own kind only."""
    plain = without(text, " -().\t/")
    prefixed = pc.or_(pc.starts_with(plain, "+"), pc.starts_with(plain, "00"))
    chinese = pc.or_(pc.starts_with(plain, "+86"), pc.starts_with(plain, "0086"))
    masked = _of(chinese, plain, lambda rows: replaced(rows, rf"^(?:\+|00)86{_MOBILE}$", r"\1****\2"))
    bare = pc.invert(prefixed)
    if bare.true_count:
        american = pc.match_substring_regex(text, _AMERICAN)  # not a 手机号, whose digits also number 11
        masked = _of(pc.and_not(bare, american), masked, _national)
        masked = _of(american, masked, lambda rows: replaced(rows, _OTHER, r"**\1"))
    abroad = pc.and_(prefixed, pc.or_(pc.invert(chinese), pc.equal(masked, REDACTED)))
    if not abroad.true_count:
        return masked
    wanted = rf"^(?:\+|00)({_calling_codes()})\d{{2,12}}(\d\d)(?:x\d{{1,6}})?$"
    if abroad.true_count == len(plain):
        return replaced(plain, wanted, r"+\1**\2")
    return pc.replace_with_mask(masked, abroad, replaced(plain.filter(abroad), wanted, r"+\1**\2"))


def _national(plain: pa.StringArray) -> pa.Array:
    mobile = pc.match_substring_regex(plain, rf"^(?:86)?{_MOBILE}$")
    masked = _of(mobile, plain, lambda rows: replaced(rows, rf"^(?:86)?{_MOBILE}$", r"\1****\2"))
    other = pc.invert(mobile)
    return _of(other, masked, lambda rows: replaced(rows, _OTHER, r"**\1"))


def _of(chosen: pa.BooleanArray, text: pa.StringArray, mask: Callable[[pa.StringArray], pa.Array]) -> pa.Array:
    """`text` with the chosen rows masked."""
    if not chosen.true_count:
        return text
    if chosen.true_count == len(text):
        return mask(text)
    return pc.replace_with_mask(text, chosen, mask(text.filter(chosen)))


@cache
def _calling_codes() -> str:
    """The country codes assigned by ITU-T E.164; none begins another."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # its tables take a while to load

    return "|".join(map(str, sorted(COUNTRY_CODE_TO_REGION_CODE)))


class IpAddress(TextMask):
    """The network of an IPv4 address, by default /24, or of an IPv6 address, by default /48 (RFC 4291).

    >>> IpAddress().apply(pa.array(["192.0.2.55", "2001:db8::1", "999.1.1.1"])).to_pylist()
    ['192.0.2.0/24', '2001:db8:0::/48', '***']
    """

    name = "ip"
    parameters = MappingProxyType({"v4": Choice(24, (8, 16, 24)), "v6": Choice(48, (32, 48))})

    def __init__(self, /, **given: object) -> None:
        super().__init__(**given)
        kept4, kept6 = self.given["v4"] // 8, self.given["v6"] // 16
        self._v4 = rf"^({_times(_OCTET, kept4, '.')})(?:\.{_OCTET}){{{4 - kept4}}}$"
        self._to4 = rf"\1{'.0' * (4 - kept4)}/{self.given['v4']}"
        self._v6 = rf"^({_times(_GROUP, kept6, ':')})(?::{_GROUP}){{{8 - kept6}}}$"
        self._to6 = rf"\1::/{self.given['v6']}"

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        sixth = pc.fill_null(pc.match_substring(text, ":"), False)
        if not sixth.true_count:
            return replaced(text, self._v4, self._to4)
        if sixth.true_count == len(text):
            return self._sixth(text)
        fourth = replaced(text.filter(pc.invert(sixth)), self._v4, self._to4)
        mixed = pc.replace_with_mask(text, pc.invert(sixth), fourth)
        return pc.replace_with_mask(mixed, sixth, self._sixth(text.filter(sixth)))

    def _sixth(self, text: pa.StringArray) -> pa.Array:
        return replaced(_written_out(pc.ascii_lower(text)), self._v6, self._to6)


def _times(part: str, count: int, sign: str) -> str:
    escaped = rf"\{sign}" if sign == "." else sign
    return escaped.join([part] * count)


def _written_out(text: pa.StringArray) -> pa.Array:
    """IPv6 addresses with `::` as the zeros that it stands for."""
    short = pc.fill_null(pc.match_substring(text, "::"), False)
    if not short.true_count:
        return text
    part = pc.replace_substring_regex(text.filter(short), "^::", "0::", max_replacements=1)
    part = pc.replace_substring_regex(part, "::$", "::0", max_replacements=1)
    colons = pc.count_substring(part, ":")
    for count in range(2, 9):
        zeros = ":0" * (8 - count) + ":"
        longer = pc.replace_substring(part, "::", zeros, max_replacements=1)
        part = pc.if_else(pc.equal(colons, count), longer, part)
    return pc.replace_with_mask(text, short, part)
