"""Masks of places: addresses, postal codes, 行政区划 codes."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import REDACTED, ByteMask, Choice, TextMask, Whole, fitting
from privacy.masks._characters import STAR, ZERO, columns_of, digits_of, lengths_of

__all__ = ["Address", "PostalCode", "RegionCode"]

# 小区, 园区 and the like are no districts, 红旗 is the name of a street.
_DISTRICT: Final = "(?:[^\\d\\s,社小校园景宅厂库院][区县縣區]|[^\\d\\s,红紅]旗)"
_BEFORE: Final = "[^\\d\\s,路街道巷弄村]*?"  # behind a street's sign stands an estate: 建国路阳光花园东区
_TO_DISTRICT: Final = (
    rf"(?s)^({_BEFORE}[^\d\s,]市[^\d\s,路街]{{0,4}}?{_DISTRICT}|{_BEFORE}(?:{_DISTRICT}|[^\d\s,]市)).*$"
)
_LONGEST: Final = 23
"""Signs of a province, city and district together; RE2 counts a repetition ten times slower than this is compared."""
_PROVINCE_NAMES: Final = (
    "北京|天津|上海|重庆|重慶|河北|山西|内蒙古|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|广西|海南|四川|贵州|云南"
    "|西藏|陕西|甘肃|青海|宁夏|新疆|台湾|臺灣|台北|臺北|香港|澳门|澳門"
)
_PROVINCE_KEYS: Final = np.array(
    [int.from_bytes(name[:2].encode(), "little") for name in _PROVINCE_NAMES.split("|")], np.uint64
)
_PROVINCES: Final = np.isin(
    np.arange(100), [11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
                     53, 54, 61, 62, 63, 64, 65, 71, 81, 82]
)  # fmt: skip
"""The first two digits of codes of GB/T 2260."""
_LONGEST_POSTAL: Final = 10
_SMALL: Final = np.uint8(0x20)
_A: Final = np.uint8(ord("a"))
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


class Address(TextMask):
    """A Chinese address down to its district (区, 县, 旗, or 市), another its last part without digits.

    What stands before a province's name is left out; a name right before a city's isn't told from it.

    >>> Address().apply(pa.array(["北京市朝阳区建国路88号", "12 High St, London", "12 High St"])).to_pylist()
    ['北京市朝阳区', 'London', '***']
    """

    name = "address"

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        district = pc.replace_substring_regex(text, _TO_DISTRICT, r"\1")
        same = pc.fill_null(pc.equal(district, text), False)
        long = pc.and_not(pc.fill_null(pc.greater(pc.utf8_length(district), _LONGEST), False), same)
        if long.true_count:  # a sentence that ends like a district
            district = pc.if_else(long, pa.scalar(REDACTED), district)
        if same.true_count:
            rest = text.filter(same)
            already = _is_district(rest)
            district = pc.replace_with_mask(district, same, pc.if_else(already, rest, _last_part(rest)))
        later = ~_begins_with_province(district)
        if later.any():
            chosen = pa.array(later)
            district = pc.replace_with_mask(district, chosen, _from_province(district.filter(chosen)))
        return district


def _last_part(text: pa.StringArray) -> pa.Array:
    """Behind the last comma: the district of a Chinese part, of another what has no digits; else redacted."""
    last = pc.replace_substring_regex(text, r"(?s)^.*[,\n]\s*", "")
    place = pc.utf8_trim_whitespace(pc.replace_substring_regex(last, r"\S*\d\S*", ""))
    fits = pc.greater(pc.utf8_length(place), 0)
    chinese = pc.match_substring_regex(last, r"\p{Han}")
    if chinese.true_count:  # numbers are written in signs too: 三号楼
        place = pc.if_else(chinese, pc.replace_substring_regex(last, _TO_DISTRICT, r"\1"), place)
        fits = pc.if_else(chinese, _is_district(last), fits)
    return fitting(place, pc.and_(pc.match_substring_regex(text, r"[,\n]"), fits), text)


def _is_district(text: pa.StringArray) -> pa.BooleanArray:
    short = pc.less_equal(pc.utf8_length(pc.replace_substring_regex(text, _TO_DISTRICT, r"\1")), _LONGEST)
    return pc.and_(pc.match_substring_regex(text, _TO_DISTRICT), short)


def _begins_with_province(text: pa.StringArray) -> Flags:
    """(n,) bool: whether the first two signs, six bytes, are a province's, or there is none."""
    signs = np.ascontiguousarray(columns_of(text, 8).T).view("<u8").ravel() & np.uint64(0xFFFF_FFFF_FFFF)
    return np.isin(signs, _PROVINCE_KEYS) | (lengths_of(text) == 0)


def _from_province(text: pa.StringArray) -> pa.Array:
    """Without what stands before a province's name, which may be a person's."""
    return pc.replace_substring_regex(text, f"^.+?((?:{_PROVINCE_NAMES}).*)$", r"\1")


class PostalCode(ByteMask):
    """The first characters of a postal code; three of a US ZIP code is the limit of 45 CFR 164.514(b)(2)(i)(B).

    >>> PostalCode().apply(pa.array(["94110-1234", "SW1A 1AA", "100020", "London"])).to_pylist()
    ['941**', 'SW1**', '100**', '***']
    """

    name = "postal_code"
    parameters = MappingProxyType({"first": Whole(3, 1, 4)})

    def _positions(self, text: pa.StringArray) -> tuple[list[Bytes | np.uint8], Flags]:
        first, lengths = self.given["first"], lengths_of(text)
        columns = columns_of(text, _LONGEST_POSTAL)
        some = np.zeros(len(text), np.bool_)
        fits = (lengths >= first + 2) & (lengths <= _LONGEST_POSTAL)
        for at, column in enumerate(columns):
            inside = lengths > at
            digit = column - ZERO <= 9
            letter = (column | _SMALL) - _A < 26
            parting = ((column == ord(" ")) | (column == ord("-"))) & (at > 1)
            some |= digit & inside
            fits &= digit | letter | parting | ~inside
        return [*columns[:first], STAR, STAR], fits & some


class RegionCode(ByteMask):
    """A 行政区划 code (GB/T 2260; with 9 or 12 digits GB/T 10114) up to its city or province, six digits.

    >>> RegionCode().apply(pa.array(["440305", "440305007001", "990305"])).to_pylist()
    ['440300', '440300', '***']
    >>> RegionCode(level="province").apply(pa.array(["440305"])).to_pylist()
    ['440000']
    """

    name = "region_code"
    parameters = MappingProxyType({"level": Choice("city", ("city", "province"))})

    def _positions(self, text: pa.StringArray) -> tuple[list[Bytes | np.uint8], Flags]:
        kept, lengths = 4 if self.given["level"] == "city" else 2, lengths_of(text)
        columns = columns_of(text, 6)
        digits = columns - ZERO
        known = _PROVINCES[np.minimum(10 * digits[0] + digits[1], 99)]
        fits = digits_of(digits) & (lengths == 6) & known
        longer = np.flatnonzero((lengths == 9) | (lengths == 12))
        if len(longer):
            whole = pc.match_substring_regex(text.take(pa.array(longer)), "^[0-9]*$")
            fits[longer] = pc.fill_null(whole, False).to_numpy(zero_copy_only=False) & known[longer]
        return [*columns[:kept], *[ZERO] * (6 - kept)], fits
