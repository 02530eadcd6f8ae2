"""The mask of names: a Chinese surname, compound ones from a table, or a first letter."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import TextMask, fitting
from privacy.masks._characters import columns_of, lengths_of

__all__ = ["COMPOUND_SURNAMES", "Name"]

_TWO_CHARACTERS: Final = (
    "欧阳司马上官诸葛东方皇甫尉迟公孙慕容令狐司徒司空夏侯端木轩辕宇文长孙独孤南宫拓跋"
    "申屠呼延闻人澹台公冶宗政濮阳淳于单于太史仲孙钟离鲜于闾丘百里东郭西门南门公羊第五"
    "歐陽司馬諸葛東方尉遲公孫長孫獨孤南宮鍾離"
)
COMPOUND_SURNAMES: Final = tuple(sorted({_TWO_CHARACTERS[at : at + 2] for at in range(0, len(_TWO_CHARACTERS), 2)}))
_KEYS: Final = np.array(sorted(int.from_bytes(name.encode(), "little") for name in COMPOUND_SURNAMES), np.uint64)
_BEGINNINGS: Final = np.isin(np.arange(1 << 16), np.array([ord(name[0]) for name in COMPOUND_SURNAMES]))
_BEHIND: Final = 2**31 - 1
_HAN: Final = 3
"""Bytes of one of the common Chinese characters in UTF-8."""


class Name(TextMask):
    """A Chinese name keeps its surname, another its first letter; the length isn't told.

    >>> Name().apply(pa.array(["欧阳娜娜", "王芳", "Ada Lovelace", "7up"])).to_pylist()
    ['欧阳**', '王**', 'A**', '***']
    """

    name = "name"

    def _masked_text(self, text: pa.StringArray) -> pa.Array:
        columns, lengths = columns_of(text, 8), lengths_of(text)
        masked = pc.utf8_replace_slice(text, 1, _BEHIND, "**")
        latin = ((columns[0] | 0x20) - np.uint8(ord("a")) < 26) & (lengths > 1)
        code = _code_points(columns)
        han = (columns[0] >> 4 == 0xE) & (code >= 0x3400) & (code <= 0x9FFF) & (lengths > _HAN)
        fits = latin | han
        rows = np.flatnonzero(han & _BEGINNINGS[code] & (lengths > 2 * _HAN) & (lengths <= 8 * _HAN))
        pairs = np.ascontiguousarray(columns[:, rows].T).view("<u8").ravel() & np.uint64(0xFFFF_FFFF_FFFF)
        rows = rows[np.isin(pairs, _KEYS)]
        if len(rows):
            compound = np.zeros(len(text), np.bool_)
            compound[rows] = True
            both = pc.utf8_replace_slice(text.take(pa.array(rows)), 2, _BEHIND, "**")
            masked = pc.replace_with_mask(masked, pa.array(compound), both)
        if not fits.all():
            others = np.flatnonzero(~fits)
            lettered = pc.match_substring_regex(text.take(pa.array(others)), r"^\p{L}(?s:.)")
            fits[others] = pc.fill_null(lettered, False).to_numpy(zero_copy_only=False)
        return fitting(masked, fits, text)


def _code_points(columns: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """The code point of a first character of three bytes (RFC 3629); of others something below U+FFFF."""
    first, second, third = (columns[at].astype(np.uint16) for at in range(_HAN))
    return (first << 12) | ((second & 0x3F) << 6) | (third & 0x3F)
