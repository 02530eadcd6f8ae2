"""What identifies people in free text, by kind: numbers and addresses of the net, and the checks behind them."""

from __future__ import annotations

from typing import Final

import privacy.scrub_checks as checks
from privacy.scrub_people import ALONE, END, LATIN, LISTED, TOLD, WORD, described
from privacy.scrub_words import PROVINCES

__all__ = ["KINDS", "PATTERNS"]

_TELEPHONE: Final = "[+(]?[0-9](?:[ .()/-]{0,2}[0-9]){6,14}"
_CARD: Final = "[0-9](?:[ .-]?[0-9]){12,18}"
_IDENTITY: Final = "[0-9](?:[ -]?[0-9]){13,17}[0-9Xx]"
_TELLING: Final = "(?:\\.|号码?|ber)?(?:是|为| is)?[^0-9A-Za-z\\u4e00-\\u9fff\\n]{0,6}"
"""Between a document's name and its number."""
_ACCOUNT: Final = "[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?"
_SOCIAL: Final = "[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4}"

_REACHED: Final = (
    described(
        "URL",
        "[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\\s/@:，。]{1,64}(?::[^\\s/@，。]{0,64})?@[\\x21-\\x2b\\x2d-\\x7e]{1,200}",
        gate="://",
    ),
    described(
        "EMAIL",
        f"(?<=[{LATIN}0-9!#$%&'*+/=?^_`{{|}}~.-])@[{LATIN}0-9-]{{1,63}}(?:\\.[{LATIN}0-9-]{{1,63}}){{1,8}}",
        gate="@",
        begin=checks.mailbox_before,
    ),
    described(
        "IP",
        "(?<![0-9A-Za-z_.])(?<!ersion )(?<!ersion: )(?<!release )(?<!build )(?<!版本)(?<!版本号)",
        "[0-9]{1,3}(?:\\.[0-9]{1,3}){3}(?!\\.?[0-9A-Za-z])",
        gate="[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]",
        check=checks.address_of_network,
    ),
    described(
        "IP",
        "(?<![0-9A-Za-z_.:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_.:])",
        gate="[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,}",
        check=checks.address_of_network,
    ),
    described(
        "PHONE",
        "(?:(?:\\+|00)86[ -]?|(?<![0-9A-SU-Za-su-z#])(?<![0-9A-Za-z_#][Tt])(?<![0-9A-Za-z_/][._-])(?<![A-Za-z_/]/)",
        "(?:86[ -]?)?)1[3-9][0-9](?:[ .-]?[0-9]{4}){2}",
        END,
        gate="1[3-9][0-9][ .-]?[0-9]{4}[ .-]?[0-9]{4}",
    ),
    described(
        "PHONE",
        f"[(（0]{ALONE}0?[1-9][0-9]{{1,2}}[)） -]{{1,2}}[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}",
        f"(?:-[0-9]{{1,5}}(?!-[0-9]))?{END}",
        gate="0[1-9][0-9]{1,2}[)） -]",
        check=checks.landline,
    ),
    described(
        "PHONE",
        f"\\+[1-9](?:[ .()/-]{{0,2}}[0-9]){{6,14}}{END}",
        gate="\\+[1-9]",
        check=checks.international,
    ),
    described(
        "PHONE",
        "[(0-9](?<![0-9A-Za-z+#$].)(?<![0-9A-Za-z_/][./_-].)(?<![0-9],.)[0-9]{0,4}",
        f"(?:\\)[ .-]{{0,2}}|[ .-]{{1,2}})[0-9]{{2,5}}(?:[ .-]{{1,2}}[0-9]{{2,5}}){{0,3}}{END}",
        gate="[0-9][)） .-][ .-]?[0-9]{2,4}[ .-]?[0-9]{2}",
        check=checks.national,
    ),
    described(
        "PHONE",
        "(?:[Tt]el|[Pp]hone|[Mm]obile|[Cc]ell|[Ff]ax|电话|手机|座机)[^0-9+(\\n]{0,14}",
        f"({_TELEPHONE}){END}",
        gate="(?i)tel|phone|mobile|cell|fax|电话|手机|座机",
        again=f"{LISTED}({_TELEPHONE}){END}",
    ),
)

_NUMBERED: Final = (
    described(
        "IBAN",
        f"[A-Za-z]{WORD}[A-Za-z][0-9]{{2}}(?:[ -]?[A-Za-z0-9]{{4}}){{2,7}}(?:[ -]?[A-Za-z0-9]{{1,3}})?{END}",
        gate="[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}",
        check=checks.bank_account,
    ),
    described(
        "NATIONAL_ID",
        f"[1-8](?<![0-9].)[0-9]{{5}}[ -]?(?:19|20)[0-9]{{6}}[ -]?[0-9]{{3}}[0-9Xx]{END}",
        gate="[0-9]{6}[ -]?(?:19|20)[0-9]{6}[ -]?[0-9]{3}",
        check=checks.identity_18,
    ),
    described(
        "NATIONAL_ID",
        f"[1-8]{ALONE}[0-9]{{14}}{END}",
        gate="[0-9]{15}",
        check=checks.identity_15,
    ),
    described(
        "CARD",
        f"[2-6]{ALONE}[0-9]{{3}}[ .-]?",
        "(?:[0-9]{4}[ .-]?[0-9]{4}[ .-]?[0-9]{1,4}(?:[ -]?[0-9]{1,3})?|[0-9]{6}[ .-]?[0-9]{4,5})",
        END,
        gate="[2-6][0-9]{3}[ .-]?[0-9]{4}[ .-]?[0-9]{2}",
        check=checks.card,
    ),
    described(
        "IBAN",
        f"IBAN[^0-9A-Za-z\\n]{{0,4}}(?:is )?({_ACCOUNT}){END}",
        gate="IBAN",
        check=checks.told_account,
        again=f"{LISTED}({_ACCOUNT}){END}",
    ),
    described(
        "NATIONAL_ID",
        "(?:身份证|证件|(?<![A-Za-z])(?<!rder )(?<!action )(?<!racking )(?<!ayment )(?:ID|[Ii]d|[Ii]dentity)",
        " ?(?:[Cc]ard|[Nn]o\\.|[Nn]um|#))",
        f"{_TELLING}({_IDENTITY}){END}",
        gate="身份证|证件|(?:ID|[Ii]d|[Ii]dentity) ?(?:[Cc]ard|[Nn]o\\.|[Nn]um|#)",
        again=f"{LISTED}({_IDENTITY}){END}",
    ),
    described(
        "CARD",
        f"(?:银行卡|信用卡|借记卡|储蓄卡|卡号|[Cc]ard (?:[Nn]o|[Nn]um|#)){_TELLING}({_CARD}){END}",
        gate="银行卡|信用卡|借记卡|储蓄卡|卡号|[Cc]ard (?:[Nn]o|[Nn]um|#)",
        again=f"{LISTED}({_CARD}){END}",
    ),
    described(
        "USCC",
        f"[159Y]{WORD}[1-9][0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{END}",
        gate="[159Y][1-9][0-9]{6}[0-9A-Y]",
        check=checks.company,
    ),
    described(
        "SSN",
        f"[0-9]{ALONE}[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}}{END}(?!-(?![0-9]{{3}}-[0-9]{{2}}-))",
        gate="[0-9]{3}-[0-9]{2}-[0-9]{4}",
        check=checks.social_security,
    ),
    described(
        "SSN",
        f"(?:[Ss][Ss][Nn]|[Ss]ocial [Ss]ecurity)[^0-9\\n]{{0,20}}({_SOCIAL}){END}",
        gate="(?i)ssn|social",
        again=f"{LISTED}({_SOCIAL}){END}",
    ),
    described(
        "PASSPORT",
        f"(?:[Pp]assport|PASSPORT|护照|通行证|台胞证|回乡证)[^0-9\\n]{{0,16}}?(?<![A-Za-z])([A-Za-z]{{0,2}}[0-9]{{6,10}}){END}",
        gate="(?i)passport|护照|通行证|台胞证|回乡证",
        again=f"{LISTED}([A-Za-z]{{0,2}}[0-9]{{6,10}}){END}",
    ),
    described(
        "PLATE",
        f"[{PROVINCES}][A-HJ-NP-Z][·• -]?[A-HJ-NP-Z0-9]{{4,5}}[A-HJ-NP-Z0-9挂学警港澳]{END}",
        gate=f"[{PROVINCES}][A-HJ-NP-Z]",
        check=checks.has_digit,
    ),
    described(
        "QQ",
        "(?:[Qq][Qq]|扣扣)[号群码]{0,2}[^0-9A-Za-z\\n]{0,4}([1-9][0-9]{4,10})",
        END,
        gate="(?i)qq|扣扣",
        again=f"{LISTED}([1-9][0-9]{{4,10}}){END}",
    ),
    described(
        "WECHAT",
        "(?:微信|[Ww]e[Cc]hat|[Ww]eixin|[Vv][Xx])(?:号|[ ]?(?:id|ID))?[^A-Za-z0-9\\n]{0,4}(?:is )?",
        "([A-Za-z0-9][A-Za-z0-9_-]{5,19})",
        END,
        gate="(?i)微信|wechat|weixin|vx",
        again=f"{LISTED}((?=[A-Za-z-]{{0,19}}[0-9_])[A-Za-z0-9][A-Za-z0-9_-]{{5,19}}){END}",
    ),
)

PATTERNS: Final = (*_NUMBERED, *_REACHED, *TOLD)
"""Where two overlap, the whole stretch is taken as the kind that stands first here."""
KINDS: Final = tuple(dict.fromkeys(pattern.kind for pattern in PATTERNS))
