"""Free text without what identifies people in it: found by pattern, check digit and context word, replaced by its kind.

No model, no network: what no pattern describes stays, above all names without a title or a word before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.scrub_patterns import KINDS, PATTERNS, Pattern

__all__ = ["KINDS", "Found", "find_pii", "scrub"]

_WIDE_SIGNS: Final = "０１２３４５６７８９＋－．／＿＠" + "".join(
    chr(0xFF21 + at) + chr(0xFF41 + at) for at in range(26)
)
_BLANKS: Final = "\u00a0\u2007\u2009\u202f\u3000"
_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2212"
_WIDE: Final = (
    {ord(sign): ord(sign) - 0xFEE0 for sign in _WIDE_SIGNS}
    | {ord(sign): ord(" ") for sign in _BLANKS}
    | {ord(sign): ord("-") for sign in _HYPHENS}
)
"""Full-width digits, letters and joiners, typeset blanks and hyphens to ASCII, one for one: places in the text stay."""
_HAS_WIDE: Final = re.compile(f"[{_WIDE_SIGNS}{_BLANKS}{_HYPHENS}]")


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of a text, [start, end) in characters, and what it is; never the text itself."""

    kind: str
    start: int
    end: int


def find_pii(text: str, kinds: Iterable[str] | None = None, *, region: str = "US") -> list[Found]:
    """What identifies people in `text`, from left to right, without overlaps; work is proportional to its length.

    `kinds` (all of `KINDS` unless said) are looked for; `region` is where national phone numbers are read
    (ISO 3166-1). BadInput for an unknown kind or region.

    >>> find_pii("邮箱a.b@example.cn，电话 13812345678")
    [Found(kind='EMAIL', start=2, end=16), Found(kind='PHONE', start=20, end=31)]
    """
    return _found(text, _chosen(kinds, region), region)


def scrub(
    texts: pa.Array | pa.ChunkedArray, kinds: Iterable[str] | None = None, *, region: str = "US"
) -> pa.StringArray:
    """The texts, (n,) string, with `<KIND>` where `find_pii` finds something; nulls stay null.

    >>> scrub(pa.array(["call +44 20 7946 0958", "version 1.2.3", None])).to_pylist()
    ['call <PHONE>', 'version 1.2.3', None]
    """
    patterns = _chosen(kinds, region)
    if isinstance(texts, pa.ChunkedArray):
        texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.string())
    if pa.types.is_dictionary(texts.type):
        return scrub(texts.dictionary, kinds, region=region).take(texts.indices)
    if not any(
        is_kind(texts.type)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    ):
        raise BadInput(f"a column of {texts.type} is no text", remedy="scrub text columns")
    texts = texts.cast(pa.string())
    gates = _gates(texts, patterns)
    rows = np.flatnonzero(gates.any(axis=0))
    if not len(rows):
        return texts
    replaced = []
    for row, text in zip(rows, texts.take(pa.array(rows)).to_pylist(), strict=True):
        open_ones = [pattern for pattern, is_open in zip(patterns, gates[:, row], strict=True) if is_open]
        replaced.append("".join(_parts(text, _found(text, open_ones, region))))
    chosen = np.zeros(len(texts), np.bool_)
    chosen[rows] = True
    return pc.replace_with_mask(texts, pa.array(chosen), pa.array(replaced, pa.string()))


def _chosen(kinds: Iterable[str] | None, region: str) -> Sequence[Pattern]:
    from phonenumbers import SUPPORTED_REGIONS  # its tables take a while to load

    if region not in SUPPORTED_REGIONS:
        raise BadInput(f"unknown region {region}", remedy="use two letters of ISO 3166-1, such as US or CN")
    if kinds is None:
        return PATTERNS
    wanted = set(kinds)
    unknown = sorted(wanted - set(KINDS))
    if unknown:
        raise BadInput(f"unknown kind {unknown[0]}", remedy=f"use {', '.join(KINDS)}")
    return [pattern for pattern in PATTERNS if pattern.kind in wanted]


def _gates(texts: pa.StringArray, patterns: Sequence[Pattern]) -> npt.NDArray[np.bool_]:
    """(patterns, n) bool: which texts a pattern can find anything in, by RE2 on the whole column."""
    plain = texts
    if pc.any(pc.match_substring_regex(texts, _HAS_WIDE.pattern)).as_py():
        plain = pc.replace_substring_regex(pc.utf8_normalize(texts, "NFKC"), f"[{_HYPHENS}]", "-")
    seen: dict[str, npt.NDArray[np.bool_]] = {}
    for pattern in patterns:
        if pattern.gate not in seen:
            opened = pc.fill_null(pc.match_substring_regex(plain, pattern.gate), False)
            seen[pattern.gate] = opened.to_numpy(zero_copy_only=False)
    return np.array([seen[pattern.gate] for pattern in patterns]).reshape(len(patterns), len(texts))


def _found(text: str, patterns: Sequence[Pattern], region: str) -> list[Found]:
    """Overlaps are one stretch, of the kind that ranks first."""
    if _HAS_WIDE.search(text):
        text = text.translate(_WIDE)
    spans = sorted(_spans(text, patterns, region))
    merged: list[tuple[int, int, int, str]] = []
    for start, end, rank, kind in spans:
        if merged and start < merged[-1][1]:
            before = merged[-1]
            first = min((before[2], before[3]), (rank, kind))
            merged[-1] = (before[0], max(before[1], end), *first)
        else:
            merged.append((start, end, rank, kind))
    return [Found(kind, start, end) for start, end, _, kind in merged]


def _spans(text: str, patterns: Sequence[Pattern], region: str) -> Iterator[tuple[int, int, int, str]]:
    for rank, pattern in enumerate(patterns):
        group = 1 if pattern.regex.groups else 0
        for match in pattern.regex.finditer(text):
            length = pattern.check(match[group], region)
            if length:
                start = match.start(group)
                begin = pattern.begin(text, start) if pattern.begin else start
                yield begin, start + length, rank, pattern.kind


def _parts(text: str, found: Iterable[Found]) -> Iterator[str]:
    at = 0
    for each in found:
        yield text[at : each.start]
        yield f"<{each.kind}>"
        at = each.end
    yield text[at:]
