"""Check digits, ranges and numbering plans of what looks like a number in free text.

Each takes the found text and the region of national phone numbers, and says how many of its characters are one.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from stdnum import luhn
from stdnum.cn import uscc
from stdnum.iso7064 import mod_11_2, mod_97_10
from stdnum.us import ssn

__all__ = [
    "address_of_network", "always", "bank_account", "card", "company", "has_digit", "identity_15", "identity_18",
    "international", "landline", "mailbox_before", "national", "place_before", "social_security",
    "told_account",
]  # fmt: skip

_ISSUERS: Final = "4 51 52 53 54 55 34 37 36 38 35 60 62 64 65 50 58 63"
_CARDS: Final = tuple(_ISSUERS.split())
_PROVINCE_CODES: Final = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82"
)
_PROVINCES: Final = frozenset(_PROVINCE_CODES.split())
_LONGEST_PLACE: Final = 24
_LEADING: Final = "地址 地址是 住址 住址是 位于 住在 我在 送到 送至 送往 寄到 寄至 寄往"
_LEADS_TO_PLACE: Final = tuple(_LEADING.split())
_LONGEST_MAILBOX: Final = 128
_MAILBOX: Final = re.compile("[A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f!#$%&'*+/=?^_`{|}~.-]")
_MOST_NATIONAL: Final = 12
"""Digits."""
_GROUP_END: Final = re.compile("(?<=[0-9])[ .-]")
_HOUR: Final = re.compile("(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]) (?:[01][0-9]|2[0-3])")
_PARTING: Final = str.maketrans("", "", " -().（）/")


def always(found: str, _region: str) -> int:
    """Whatever the pattern found."""
    return len(found)


def has_digit(found: str, _region: str) -> int:
    """Not letters alone."""
    return len(found) if any(sign.isdigit() for sign in found[2:]) else 0


def identity_18(found: str, _region: str) -> int:
    """身份证号 of 18 (GB 11643-1999): province, date, ISO 7064 MOD 11-2."""
    digits = found.translate(_PARTING).upper()
    return len(found) if _is_person(digits, digits[10:14]) and mod_11_2.is_valid(digits) else 0


def identity_15(found: str, _region: str) -> int:
    """身份证号 of 15, of before 1999: province and date; it has no check digit."""
    return len(found) if _is_person(found, found[8:12]) else 0


def _is_person(digits: str, day: str) -> bool:
    return digits[:2] in _PROVINCES and 1 <= int(day[:2]) <= 12 and 1 <= int(day[2:]) <= 31


def card(found: str, _region: str) -> int:
    """Issuer range (ISO/IEC 7812), length, Luhn."""
    digits = found.translate(_PARTING)
    known = digits.startswith(_CARDS) or 2221 <= int(digits[:4]) <= 2720
    return len(found) if known and 13 <= len(digits) <= 19 and luhn.is_valid(digits) else 0


def bank_account(found: str, _region: str) -> int:
    """ISO 13616-1 check digits; a following word of four letters is left out."""
    end = len(found)
    while end >= 15:
        bare = found[:end].translate(_PARTING).upper()
        if len(bare) >= 15 and mod_97_10.is_valid(bare[4:] + bare[:4]):
            return end
        end = max(found.rfind(" ", 0, end), found.rfind("-", 0, end))
    return 0


def told_account(found: str, _region: str) -> int:
    """Whatever IBAN the word before it tells of, without words of four letters behind it."""
    return bank_account(found, _region) or max((at + 1 for at, sign in enumerate(found) if sign.isdigit()), default=0)


def company(found: str, _region: str) -> int:
    """统一社会信用代码 (GB 32100-2015)."""
    return len(found) if uscc.is_valid(found) else 0


def social_security(found: str, _region: str) -> int:
    """Areas, groups and serials that are issued (20 CFR 422.103)."""
    return len(found) if ssn.is_valid(found) else 0


def address_of_network(found: str, _region: str) -> int:
    """IPv4, or IPv6 with a digit and more than two colons' worth of it."""
    if ":" in found and (len(found) < 6 or not any(sign.isdigit() for sign in found)):
        return 0
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return 0
    return len(found)


def landline(found: str, _region: str) -> int:
    """座机: an area code of 3 or 4 digits, and 7 or 8 more."""
    return len(found) if 10 <= _count(found) <= 17 and found.strip("(（").startswith("0") else 0


def _count(found: str) -> int:
    return sum(sign.isdigit() for sign in found)


def international(found: str, _region: str) -> int:
    """A number of the country's plan (`phonenumbers`), with its + before it."""
    return _valid(found, None)


def national(found: str, region: str) -> int:
    """A number as it is written in the region, in groups; of more groups than one number has, the first ones.

    A day and its hour are none.
    """
    if _HOUR.fullmatch(found):
        return 0
    if _count(found) > _MOST_NATIONAL:
        ends = [each.start() for each in _GROUP_END.finditer(found) if 9 <= _count(found[: each.start()]) <= 12]
        return next((end for end in reversed(ends) if _valid(found[:end], region)), 0)
    return _valid(found, region) if _count(found) >= 9 else 0


def place_before(text: str, at: int) -> int:
    """Where the Chinese address begins whose street's last sign stands at `at`: at most 24 signs before it.

    >>> text = "麻烦送到北京市朝阳区建国路8号"
    >>> text[place_before(text, text.index("路")):]
    '北京市朝阳区建国路8号'
    """
    begin = at
    while begin > max(0, at - _LONGEST_PLACE) and (
        text[begin - 1].isdigit() or "\u4e00" <= text[begin - 1] <= "\u9fff"
    ):
        begin -= 1
    before = text[begin:at]
    return begin + max(before.rfind(word) + len(word) if word in before else 0 for word in _LEADS_TO_PLACE)


def mailbox_before(text: str, at: int) -> int:
    """Where the e-mail address begins whose @ stands at `at`: at most 128 signs before it (RFC 5321, 5322, 6531).

    >>> text = "an josé.m@example.org"
    >>> text[mailbox_before(text, text.index("@")):]
    'josé.m@example.org'
    """
    begin = at
    while begin > max(0, at - _LONGEST_MAILBOX) and _MAILBOX.match(text[begin - 1]):
        begin -= 1
    return begin


def _valid(found: str, region: str | None) -> int:
    import phonenumbers  # its tables take a while to load

    try:
        number = phonenumbers.parse(found, region)
    except phonenumbers.NumberParseException:
        return 0
    return len(found) if phonenumbers.is_valid_number(number) else 0
