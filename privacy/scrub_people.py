"""How a kind is looked for in free text, and what a word beside it tells: names, dates of birth, addresses.

Every repetition has an upper bound and no class of signs is Unicode's own (`[0-9]`, never `\\d`), so that the work is
proportional to the text's length, and that neighbouring Chinese signs end a Latin word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import privacy.scrub_checks as checks
from privacy.masks.people import COMPOUND_SURNAMES
from privacy.scrub_words import NOBODY, STREETS, SURNAMES, TITLES

__all__ = ["ALONE", "END", "LATIN", "LISTED", "TOLD", "WORD", "Pattern", "described"]


Check = Callable[[str, str], int]


@dataclass(frozen=True)
class Pattern:
    """Where to look for a kind: group 1 is what identifies, or everything where there is no group.

    `gate` (RE2) describes every text that can match and is tried on whole columns first. `check` says how many of the
    found characters are one, from the first: 0 for none. `begin` says how far what was found reaches back. `again` is a
    separator and, as group 1, one more in a list behind one that was found: it needs no word of its own.
    """

    kind: str
    regex: re.Pattern[str]
    gate: str
    check: Check = checks.always
    begin: Callable[[str, int], int] | None = None
    again: re.Pattern[str] | None = None


LISTED: Final = "(?:[ \t]{0,2}[/|｜;；、，,&＆+\r\n-][ \n\t]{0,2}|[ \t]{1,2}|[，,]? ?(?:和|或者?|及|与|and |or ) ?)"
"""Between two of a list."""


def described(
    kind: str,
    *parts: str,
    gate: str,
    check: Check = checks.always,
    begin: Callable[[str, int], int] | None = None,
    again: str = "",
) -> Pattern:
    """The pattern of the parts."""
    more = re.compile(again, re.ASCII) if again else None
    return Pattern(kind, re.compile("".join(parts), re.ASCII), gate, check, begin, more)


END: Final = "(?!_?[0-9A-Za-z])"
ALONE: Final = "(?<![0-9A-Za-z+#].)(?<![0-9A-Za-z_/][./_-].)"
"""Behind the first sign of a number: it isn't the tail of a code, a path or another number."""
WORD: Final = "(?<![A-Za-z0-9_].)"
_HAN: Final = "[\u4e00-\u9fff]"
_NO_HAN: Final = "(?![\u4e00-\u9fff])"
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DATE: Final = (
    "(?:[0-9]{4}[-/.年] ?[0-9]{1,2}[-/.月] ?[0-9]{1,2}日?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}"
    f"|{_MONTH}\\.? [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}|[0-9]{{1,2}} {_MONTH},? [0-9]{{4}})(?![0-9])"
)
_PERSON: Final = "姓 {0,4}名|联系人|收件人|收货人|寄件人|客户名?|我叫|本人"
_CHINESE_NAME: Final = f"(?:(?:{'|'.join(COMPOUND_SURNAMES)})|[{SURNAMES}])"
_AFTER_NAME: Final = (
    "(?=$|[^\u4e00-\u9fff]|先生|女士|小姐|电话|手机|联系|地址|身份|邮箱|微信"
    "|今|的|住|在|和|或|与|及|收|您|你|来|已|说|要|想|于)"
)
_POINTED_NAME: Final = f"{_HAN}{{1,8}}(?:[·•・‧]{_HAN}{{1,8}}){{1,3}}"
"""As names of other languages are written in Chinese: 买买提·艾力."""
_ONE_MORE: Final = f"{_POINTED_NAME}|{_CHINESE_NAME}{_HAN}{{1,2}}?{_AFTER_NAME}"
_TITLE: Final = f"(?:{'|'.join(TITLES)})"
_NO_TITLE: Final = f"(?!{_TITLE}(?![a-z]))"
LATIN: Final = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_NO_LABEL: Final = "(?! ?[:：=])"
_NOBODY: Final = f"(?!(?i:{'|'.join(NOBODY)})(?![a-z]))"
_ENGLISH: Final = (
    f"[A-Z\u00c0-\u00d6\u00d8-\u00de]"
    f"(?:[{LATIN}'’]|-{_NO_TITLE}(?![A-Z][a-z]{{1,12}} ?[:：=])){{1,40}}+(?:[0-9][0-9A-Za-z]{{0,9}}+)?+"
)
_ENGLISH_NAME: Final = f"{_NOBODY}{_ENGLISH}(?: {_NO_TITLE}(?:{_ENGLISH}|[A-Z]\\.){_NO_LABEL}){{0,3}}"
_STREET: Final = f"(?:{'|'.join(STREETS)})s?"
_WHOLE: Final = "(?![0-9A-Za-z])"
_TOWN: Final = f"[A-Z][A-Za-z'-]{{1,20}}{_WHOLE}"

_ENGLISH_LISTED: Final = (
    f"(?: ?[/|｜&＆+;；、] ?| and | or |[,，]?(?:和|或者?)|[,，\r\n\t] ?(?={_ENGLISH} [A-Z]))"
    f"({_ENGLISH_NAME}{_NO_LABEL})"
)
"""Behind a comma or a line's end, where a sentence may begin, two words with a capital."""

TOLD: Final = (
    described(
        "BIRTH_DATE",
        "(?:出生日期|出生年月日?|出生于|生日|生于|[Dd]ate of birth|[Bb]orn|DOB|D\\.O\\.B|[Bb]irth ?da(?:y|te))",
        f"[^0-9A-Z]{{0,12}}({_DATE})",
        gate="(?i)出生|生日|生于|birth|born|dob|d\\.o\\.b",
        again=f"{LISTED}({_DATE})",
    ),
    described(
        "BIRTH_DATE",
        f"({_DATE})(?:出?生)",
        gate="日?出?生",
    ),
    described(
        "NAME",
        f"(?:{_PERSON})[：: 是为，,]{{0,3}}",
        f"({_CHINESE_NAME}(?:{_HAN}{{1,2}}?{_AFTER_NAME}|{_HAN}{{2}}))",
        gate=_PERSON,
        again=f"{LISTED}({_ONE_MORE})",
    ),
    described(
        "NAME",
        f"(?:{_PERSON})[：: 是为，,]{{0,3}}({_POINTED_NAME})",
        gate=_PERSON,
        again=f"{LISTED}({_ONE_MORE})",
    ),
    described(
        "NAME",
        "(?:姓 {0,4}名|联系人|收件人|收货人|寄件人|客户)[：:] ?",
        f"({_HAN}{{2,4}}{_NO_HAN}|{_ENGLISH_NAME})",
        gate="(?:人|名|客户)[：:]",
        again=_ENGLISH_LISTED,
    ),
    described(
        "NAME",
        f"({_POINTED_NAME}|{_CHINESE_NAME}{_HAN}{{0,2}}?)(?:先生|女士|小姐)",
        gate="先生|女士|小姐",
    ),
    described(
        "NAME",
        f"(?<![A-Za-z]){_TITLE}\\.? ({_ENGLISH}(?: {_NO_TITLE}{_ENGLISH}){{0,2}})",
        gate=f"{_TITLE}\\.? [A-Z]",
    ),
    described(
        "NAME",
        "(?<![A-Za-z])(?:(?i:my name is)|I am called|[Nn]ame ?[:：=]|[Cc]ontact ?[:：]|[Rr]ecipient ?[:：]",
        f"|[Rr]egards,|[Dd]ear|[Ss]igned,?)\\s{{0,3}}({_NO_TITLE}{_ENGLISH_NAME})",
        gate="(?i)name|contact|recipient|regards|dear|signed",
        again=_ENGLISH_LISTED,
    ),
    described(
        "ADDRESS",
        f"[0-9]{ALONE}[0-9]{{0,4}}[A-Za-z]? (?:[A-Z0-9][A-Za-z0-9.'-]{{0,20}} ){{1,4}}{_STREET}(?![A-Za-z])\\.?",
        f"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\\.? ?[0-9A-Za-z]{{1,6}}{_WHOLE})?",
        f"(?:,? {_TOWN}(?: {_TOWN}){{0,2}})?(?:, [A-Z]{{2}}{_WHOLE})?",
        f"(?:,? (?:[0-9]{{5}}(?:-[0-9]{{4}})?|[A-Z]{{1,2}}[0-9][0-9A-Z]? ?[0-9][A-Z]{{2}}){_WHOLE})?",
        gate="[0-9][A-Za-z]? [A-Z0-9][A-Za-z0-9.' -]* ?[A-Z][a-z]",
    ),
    described(
        "ADDRESS",
        "(?:路|街|道|巷|弄|村|胡同|里)[0-9０-９一二三四五六七八九十百]{1,5}(?:号|弄|栋|幢)",
        "(?:[\\u4e00-\\u9fff]{0,6}[0-9A-Za-z一二三四五六七八九十-]{1,6}(?:号楼?|栋|幢|座|单元|室|楼|层|户)){0,4}[0-9]{0,6}",
        gate="[路街道巷弄村同里][0-9０-９一二三四五六七八九十百]+[号弄栋幢]",
        begin=checks.place_before,
    ),
)
