"""What identifies people in free text, by kind: patterns with bounded repetition only, and the checks behind them.

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
from privacy.scrub_words import NOBODY, PROVINCES, STREETS, SURNAMES

__all__ = ["KINDS", "PATTERNS", "Pattern"]


Check = Callable[[str, str], int]


@dataclass(frozen=True)
class Pattern:
    """Where to look for a kind: group 1 is what identifies, or everything where there is no group.

    `gate` (RE2) describes every text that can match and is tried on whole columns first. `check` says how many of the
    found characters are one, from the first: 0 for none. `begin` says how far what was found reaches back.
    """

    kind: str
    regex: re.Pattern[str]
    gate: str
    check: Check = checks.always
    begin: Callable[[str, int], int] | None = None


def _pattern(
    kind: str, *parts: str, gate: str, check: Check = checks.always, begin: Callable[[str, int], int] | None = None
) -> Pattern:
    return Pattern(kind, re.compile("".join(parts), re.ASCII), gate, check, begin)


_HAN: Final = "[\\u4e00-\\u9fff]"
_NO_HAN: Final = "(?![\\u4e00-\\u9fff])"
_END: Final = "(?!_?[0-9A-Za-z])"
_ALONE: Final = "(?<![0-9A-Za-z+#].)(?<![0-9A-Za-z_/][./_-].)"
"""Behind the first sign of a number: it isn't the tail of a code, a path or another number."""
_WORD: Final = "(?<![A-Za-z0-9_].)"
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DATE: Final = (
    "[0-9]{4}[-/.年] ?[0-9]{1,2}[-/.月] ?[0-9]{1,2}日?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}"
    f"|{_MONTH}\\.? [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}|[0-9]{{1,2}} {_MONTH},? [0-9]{{4}}"
)
_CHINESE_NAME: Final = f"(?:(?:{'|'.join(COMPOUND_SURNAMES)})|[{SURNAMES}])"
_AFTER_NAME: Final = (
    "(?=$|[^\\u4e00-\\u9fff]|先生|女士|小姐|电话|手机|联系|地址|身份|邮箱|微信"
    "|今|的|住|在|和|与|收|您|你|来|已|说|要|想|于)"
)
_LATIN: Final = "A-Za-z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u024f"
_ENGLISH: Final = f"[A-Z\\u00c0-\\u00d6\\u00d8-\\u00de][{_LATIN}'’-]{{1,20}}"
_NOBODY: Final = f"(?!(?i:{'|'.join(NOBODY)})(?![a-z]))"
_STREET: Final = f"(?:{'|'.join(STREETS)})s?"

_REACHED: Final = (
    _pattern(
        "URL",
        "[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\\s/@:，。]{1,64}(?::[^\\s/@，。]{0,64})?@[\\x21-\\x2b\\x2d-\\x7e]{1,200}",
        gate="://",
    ),
    _pattern(
        "EMAIL",
        f"(?<=[{_LATIN}0-9!#$%&'*+/=?^_`{{|}}~.-])@[{_LATIN}0-9-]{{1,63}}(?:\\.[{_LATIN}0-9-]{{1,63}}){{1,8}}",
        gate="@",
        begin=checks.mailbox_before,
    ),
    _pattern(
        "IP",
        "(?<![0-9A-Za-z_.])(?<!ersion )(?<!ersion: )(?<!release )(?<!build )(?<!版本)(?<!版本号)",
        "[0-9]{1,3}(?:\\.[0-9]{1,3}){3}(?!\\.?[0-9A-Za-z])",
        gate="[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]",
        check=checks.address_of_network,
    ),
    _pattern(
        "IP",
        "(?<![0-9A-Za-z_.:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_.:])",
        gate="[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,}",
        check=checks.address_of_network,
    ),
    _pattern(
        "PHONE",
        "(?:(?:\\+|00)86[ -]?|(?<![0-9A-Za-z#])(?<![0-9A-Za-z_/][._-])(?<![A-Za-z_/]/)(?:86[ -]?)?)",
        "1[3-9][0-9](?:[ .-]?[0-9]{4}){2}",
        _END,
        gate="1[3-9][0-9][ .-]?[0-9]{4}[ .-]?[0-9]{4}",
    ),
    _pattern(
        "PHONE",
        f"[(（0]{_ALONE}0?[1-9][0-9]{{1,2}}[)） -]{{1,2}}[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}(?:-[0-9]{{1,5}})?{_END}",
        gate="0[1-9][0-9]{1,2}[)） -]",
        check=checks.landline,
    ),
    _pattern(
        "PHONE",
        f"\\+[1-9](?:[ .()/-]{{0,2}}[0-9]){{6,14}}{_END}",
        gate="\\+[1-9]",
        check=checks.international,
    ),
    _pattern(
        "PHONE",
        "[(0-9](?<![0-9A-Za-z+#$].)(?<![0-9A-Za-z_/][./_-].)(?<![0-9],.)[0-9]{0,4}",
        f"(?:\\)[ .-]{{0,2}}|[ .-]{{1,2}})[0-9]{{2,5}}(?:[ .-]{{1,2}}[0-9]{{2,5}}){{0,3}}{_END}",
        gate="[0-9][)） .-][ .-]?[0-9]{2,4}[ .-]?[0-9]{2}",
        check=checks.national,
    ),
    _pattern(
        "PHONE",
        "(?:[Tt]el|[Pp]hone|[Mm]obile|[Cc]ell|[Ff]ax|电话|手机|座机)[^0-9+(\\n]{0,14}",
        "([+(]?[0-9](?:[ .()/-]{0,2}[0-9]){6,14})",
        _END,
        gate="(?i)tel|phone|mobile|cell|fax|电话|手机|座机",
    ),
)

_NUMBERED: Final = (
    _pattern(
        "IBAN",
        f"[A-Za-z]{_WORD}[A-Za-z][0-9]{{2}}(?:[ -]?[A-Za-z0-9]{{4}}){{2,7}}(?:[ -]?[A-Za-z0-9]{{1,3}})?{_END}",
        gate="[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}",
        check=checks.bank_account,
    ),
    _pattern(
        "NATIONAL_ID",
        f"[1-8](?<![0-9].)[0-9]{{5}}[ -]?(?:19|20)[0-9]{{6}}[ -]?[0-9]{{3}}[0-9Xx]{_END}",
        gate="[0-9]{6}[ -]?(?:19|20)[0-9]{6}[ -]?[0-9]{3}",
        check=checks.identity_18,
    ),
    _pattern(
        "NATIONAL_ID",
        f"[1-8]{_ALONE}[0-9]{{14}}{_END}",
        gate="[0-9]{15}",
        check=checks.identity_15,
    ),
    _pattern(
        "CARD",
        f"[2-6]{_ALONE}[0-9]{{3}}[ .-]?",
        "(?:[0-9]{4}[ .-]?[0-9]{4}[ .-]?[0-9]{1,4}(?:[ -]?[0-9]{1,3})?|[0-9]{6}[ .-]?[0-9]{4,5})",
        _END,
        gate="[2-6][0-9]{3}[ .-]?[0-9]{4}[ .-]?[0-9]{2}",
        check=checks.card,
    ),
    _pattern(
        "USCC",
        f"[159Y]{_WORD}[1-9][0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{_END}",
        gate="[159Y][1-9][0-9]{6}[0-9A-Y]{10}",
        check=checks.company,
    ),
    _pattern(
        "SSN",
        f"[0-9]{_ALONE}[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}}{_END}(?!-)",
        gate="[0-9]{3}-[0-9]{2}-[0-9]{4}",
        check=checks.social_security,
    ),
    _pattern(
        "SSN",
        "(?:[Ss][Ss][Nn]|[Ss]ocial [Ss]ecurity)[^0-9\\n]{0,20}([0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})",
        _END,
        gate="(?i)ssn|social",
    ),
    _pattern(
        "PASSPORT",
        "(?:[Pp]assport|PASSPORT|护照)[^0-9\\n]{0,16}?(?<![A-Za-z])([A-Za-z]{0,2}[0-9]{6,9})",
        _END,
        gate="(?i)passport|护照",
    ),
    _pattern(
        "PLATE",
        f"[{PROVINCES}][A-HJ-NP-Z][·• -]?[A-HJ-NP-Z0-9]{{4,5}}[A-HJ-NP-Z0-9挂学警港澳]{_END}",
        gate=f"[{PROVINCES}][A-HJ-NP-Z]",
        check=checks.has_digit,
    ),
    _pattern(
        "QQ",
        "(?:[Qq][Qq]|扣扣)[号群码]{0,2}[^0-9A-Za-z\\n]{0,4}([1-9][0-9]{4,10})",
        _END,
        gate="(?i)qq|扣扣",
    ),
    _pattern(
        "WECHAT",
        "(?:微信|[Ww]e[Cc]hat|[Ww]eixin|[Vv][Xx])(?:号|[ ]?(?:id|ID))?[^A-Za-z0-9\\n]{0,4}(?:is )?",
        "([A-Za-z0-9][A-Za-z0-9_-]{5,19})",
        _END,
        gate="(?i)微信|wechat|weixin|vx",
    ),
)

_TOLD: Final = (
    _pattern(
        "BIRTH_DATE",
        "(?:出生日期|出生年月日?|出生于|生日|生于|[Dd]ate of birth|[Bb]orn|DOB|D\\.O\\.B|[Bb]irth ?da(?:y|te))",
        f"[^0-9A-Z]{{0,12}}({_DATE})",
        gate="(?i)出生|生日|生于|birth|born|dob|d\\.o\\.b",
    ),
    _pattern(
        "BIRTH_DATE",
        f"((?:{_DATE}))(?:出?生)",
        gate="日?出?生",
    ),
    _pattern(
        "NAME",
        "(?:姓 {0,4}名|联系人|收件人|收货人|寄件人|客户名?|我叫|本人)[：: 是为，,]{0,3}",
        f"({_CHINESE_NAME}(?:{_HAN}{{1,2}}?{_AFTER_NAME}|{_HAN}{{2}}))",
        gate="姓 {0,4}名|联系人|收件人|收货人|寄件人|客户|我叫|本人",
    ),
    _pattern(
        "NAME",
        "(?:姓 {0,4}名|联系人|收件人|收货人|寄件人|客户)[：:] ?",
        f"({_HAN}{{2,4}}{_NO_HAN}|{_ENGLISH}(?: {_ENGLISH}){{0,2}})",
        gate="(?:人|名|客户)[：:]",
    ),
    _pattern(
        "NAME",
        f"({_CHINESE_NAME}{_HAN}{{0,2}}?)(?:先生|女士|小姐)",
        gate="先生|女士|小姐",
    ),
    _pattern(
        "NAME",
        f"(?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Dr|Prof)\\.? ({_ENGLISH}(?: {_ENGLISH}){{0,2}})",
        gate="(?:Mr|Mrs|Ms|Miss|Dr|Prof)\\.? [A-Z]",
    ),
    _pattern(
        "NAME",
        "(?<![A-Za-z])(?:(?i:my name is)|I am called|[Nn]ame ?[:：=]|[Cc]ontact ?[:：]|[Rr]ecipient ?[:：]",
        "|[Rr]egards,|[Dd]ear|[Ss]igned,?)",
        f"\\s{{0,3}}({_NOBODY}{_ENGLISH}(?: (?:{_ENGLISH}|[A-Z]\\.)){{0,2}})",
        gate="(?i)name|contact|recipient|regards|dear|signed",
    ),
    _pattern(
        "ADDRESS",
        f"[0-9]{_ALONE}[0-9]{{0,4}}[A-Za-z]? (?:[A-Z0-9][A-Za-z0-9.'-]{{0,20}} ){{1,4}}{_STREET}(?![A-Za-z])\\.?",
        "(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\\.? ?[0-9A-Za-z]{1,6})?",
        "(?:,? [A-Z][A-Za-z'-]{1,20}(?: [A-Z][A-Za-z'-]{1,20}){0,2})?",
        "(?:, [A-Z]{2})?(?: [0-9]{5}(?:-[0-9]{4})?)?",
        gate="[0-9][A-Za-z]? [A-Z0-9][A-Za-z0-9.' -]* ?[A-Z][a-z]",
    ),
    _pattern(
        "ADDRESS",
        "(?:路|街|道|巷|弄|村|胡同|里)[0-9０-９一二三四五六七八九十百]{1,5}(?:号|弄|栋|幢)",
        "(?:[\\u4e00-\\u9fff]{0,6}[0-9A-Za-z一二三四五六七八九十-]{1,6}(?:号楼?|栋|幢|座|单元|室|楼|层|户)){0,4}[0-9]{0,6}",
        gate="[路街道巷弄村同里][0-9０-９一二三四五六七八九十百]+[号弄栋幢]",
        begin=checks.place_before,
    ),
)

PATTERNS: Final = (*_NUMBERED, *_REACHED, *_TOLD)
"""Where two overlap, the whole stretch is taken as the kind that stands first here."""
KINDS: Final = tuple(dict.fromkeys(pattern.kind for pattern in PATTERNS))
