"""How many of what, in words that agree in number: 1 row, 2 rows."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun; `many` is what more than one, or none, are called (default: `one` and an s).

    >>> counted(1, "row"), counted(12_000, "row"), counted(0, "person", "people")
    ('1 row', '12,000 rows', '0 people')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
