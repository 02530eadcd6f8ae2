"""Text in columns that stay aligned in a terminal, where a Chinese character is two cells wide (Unicode UAX 11)."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len

__all__ = ["left", "right", "widest"]


def left(text: str, cells: int) -> str:
    """Return `text` with blanks behind it, so many cells wide at least.

    >>> left("备注", 6) + "|", left("note", 6) + "|"
    ('备注  |', 'note  |')
    """
    return text + " " * (cells - cell_len(text))


def right(text: str, cells: int) -> str:
    """Return `text` with blanks before it, so many cells wide at least.

    >>> right("上海", 6)
    '  上海'
    """
    return " " * (cells - cell_len(text)) + text


def widest(texts: Iterable[str], least: int = 0) -> int:
    """Return how many cells the widest of `texts` needs, `least` at least.

    >>> widest(["备注", "id"]), widest([], 18)
    (4, 18)
    """
    return max([least, *map(cell_len, texts)])
