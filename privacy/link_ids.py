"""Ids that may show that two customers are one person: one spelling for each kind, and which of them say nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import LinkKind
from privacy.identifiers import canonical_ids

if TYPE_CHECKING:
    from privacy.cmac import Mac

__all__ = ["field_indexes", "is_junk", "link_indexes", "normalised"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_APART: Final = r"[\s\-\x{2010}-\x{2015}\x{2212}]"
_PUNCTUATION: Final = r"[\s\-.()/\x{2010}-\x{2015}\x{2212}]"
_ADDRESS: Final = r"^[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+$"
_DIALLED: Final = r"^\+?\d{5,17}$"
_MOBILE: Final = r"^\+861[3-9]\d{9}$"
_WORDS: Final = frozenset(
    {"0", "-", ".", "?", "n/a", "na", "nan", "nil", "no", "none", "null", "anonymous", "dummy", "guest", "test",
     "tests", "testing", "unknown", "xxx", "无", "没有", "未知", "测试", "匿名"}
)  # fmt: skip
_MAILBOXES: Final = _WORDS | frozenset(
    {"123", "1234", "12345", "123456", "abc", "asdf", "donotreply", "do-not-reply", "email", "example", "mail",
     "nobody", "noemail", "no-email", "nomail", "no-mail", "noreply", "no-reply", "user"}
)  # fmt: skip
_NOBODYS_DOMAINS: Final = r"@(?:example\.(?:com|net|org)|(?:[^@]*\.)?(?:invalid|test)|test\.com)$"
"""RFC 2606 keeps them for examples, and test.com is what people type."""
_SAMPLE: Final = "+8613800138000"
"""A service number, which everybody writes where a 手机号 is asked for."""
_UP: Final = "01234567890123456789"
_STRAIGHT: Final = frozenset(
    line[at : at + length] for line in (_UP, _UP[::-1]) for length in range(5, 13) for at in range(len(line) - length)
)


def normalised(column: pa.Array, kind: LinkKind, region: str = "") -> pa.Array:
    """The ids of one kind as text, null where there is none or where it doesn't have the kind's form.

    Accounts and devices stay as the source spells them (NFC; integers as decimal text), so that an account is equal to
    a subject's id. Cards lose blanks and dashes, in full width too. E-mail addresses are in NFC and lower case, dots
    and tags stay: only the provider knows what they mean. Phone numbers are in E.164; numbers without a country code
    are those of `region` (ISO 3166-1), and null without one; so are numbers with an extension, which many share, and
    numbers that no country gives to a person. Raises BadInput for floats and other types that hold no ids.

    >>> normalised(pa.array(["Ann@Shop.Example ", "no address"]), LinkKind.EMAIL).to_pylist()
    ['ann@shop.example', None]
    >>> normalised(pa.array(["138 0013-8001", "+44 (0)20 7946 0958"]), LinkKind.PHONE, "CN").to_pylist()
    ['+8613800138001', '+442079460958']
    """
    texts = canonical_ids(_without_blanks(column))
    if kind is LinkKind.CARD:
        return _filled(pc.replace_substring_regex(_compatible(texts), _APART, ""))
    if kind is LinkKind.EMAIL:
        lower = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
        return _where(pc.match_substring_regex(lower, _ADDRESS), lower)
    return _phones(_compatible(texts), region) if kind is LinkKind.PHONE else texts


def is_junk(texts: pa.Array, kind: LinkKind, declared: Collection[str] = ()) -> Flags:
    """(n,) bool: which normalised ids say nothing: words for nothing, one digit again and again, 123456, test@.

    `declared` are more of them, normalised; of e-mail addresses `name@` stands for that name at any provider.

    >>> is_junk(pa.array(["000000", "123456", "60123845", None]), LinkKind.CARD).tolist()
    [True, True, False, False]
    """
    lower = pc.utf8_lower(texts)
    junk = pc.is_in(texts, value_set=pa.array(sorted(declared), pa.string()))
    if kind is LinkKind.EMAIL:
        names = _MAILBOXES | {value.removesuffix("@") for value in declared if value.endswith("@")}
        listed = "|".join(re.escape(name) for name in sorted(names))
        found = [pc.match_substring_regex(lower, f"^(?:{listed})@"), pc.match_substring_regex(lower, _NOBODYS_DOMAINS)]
    elif kind is LinkKind.PHONE:
        runs = "|".join(sorted(run for run in _STRAIGHT if len(run) == 7))
        found = [
            pc.match_substring_regex(texts, f"(?:{_repeated(7)}|{runs})$"),
            pc.equal(texts, _SAMPLE),
        ]
    else:
        found = [pc.is_in(lower, value_set=pa.array(sorted(_WORDS)))]
        if kind is not LinkKind.ACCOUNT:  # a shop may well have an account 22
            plain = pc.replace_substring_regex(lower, r"[\-:]", "")
            found += [
                pc.match_substring_regex(plain, f"^(?:{_repeated(2)}|f{{4,}}|x{{2,}})$"),
                pc.is_in(plain, value_set=pa.array(sorted(_STRAIGHT))),
            ]
    for one in found:
        junk = pc.or_(junk, one.fill_null(False))
    return np.asarray(junk.to_numpy(zero_copy_only=False), np.bool_)


def link_indexes(mac: Mac, texts: pa.Array, kind: LinkKind) -> Blocks:
    """(n, 16) uint8: CMAC of kind || id, so that an address equal to a card number is another id; nulls are zero."""
    return _indexes(mac, texts, kind.value)


def field_indexes(mac: Mac, column: pa.Array, place: str) -> Blocks:
    """(n, 16) uint8: CMAC of the values of a field, without blanks around them, case or width; nulls are zero."""
    texts = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(_compatible(texts.cast(pa.string()))))
    return _indexes(mac, _filled(plain), f"unique:{place}")


def _indexes(mac: Mac, texts: pa.Array, domain: str) -> Blocks:
    # A subject's id is preceded by its length in four bytes; no id is so long that the first of them is 0xff.
    head = pa.scalar(b"\xff" + domain.encode() + b"\0", pa.binary())
    messages = pc.binary_join_element_wise(head, texts.cast(pa.binary()), pa.scalar(b"", pa.binary()))
    return mac.of_messages(messages)


def _without_blanks(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    return _where(pc.greater(pc.binary_length(pc.utf8_trim_whitespace(column)), 0), column.cast(pa.string()))


def _filled(texts: pa.Array) -> pa.Array:
    return _where(pc.greater(pc.binary_length(texts), 0), texts)


def _where(good: pa.Array, texts: pa.Array) -> pa.Array:
    return pc.if_else(good, texts, pa.scalar(None, pa.string()))


def _compatible(texts: pa.Array) -> pa.Array:
    """NFKC: full-width digits and the like as ASCII; only distinct values that aren't ASCII become Python objects."""
    if pc.all(pc.string_is_ascii(texts), skip_nulls=True).as_py() is not False:
        return texts
    coded = texts.dictionary_encode()
    plain = [unicodedata.normalize("NFKC", text) for text in coded.dictionary.to_pylist()]
    return pa.array(plain, pa.string()).take(coded.indices)


def _phones(texts: pa.Array, region: str) -> pa.Array:
    """手机号 by their shape, all at once; of the others each distinct one by the numbering plans."""
    bare = pc.replace_substring_regex(texts, _PUNCTUATION, "")
    if region == "CN":
        bare = pc.replace_substring_regex(bare, r"^(?:(?:\+|00)?86)?(1[3-9]\d{9})$", r"+86\1")
    bare = _where(pc.match_substring_regex(bare, _DIALLED), bare)
    mobile = pc.match_substring_regex(bare, _MOBILE).fill_null(False)
    if pc.all(pc.or_(mobile, bare.is_null())).as_py() is not False:
        return bare
    coded = _where(pc.invert(mobile), bare).dictionary_encode()
    read = pa.array([_e164(text, region) for text in coded.dictionary.to_pylist()], pa.string())
    return pc.if_else(mobile, bare, read.take(coded.indices))


def _e164(text: str, region: str) -> str | None:
    import phonenumbers  # its tables take a while to load

    kinds = phonenumbers.PhoneNumberType
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    own = {kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE, kinds.PERSONAL_NUMBER, kinds.VOIP}
    if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in own:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _repeated(least: int) -> str:
    """A pattern of one digit, `least` times or more: RE2 has no back references."""
    return "|".join(f"{digit}{{{least},}}" for digit in range(10))
