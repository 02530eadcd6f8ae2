"""Column masks by name: what may be left of a direct identifier or a quasi-identifier.

Nulls stay null; what doesn't have the expected form is redacted whole, or becomes null where a year or a band
of years is expected; it is never passed through. Arrow's kernels do the work, on whole columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput

__all__ = ["MASKS", "apply_mask"]

Params = Mapping[str, object]
Mask = Callable[[pa.Array, Params], pa.Array]

_REDACTED: Final = "***"
_STARS: Final = "**"
_EARLIEST: Final = 1930
"""Births before this are one band: so few are that old that a decade would single them out."""

_TWO_CHARACTERS: Final = (
    "欧阳司马上官诸葛东方皇甫尉迟公孙慕容令狐司徒司空夏侯端木轩辕宇文长孙独孤南宫拓跋"
    "申屠呼延闻人澹台公冶宗政濮阳淳于单于太史仲孙钟离鲜于闾丘百里东郭西门南门公羊第五"
    "歐陽司馬諸葛東方尉遲公孫長孫獨孤南宮鍾離"
)
_COMPOUND_SURNAMES: Final = tuple(_TWO_CHARACTERS[at : at + 2] for at in range(0, len(_TWO_CHARACTERS), 2))
_CHINESE: Final = r"^\p{Han}{2,8}$"


def apply_mask(array: pa.Array, name: str, params: Params | None = None) -> pa.Array:
    """`array` masked by the named mask; BadInput for an unknown mask or an unusable parameter.

    >>> apply_mask(pa.array(["欧阳娜娜", "王芳", "Ada Lovelace"]), "name").to_pylist()
    ['欧阳**', '王**', 'A**']
    >>> apply_mask(pa.array(["ada@example.org", "13812345678", None]), "email").to_pylist()
    ['a**@example.org', '***', None]
    """
    mask = MASKS.get(name)
    if mask is None:
        raise BadInput(f"unknown mask {name}", remedy=f"use one of {', '.join(sorted(MASKS))}")
    return mask(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array, params or {})


def _text(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return pc.utf8_trim_whitespace(array.cast(pa.string()))


def _number(params: Params, name: str, default: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadInput(f"mask parameter {name} must be a whole number, 0 or more")
    return value


def _redact(array: pa.Array, _params: Params) -> pa.Array:
    return _where(array.is_valid(), pa.scalar(_REDACTED), pa.nulls(len(array), pa.string()))


def _where(condition: pa.Array, yes: pa.Array | pa.Scalar, no: pa.Array | pa.Scalar) -> pa.Array:
    return pc.if_else(condition, yes, no)


def _kept(text: pa.Array, fitting: pa.Array, masked: pa.Array) -> pa.Array:
    """`masked` where the value has the expected form, redacted elsewhere, null where it was."""
    answer = _where(pc.fill_null(fitting, False), masked, pa.scalar(_REDACTED))
    return _where(text.is_valid(), answer, pa.scalar(None, pa.string()))


def _ends(text: pa.Array, head: int, tail: int) -> pa.Array:
    """The first and last characters with a fixed filler between, which hides the length."""
    first = pc.utf8_slice_codeunits(text, 0, head)
    if not tail:
        return pc.binary_join_element_wise(first, _STARS, "")
    last = pc.utf8_slice_codeunits(text, -tail, None)
    return pc.binary_join_element_wise(first, _STARS, last, "")


def _partial(array: pa.Array, params: Params) -> pa.Array:
    """Keep `head` and `tail` characters of values at least twice as long, redact shorter ones."""
    head, tail = _number(params, "head", 1), _number(params, "tail", 1)
    text = _text(array)
    return _kept(text, pc.greater_equal(pc.utf8_length(text), 2 * (head + tail)), _ends(text, head, tail))


def _email(array: pa.Array, _params: Params) -> pa.Array:
    """First character and domain; no spaces, so free text around an address is redacted."""
    text = _text(array)
    fitting = pc.match_substring_regex(text, r"^[^@\s]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,}$")
    return _kept(text, fitting, pc.replace_substring_regex(text, r"^([^@]).*@(.*)$", r"\1**@\2"))


def _phone(array: pa.Array, _params: Params) -> pa.Array:
    """手机号 keeps 3 + 4 digits, an international number its country code's first digits and the last 2."""
    digits = pc.replace_substring_regex(_text(array), r"[\s().\-]", "")
    bare = pc.replace_substring_regex(digits, r"^(\+|00)?86(1[3-9]\d{9})$", r"\2")
    mobile = pc.match_substring_regex(bare, r"^1[3-9]\d{9}$")
    chinese = pc.utf8_replace_slice(bare, start=3, stop=-4, replacement="****")
    international = pc.match_substring_regex(digits, r"^(\+|00)?\d{7,15}(x\d{1,6})?$")
    prefixed = pc.match_substring_regex(digits, r"^(\+|00)")
    abroad = _where(pc.fill_null(prefixed, False), _ends(digits, 3, 2), _ends(digits, 0, 2))
    return _where(pc.fill_null(mobile, False), chinese, _kept(digits, international, abroad))


def _name(array: pa.Array, _params: Params) -> pa.Array:
    """A Chinese name keeps its surname (compound ones from a table), another its first letter."""
    text = _text(array)
    chinese = pc.fill_null(pc.match_substring_regex(text, _CHINESE), False)
    two = pc.utf8_slice_codeunits(text, 0, 2)
    long_enough = pc.greater(pc.utf8_length(text), 2)
    compound = pc.and_(pc.is_in(two, pa.array(_COMPOUND_SURNAMES)), long_enough)
    surname = _where(pc.fill_null(compound, False), two, pc.utf8_slice_codeunits(text, 0, 1))
    kept = _where(chinese, surname, pc.utf8_slice_codeunits(text, 0, 1))
    return _kept(text, pc.greater(pc.utf8_length(text), 0), pc.binary_join_element_wise(kept, _STARS, ""))


def _national_id(array: pa.Array, params: Params) -> pa.Array:
    """First and last characters only: 身份证's first six name the district, the next eight the birth date."""
    head, tail = _number(params, "head", 1), _number(params, "tail", 1)
    text = pc.replace_substring_regex(_text(array), r"[\s\-]", "")
    fitting = pc.and_(
        pc.match_substring_regex(text, r"^[0-9A-Za-z]{6,20}$"),
        pc.greater_equal(pc.utf8_length(text), 2 * (head + tail)),
    )
    return _kept(text, fitting, _ends(text, head, tail))


def _address(array: pa.Array, _params: Params) -> pa.Array:
    """A Chinese address down to its district (区, 县, 旗, or 市), another its last part without digits."""
    text = _text(array)
    pattern = r"^([^\d\s,，]*?(?:[^\d\s,，社小校园景][区县縣區旗]|[^\d\s,，]市)).*$"
    district = pc.match_substring_regex(text, pattern)
    chinese = pc.replace_substring_regex(text, pattern, r"\1")
    city_first = r"^([^\d\s,，]*?[^\d\s,，]市[^\d\s,，路街]{0,4}?[^\d\s,，社小校园景][区县縣區旗]).*$"
    with_city = pc.match_substring_regex(text, city_first)
    finer = pc.replace_substring_regex(text, city_first, r"\1")
    chinese = _where(pc.fill_null(with_city, False), finer, chinese)
    last = pc.replace_substring_regex(text, r"(?s)^.*[,\n]\s*", "")
    place = pc.utf8_trim_whitespace(pc.replace_substring_regex(last, r"\S*\d\S*", ""))
    parted = pc.and_(pc.match_substring_regex(text, r"[,\n]"), pc.greater(pc.utf8_length(place), 0))
    return _where(pc.fill_null(district, False), chinese, _kept(text, parted, place))


def _years(array: pa.Array) -> pa.Array:
    """The year of dates, timestamps or text that begins with a four-digit year; null otherwise."""
    if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        return pc.year(array)
    if pa.types.is_integer(array.type):
        array = pc.cast(array, pa.int64())
        return _where(pc.and_(pc.greater(array, 1800), pc.less(array, 2200)), array, pa.scalar(None, pa.int64()))
    text = _text(array)
    found = pc.fill_null(pc.match_substring_regex(text, r"^(18|19|20)\d\d(\D|\d{4}$|$)"), False)
    head = pc.utf8_slice_codeunits(text, 0, 4)
    return _where(found, head, pa.scalar(None, pa.string())).cast(pa.int64())


def _year(array: pa.Array, _params: Params) -> pa.Array:
    return _years(array).cast(pa.string())


def _age_band(array: pa.Array, _params: Params) -> pa.Array:
    """The decade of birth, such as 1980s: unlike an age it doesn't depend on today. Before 1930 is one band."""
    years = _years(array)
    decades = pc.multiply(pc.divide(years, 10), 10)
    text = pc.binary_join_element_wise(decades.cast(pa.string()), pa.scalar("s"), "")
    banded = _where(pc.less(years, _EARLIEST), pa.scalar(f"before {_EARLIEST}"), text)
    return _where(years.is_valid(), banded, pa.scalar(None, pa.string()))


MASKS: Final[Mapping[str, Mask]] = MappingProxyType(
    {
        "address": _address,
        "age_band": _age_band,
        "email": _email,
        "name": _name,
        "national_id": _national_id,
        "partial": _partial,
        "phone": _phone,
        "redact": _redact,
        "year": _year,
    }
)
"""Mask name -> function; a descriptor names them."""
