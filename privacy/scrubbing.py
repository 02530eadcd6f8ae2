"""Free text without what identifies people in it: found by pattern, check digit and context word, replaced by its kind.

No model, no network: what no pattern describes stays, above all names without a title or a word before them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput
from privacy.scrub_patterns import KINDS, PATTERNS
from privacy.scrub_people import Pattern

__all__ = ["KINDS", "Found", "find_pii", "scrub"]

_INVISIBLE: Final = frozenset(
    "\u00ad\u034f\u061c\u180e\ufeff"
    + "".join(map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))))
)
"""Signs without a shape, which come along when something is copied."""
_SPACES: Final = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"
_JOINERS: Final = "＋．／＿＠（）"
_LOOKING_ALIKE: Final = (*range(0xFF10, 0xFF5B), *range(0x1D400, 0x1D800), *range(0x660, 0x66A), *range(0x6F0, 0x6FA))
"""Full-width and mathematical letters and digits, and Arabic ones."""


def _ascii_signs() -> Iterator[tuple[int, str]]:
    yield from ((ord(sign), " ") for sign in _SPACES)
    yield from ((ord(sign), "-") for sign in _HYPHENS)
    yield from ((ord(sign), chr(ord(sign) - 0xFEE0)) for sign in _JOINERS)
    for code in _LOOKING_ALIKE:
        digit = unicodedata.decimal(chr(code), None)
        plain = unicodedata.normalize("NFKC", chr(code)) if digit is None else str(digit)
        if len(plain) == 1 and plain.isascii() and plain.isalnum():
            yield code, plain


_SIGNS: Final = dict(_ascii_signs())
"""What only looks different from an ASCII letter, digit, space or joiner -> that sign, one for one."""


def _ranges(codes: Iterable[int]) -> Iterator[str]:
    """`a-z` of neighbours: a class of ranges is searched far faster than one of signs."""
    ordered = sorted(codes)
    starts = [at for at, code in enumerate(ordered) if code - 1 != ordered[at - 1]]
    for start, end in pairwise([*starts, len(ordered)]):
        yield f"{chr(ordered[start])}-{chr(ordered[end - 1])}"


_ODD: Final = re.compile(f"[{''.join(_ranges({*_SIGNS, *map(ord, _INVISIBLE)}))}]")


_PARTED: Final = re.compile("[ \\t]{0,2}[-/+._,][ \\t]{0,2}(?=[0-9A-Za-z(+])")
_LONGEST: Final = 320
"""Characters that no pattern of a number exceeds."""
_Span = tuple[int, int, int, str]
"""Start, end, the pattern's rank, kind."""


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of a text, [start, end) in characters, and what it is; never the text itself."""

    kind: str
    start: int
    end: int


def find_pii(text: str, kinds: Iterable[str] | None = None, *, region: str = "US") -> list[Found]:
    """What identifies people in `text`, from left to right, without overlaps; work is proportional to its length.

    `kinds` (all of `KINDS` unless said; one or several) are looked for; `region` is where national phone numbers are
    read (ISO 3166-1). BadInput for an unknown kind or region, and for what is no text.

    >>> find_pii("邮箱a.b@example.cn，电话 13812345678")
    [Found(kind='EMAIL', start=2, end=16), Found(kind='PHONE', start=20, end=31)]
    """
    if not isinstance(text, str):
        raise BadInput(f"a {type(text).__name__} is no text", remedy="give a string; scrub takes columns and lists")
    return _found(text, _chosen(kinds, region), region)


def scrub(
    texts: pa.Array | pa.ChunkedArray | Sequence[str | None], kinds: Iterable[str] | None = None, *, region: str = "US"
) -> pa.StringArray:
    """The texts, (n,) string, with `<KIND>` where `find_pii` finds something; nulls stay null.

    `texts` is an Arrow column, or what Arrow makes one of: a list, a pandas Series. `kinds` and `region` are as of
    `find_pii`. BadInput for a text by itself and for what isn't text.

    >>> scrub(["write to ada@example.org"]).to_pylist()
    ['write to <EMAIL>']
    >>> scrub(pa.array(["call +44 20 7946 0958", "version 1.2.3", None])).to_pylist()
    ['call <PHONE>', 'version 1.2.3', None]
    """
    patterns = _chosen(kinds, region)
    texts = _column(texts)
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
    for is_open, text in zip(gates[:, rows].T.tolist(), texts.take(pa.array(rows)).to_pylist(), strict=True):
        open_ones = list(compress(patterns, is_open))
        replaced.append("".join(_parts(text, _found(text, open_ones, region))))
    chosen = np.zeros(len(texts), np.bool_)
    chosen[rows] = True
    return pc.replace_with_mask(texts, pa.array(chosen), pa.array(replaced, pa.string()))


def _column(texts: object) -> pa.Array | pa.ChunkedArray:
    if isinstance(texts, (pa.Array, pa.ChunkedArray)):
        return texts
    if isinstance(texts, (str, bytes)):
        raise BadInput("scrub takes many texts, not one", remedy="put it into a list: scrub([text])")
    try:
        return pa.array(None if isinstance(texts, dict) else texts, pa.string())
    except (TypeError, ValueError, pa.ArrowException):  # their messages may hold the text
        raise BadInput(
            f"a {type(texts).__name__} is no column of text", remedy="give an Arrow array or a list of strings"
        ) from None


def _chosen(kinds: Iterable[str] | None, region: str) -> Sequence[Pattern]:
    from phonenumbers import SUPPORTED_REGIONS  # its tables take a while to load

    if not isinstance(region, str) or region not in SUPPORTED_REGIONS:
        raise BadInput(f"unknown region {region}", remedy="use two letters of ISO 3166-1, such as US or CN")
    if kinds is None:
        return PATTERNS
    wanted = {kinds} if isinstance(kinds, str) else _strings(kinds)
    unknown = sorted(wanted - set(KINDS))
    if unknown:
        raise BadInput(f"unknown kind {unknown[0]}", remedy=f"use {', '.join(KINDS)}")
    return [pattern for pattern in PATTERNS if pattern.kind in wanted]


def _strings(kinds: object) -> set[str]:
    listed = list(kinds) if isinstance(kinds, Iterable) else [kinds]
    strings = {kind for kind in listed if isinstance(kind, str)}
    if not all(isinstance(kind, str) for kind in listed):
        raise BadInput("kinds are no list of strings", remedy=f"use {', '.join(KINDS)}")
    return strings


def _gates(texts: pa.StringArray, patterns: Sequence[Pattern]) -> npt.NDArray[np.bool_]:
    """(patterns, n) bool: which texts a pattern can find anything in, by RE2 on the whole column."""
    plain, odd = texts, pc.fill_null(pc.match_substring_regex(texts, _ODD.pattern), False)
    if odd.true_count:
        spelled = [_plain(text)[0] for text in texts.filter(odd).to_pylist()]
        plain = pc.replace_with_mask(texts, odd, pa.array(spelled, pa.string()))
    seen: dict[str, npt.NDArray[np.bool_]] = {}
    for pattern in patterns:
        if pattern.gate not in seen:
            opened = pc.fill_null(pc.match_substring_regex(plain, pattern.gate), False)
            seen[pattern.gate] = opened.to_numpy(zero_copy_only=False)
    return np.array([seen[pattern.gate] for pattern in patterns]).reshape(len(patterns), len(texts))


def _found(text: str, patterns: Sequence[Pattern], region: str) -> list[Found]:
    """Overlaps are one stretch, of the kind that ranks first."""
    plain, places = _plain(text)
    spans = _spans(plain, patterns, region)
    if places is not None:
        spans = [(places[start], places[end - 1] + 1, rank, kind) for start, end, rank, kind in spans]
        # A sign without a shape may also part a word from the number behind it.
        spans += _spans(text.translate(_SIGNS), patterns, region)
    merged: list[_Span] = []
    for start, end, rank, kind in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            first = min((before[2], before[3]), (rank, kind))
            merged[-1] = (before[0], max(before[1], end), *first)
        else:
            merged.append((start, end, rank, kind))
    return [Found(kind, start, end) for start, end, _, kind in merged]


def _plain(text: str) -> tuple[str, list[int] | None]:
    """The text as patterns read it, and where each of its signs stood, where some were left out."""
    if text.isascii() or not _ODD.search(text):
        return text, None
    plain = text.translate(_SIGNS)
    if _INVISIBLE.isdisjoint(plain):
        return plain, None
    places = [at for at, sign in enumerate(plain) if sign not in _INVISIBLE]
    return "".join(plain[at] for at in places), places


def _spans(text: str, patterns: Sequence[Pattern], region: str) -> list[_Span]:
    found = []
    for rank, pattern in enumerate(patterns):
        group = 1 if pattern.regex.groups else 0
        at = 0
        while match := pattern.regex.search(text, at):
            at, start = match.end(), match.start(group)
            length = pattern.check(match[group], region)
            if not length:
                continue
            begin = pattern.begin(text, start) if pattern.begin else start
            at = start + length
            found.append((begin, at, rank, pattern.kind))
            while pattern.again and (more := pattern.again.match(text, at)):
                start = more.start(1)
                at = start + pattern.check(more[1], region)
                found.append((start, at, rank, pattern.kind))
    return found + list(_next_to(text, found, patterns, region))


def _next_to(text: str, found: Iterable[_Span], patterns: Sequence[Pattern], region: str) -> Iterator[_Span]:
    """Numbers that a `-` or `/` parts from what was found: elsewhere such a sign makes them the tail of a code."""
    ends = [span[1] for span in found]
    seen = set()
    while ends:
        end = ends.pop()
        parted = _PARTED.match(text, end)
        if parted is None or end in seen:
            continue
        seen.add(end)
        start = parted.end()
        rest = text[start : start + _LONGEST]
        for rank, pattern in enumerate(patterns):
            match = None if pattern.regex.groups or pattern.begin else pattern.regex.match(rest)
            length = pattern.check(match[0], region) if match else 0
            if length:
                yield start, start + length, rank, pattern.kind
                ends.append(start + length)


def _parts(text: str, found: Iterable[Found]) -> Iterator[str]:
    at = 0
    for each in found:
        yield text[at : each.start]
        yield f"<{each.kind}>"
        at = each.end
    yield text[at:]
