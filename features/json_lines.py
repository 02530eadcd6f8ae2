"""Events as JSON lines: an object a line, its keys the descriptor's columns; typed like what is stored already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import IO, Any, Final

import pyarrow as pa

from privacy.errors import BadInput
from privacy.json_files import parse_strict

from .datasets.descriptor import Descriptor
from .datasets.tables import Kind, Table
from .source_columns import column_sql, quoted
from .sources import connected, in_utc

__all__ = ["MOST_LINES", "PUSHED", "TABLE", "BadLine", "lines_in", "read_events", "taken"]

PUSHED: Final[tuple[str, ...]] = ("transactions", "interactions")
"""The tables that events are rows of."""
TABLE: Final = "table"
"""The key that names an event's table; order lines may leave it out."""
MOST_LINES: Final = 1_000_000
MOST_BYTES: Final = 500_000_000
"""What is pushed at once is in memory, several times over."""
LONGEST: Final = 4_000_000


class BadLine(BadInput):
    """A line that is no event; `line` is its number."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        self.line = line
        super().__init__(f"line {line} {what}", remedy=remedy)


class _Number(str):
    """A number as it was written: no digit is lost on the way to its column."""

    __slots__ = ()


def lines_in(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is longer than any event, no more than shows that it is."""
    return iter(partial(file.readline, LONGEST + 1), b"")


def taken(lines: Iterable[bytes], first: int = 1) -> list[bytes]:
    """Return all of `lines`, counted from `first`, blank ones too; BadInput where that is more than fits in a push."""
    held, size = list[bytes](), 0
    for number, line in enumerate(lines, first):
        if len(line) > LONGEST:
            raise BadLine(number, f"is longer than {LONGEST:,} bytes", "write an event a line")
        size += len(line)
        if len(held) == MOST_LINES or size > MOST_BYTES:
            most = f"{MOST_LINES:,} lines or {MOST_BYTES // 1_000_000} MB"
            raise BadInput(f"more than {most} at once", remedy="push them in parts, or run `custos ingest`")
        held.append(line)
    return held


def read_events(
    lines: Iterable[bytes], descriptor: Descriptor, stored: Mapping[str, pa.Schema], first: int = 1
) -> dict[str, pa.RecordBatch]:
    """Return the events of each table, typed as its `stored` columns are; what can't be cast is null, and text beside.

    `lines` are UTF-8, counted from `first`; blank ones are passed over. Raises BadInput, naming the first such line,
    for what is no JSON object, names a table or column that the descriptor doesn't have, or holds a list or an object;
    and where there is no event. Whose such a line is can't be known, so none of them could be kept for
    its person's sake.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        name, event = _event(line, number, descriptor)
        rows.setdefault(name, []).append(event)
    if not rows:
        raise BadInput("there are no events", remedy="give an event a line, as JSON")
    with closing(connected(descriptor.time_zone)) as connection:
        return {
            name: _typed(connection, _typed_as(descriptor.tables[name], events, stored.get(name)), events)
            for name, events in rows.items()
        }


def _event(line: bytes, number: int, descriptor: Descriptor) -> tuple[str, dict[str, Any]]:
    """One line's table and values; texts, or None."""
    found = _parsed(line, number)
    name = found.pop(TABLE, PUSHED[0])
    if name not in PUSHED or name not in descriptor.tables:
        known = ", ".join(table for table in PUSHED if table in descriptor.tables)
        raise BadLine(number, "is of a table that events can't be of", f"use one of: {known}")
    if not found.keys() <= descriptor.tables[name].columns.keys():
        columns = ", ".join(descriptor.tables[name].columns)
        what = f"has a key that is no column of '{name}' in the descriptor"
        raise BadLine(number, what, f"its columns are {columns}")
    table = descriptor.tables[name]
    for column, value in found.items():
        if isinstance(value, bool) and table.role_of(column) != "attribute":
            raise BadLine(number, "has yes or no for an id", "give ids as text or whole numbers")
    return name, {column: _text(value, number) for column, value in found.items()}


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = parse_strict(line, _Number)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadLine(number, "is no JSON object", "write an object a line in UTF-8, each key once")
    return found


def _text(value: object, number: int) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeEncodeError:
        pass
    raise BadLine(number, "has a value that is no text, number, yes or no", "give each column one value")


def _typed_as(table: Table, events: list[dict[str, Any]], stored: pa.Schema | None) -> Table:
    """`table` with the type of every column told, where the descriptor leaves it to the source."""
    columns = {}
    for name, column in table.columns.items():
        kind = table.kind_of(name)
        if kind is None and table.role_of(name) != "attribute":
            given = [event[name] for event in events if event.get(name) is not None]
            kind = "int" if given and all(isinstance(value, _Number) for value in given) else "string"
        elif kind is None and stored is not None and name in stored.names:
            kind = _kind(stored.field(name).type)
        columns[name] = column.model_copy(update={"type": kind or "string"})
    return table.model_copy(update={"columns": columns})


def _kind(held: pa.DataType) -> Kind:
    if pa.types.is_integer(held):
        return "int"
    if pa.types.is_floating(held):
        return "float"
    if pa.types.is_timestamp(held):
        return "timestamp"
    if pa.types.is_date(held):
        return "date"
    return "boolean" if pa.types.is_boolean(held) else "string"


def _typed(connection: Any, table: Table, events: list[dict[str, Any]]) -> pa.RecordBatch:
    texts = pa.table({name: pa.array([event.get(name) for event in events], pa.string()) for name in table.columns})
    connection.register("events", texts)
    columns = ", ".join(column_sql(table, name, quoted(name), "VARCHAR") for name in table.columns)
    [batch] = connection.sql(f"SELECT {columns} FROM events").to_arrow_table().combine_chunks().to_batches()
    connection.unregister("events")
    return in_utc(batch)
