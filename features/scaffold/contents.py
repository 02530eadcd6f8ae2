"""What values look like, in shares of a sample, by the recognisers of masks and scrubbing; never a value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.masking import apply_mask
from privacy.masks.people import COMPOUND_SURNAMES
from privacy.scrub_words import SURNAMES
from privacy.scrubbing import scrub

__all__ = ["STRAY", "WORDS", "Contents", "contents_of", "share_text"]

KIND: Final = re.compile("<([A-Z_]+)>")
WORDS: Final = {
    "EMAIL": "e-mail addresses",
    "PHONE": "phone numbers",
    "NATIONAL_ID": "identity numbers (身份证)",
    "SSN": "social security numbers",
    "PASSPORT": "passport numbers",
    "IBAN": "IBANs",
    "CARD": "card numbers",
    "IP": "IP addresses",
    "ADDRESS": "addresses",
    "PLATE": "number plates",
    "NAME": "names of people",
    "BIRTH_DATE": "birth dates",
    "USCC": "company codes",
    "URL": "addresses with a password",
    "QQ": "QQ numbers",
    "WECHAT": "WeChat ids",
    "CHINESE_NAME": "what could be Chinese names",
    "LATIN_NAME": "what could be names",
}
MASKED: Final = {"EMAIL": "email", "NATIONAL_ID": "national_id", "IBAN": "iban", "CARD": "card"}
"""Kinds whose masks test a whole value: what has not the form is redacted."""
NUMBERS: Final = ("PHONE", "NATIONAL_ID", "CARD")
"""What a whole number may be."""
REDACTED: Final = "***"
STRAY: Final = 0.02
"""Up to this share, ids and categories may look like somebody's number by chance."""
_CHINESE_NAME: Final = rf"^(?:{'|'.join(COMPOUND_SURNAMES)}|[{SURNAMES}])[\x{{4e00}}-\x{{9fff}}]{{1,2}}$"
_LATIN_NAME: Final = r"^\p{Lu}\p{Ll}+(?:[ '-]\p{Lu}[\p{L}.]*){1,2}$"


@dataclass(frozen=True)
class Contents:
    """Shares of the sample's filled values: `whole` are of a kind, `part` hold one somewhere."""

    whole: dict[str, float] = field(default_factory=dict)
    part: dict[str, float] = field(default_factory=dict)

    def told(self) -> list[str]:
        """Return the shares in words, largest first."""
        ranked = sorted(self.part.items(), key=lambda item: -item[1])
        return [f"{share_text(share)} hold {WORDS.get(kind, kind)}" for kind, share in ranked]

    def sure(self) -> dict[str, float]:
        """Return the shares that hold something, without names, which could be anything's."""
        return {kind: share for kind, share in self.part.items() if not kind.endswith("_NAME")}

    def strongest(self) -> tuple[str, float]:
        """Return the kind that most whole values are of, names that could be anything left out; '' and 0 for none."""
        sure = {kind: share for kind, share in self.whole.items() if not kind.endswith("_NAME")}
        return max(sure.items(), key=lambda item: item[1], default=("", 0.0))


def contents_of(values: pa.Array, *, numbers: bool = False) -> Contents:
    """Look at filled texts, (n,) string; of `numbers` only what whole values are counts, as any digits may hold some.

    >>> contents_of(pa.array(["ada@example.org", "13812345678", "blue", "blue"])).told()
    ['25 % hold e-mail addresses', '25 % hold phone numbers']
    """
    count = len(values)
    if not count:
        return Contents()
    whole: dict[str, float] = {}
    part: dict[str, float] = {}
    wanted = NUMBERS if numbers else None
    for text in scrub(pc.utf8_trim_whitespace(values).dictionary_encode(), wanted).to_pylist():
        kinds = set(KIND.findall(text))
        for kind in kinds:
            part[kind] = part.get(kind, 0) + 1 / count
        if KIND.fullmatch(text):
            kind = next(iter(kinds))
            whole[kind] = whole.get(kind, 0) + 1 / count
    for kind, mask in MASKED.items():
        fitting = pc.sum(pc.not_equal(apply_mask(values, mask), REDACTED)).as_py() or 0
        whole[kind] = max(whole.get(kind, 0), fitting / count)
        part[kind] = max(part.get(kind, 0), whole[kind])
    for kind, pattern in (("CHINESE_NAME", _CHINESE_NAME), ("LATIN_NAME", _LATIN_NAME)):
        share = (pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0) / count
        if share >= 0.2:
            whole[kind] = part[kind] = share
    part = whole if numbers else part
    return Contents(
        {kind: share for kind, share in whole.items() if share > 0},
        {kind: share for kind, share in part.items() if share > 0},
    )


def share_text(share: float) -> str:
    """Return a share in whole per cent, without telling single values.

    >>> share_text(0.004), share_text(0.5), share_text(0.999)
    ('under 1 %', '50 %', 'over 99 %')
    """
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")
