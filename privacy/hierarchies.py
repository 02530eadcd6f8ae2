"""Hierarchies of values as people write them: nested, child to parent, a table of levels, or a list in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from privacy.errors import BadInput

__all__ = ["Hierarchy", "parse_hierarchy"]

MOST_LEVELS: Final = 32


@dataclass(frozen=True)
class Hierarchy:
    """Every value's path from below the root down to itself, neighbours together; `ordered` values have no tree."""

    paths: tuple[tuple[str, ...], ...]
    ordered: bool


def parse_hierarchy(given: object, column: str) -> Hierarchy:
    """Read one column's hierarchy; BadInput naming the column for cycles, doubled values, gaps and anything else.

    >>> parse_hierarchy(["low", "middle", "high"], "income").ordered
    True
    >>> parse_hierarchy({"Owner": ["Owns", "Probably owns"], "Renter": ["Rents"]}, "home").paths
    (('Owner', 'Owns'), ('Owner', 'Probably owns'), ('Renter', 'Rents'))
    >>> parse_hierarchy({"Rome": "Italy", "Milan": "Italy", "Paris": "France"}, "city").paths
    (('Italy', 'Rome'), ('Italy', 'Milan'), ('France', 'Paris'))
    """
    if isinstance(given, pa.Table):
        return _tree(_levels([list(row.values()) for row in given.to_pylist()], column), column)
    if isinstance(given, Mapping) and given:
        if any(isinstance(below, Mapping | list | tuple) for below in given.values()):
            return _tree(_nested(given, column, ()), column)
        return _tree(_upward(given, column), column)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and given:
        if all(isinstance(row, list | tuple) for row in given):
            return _tree(_levels(given, column), column)
        return Hierarchy(tuple((_name(value, column),) for value in _once(given, column)), ordered=True)
    raise _unusable("is empty or neither a mapping nor a list", column)


def _unusable(why: str, column: str) -> BadInput:
    return BadInput(f"the hierarchy of {column} {why}", where=column, remedy="mend the hierarchy")


def _name(value: object, column: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as Arrow writes it
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # likewise: 2.0 is 2
    if value is None or not isinstance(value, str | int | float) or value == "":
        raise _unusable("has a gap: a value or level without a name", column)
    return str(value)


def _once(values: Iterable[object], column: str) -> Iterable[object]:
    values = list(values)
    if len({_name(value, column) for value in values}) < len(values):
        raise _unusable("lists a value twice", column)
    return values


def _nested(given: object, column: str, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(above) > MOST_LEVELS:
        raise _unusable(f"is more than {MOST_LEVELS} levels deep", column)
    if isinstance(given, Mapping):
        for name, below in given.items():
            here = (*above, _name(name, column))
            yield from _nested(below, column, here) if below else [here]
    elif isinstance(given, list | tuple):
        for value in given:
            yield (*above, _name(value, column))
    else:
        yield (*above, _name(given, column))


def _upward(given: Mapping[object, object], column: str) -> Iterator[tuple[str, ...]]:
    """Paths of those values that are nobody's parent."""
    parents = {_name(child, column): None if up is None else _name(up, column) for child, up in given.items()}
    inner = set(parents.values())
    for value in parents:
        path, at = [value], parents[value]
        while at is not None:
            if len(path) > MOST_LEVELS:
                raise _unusable(f"goes in a circle, or over more than {MOST_LEVELS} levels", column)
            path.append(at)
            at = parents.get(at)
        if value not in inner:
            yield tuple(reversed(path))


def _levels(rows: Sequence[Sequence[object]], column: str) -> Iterator[tuple[str, ...]]:
    """Paths of rows `value, level above, level above that, ...`, all of one length."""
    if len({len(row) for row in rows}) > 1 or not rows or not rows[0]:
        raise _unusable("has rows of different length, or none", column)
    for row in rows:
        yield tuple(_name(value, column) for value in reversed(row))


def _tree(paths: Iterable[tuple[str, ...]], column: str) -> Hierarchy:
    """Neighbours put together, one common root left out."""
    found = list(paths)
    if not found:
        raise _unusable("goes in a circle", column)
    _once((path[-1] for path in found), column)
    if any(not path for path in found):
        raise _unusable("has an empty path", column)
    while len(found) > 1 and len({path[0] for path in found}) == 1 and all(len(path) > 1 for path in found):
        found = [path[1:] for path in found]
    places: dict[tuple[str, ...], int] = {}
    for path in found:
        for depth in range(1, len(path) + 1):
            places.setdefault(path[:depth], len(places))
    inner = {path[:depth] for path in found for depth in range(1, len(path))}
    if any(path in inner for path in found):
        raise _unusable("has a value that is also a level", column)
    found.sort(key=lambda path: [places[path[:depth]] for depth in range(1, len(path) + 1)])
    return Hierarchy(tuple(found), ordered=False)
