"""Reading a shop's own tables: DuckDB streams the declared columns, typed, and never spills to disk.

A value that can't be cast becomes null in its column and stays as text in the column `NAME raw`,
so that the contract can refuse the row and the quarantine keep what was written. `NAME lost` says where a column's own
SQL made nothing of filled cells.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from privacy.errors import BadInput, CustosError

from .datasets.database import Database
from .datasets.descriptor import Descriptor
from .datasets.tables import LOADER, Table
from .expressions import references
from .source_columns import RAW, column_sql, lost_sql, quoted
from .source_databases import Answer, asked
from .source_files import format_of, listed, literally, matching, unequal
from .text_files import TEXT, csv_sql

__all__ = ["BATCH_ROWS", "RAW", "Source", "batches", "connected", "in_utc", "lock", "opened", "unreadable"]

BATCH_ROWS: Final = 131_072
MEMORY: Final = "1GB"


@dataclass
class Source:
    """One table of a shop, opened: what its source holds, and which declared columns it can't give."""

    table: Table
    connection: duckdb.DuckDBPyConnection
    origin: str
    prefix: str
    answer: Answer | None = None
    present: list[str] = field(default_factory=list)
    """The columns of the source, as it writes them."""
    selected: dict[str, str] = field(default_factory=dict)
    """Declared column -> its SQL."""
    problems: dict[str, BadInput] = field(default_factory=dict)
    """Declared column -> why it can't be read; '' stands for the table."""
    files: tuple[Path, ...] = ()
    """The files that `origin` reads, none where it isn't files."""

    def query(self, origin: str | None = None) -> str:
        """Return the SQL of the columns that can be read, of the whole source or of another `origin` like it."""
        return f"SELECT {', '.join(self.selected.values())} FROM {origin or self.origin}{_where(self.table)}"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the columns that can be read; a source is read once."""
        try:
            for batch in self.connection.sql(self.query()).to_arrow_reader(BATCH_ROWS):
                yield in_utc(batch)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._failed(error) from None

    def look(self) -> None:
        """See what is there of what the descriptor declares."""
        table, connection = self.table, self.connection
        try:
            rows = connection.sql(f"DESCRIBE SELECT * FROM {self.origin}").fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._failed(error) from None
        self.present = [str(row[0]) for row in rows if not str(row[0]).startswith(self.prefix or "\0")]
        known = {str(row[0]).lower() for row in rows}
        for name, column in table.columns.items():
            if column.source is not None and column.source.lower() not in known:
                what = f"the source of table '{table.name}' has no column '{column.source}' for '{name}'"
                self.problems[name] = BadInput(what, where=table.place, remedy="mend the descriptor or the file")
        self._look_at_sql()
        wanted = {name: self._expression(name) for name in table.columns if name not in self.problems}
        try:
            held = self._held(wanted, _where(table))
        except duckdb.Error:
            held = self._one_by_one(wanted)
        for name, kind in held.items():
            try:
                self.selected[name] = column_sql(table, name, wanted[name], kind) + self._lost(name, wanted[name])
            except BadInput as problem:
                self.problems[name] = problem

    def _look_at_sql(self) -> None:
        """Refuse SQL that refers to anything but columns: to the relation, which is whole rows, or to its file."""
        table, known = self.table, {name.lower() for name in self.present}
        written = {name: column.sql for name, column in table.columns.items() if column.sql is not None}
        for name, sql in {**written, **({"": table.where} if table.where else {})}.items():
            missing = sorted(names[0] for names in references(sql, f"{table.name}.{name}") if names[0] not in known)
            if missing:
                what = f"table '{table.name}': no column '{missing[0]}' in its source"
                self.problems[name] = BadInput(what, where=table.place, remedy="mend the descriptor")

    def _expression(self, name: str) -> str:
        column = self.table.columns[name]
        return f"({column.sql}\n)" if column.sql is not None else quoted(f"{self.prefix}{column.source}")

    def _lost(self, name: str, expression: str) -> str:
        """What says of each row whether a column's own SQL lost it; nothing where it reads no column."""
        sql = self.table.columns[name].sql
        read = {parts[0] for parts in references(sql, f"{self.table.name}.{name}")} if sql is not None else set()
        columns = [f"{self.prefix}{each}" for each in self.present if each.lower() in read]
        return f", {lost_sql(name, expression, columns)}" if columns else ""

    def _held(self, wanted: Mapping[str, str], where: str = "") -> dict[str, str]:
        """Column -> the type of its expression in the source; asked together, as a text file is sniffed each time."""
        listed = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in wanted.items()) or "1"
        rows = self.connection.sql(f"DESCRIBE SELECT {listed} FROM {self.origin}{where}").fetchall()
        return {name: str(row[1]).partition("(")[0] for name, row in zip(wanted, rows, strict=bool(wanted))}

    def _one_by_one(self, wanted: Mapping[str, str]) -> dict[str, str]:
        held: dict[str, str] = {}
        try:
            self._held({}, _where(self.table))
        except duckdb.Error as error:
            self.problems[""] = _bad_sql(self.table, error)
        for name, expression in wanted.items():
            try:
                held |= self._held({name: expression})
            except duckdb.Error as error:
                self.problems[name] = _bad_sql(self.table, error)
        return held

    def _failed(self, error: Exception) -> CustosError:
        return (self.answer.failure if self.answer else None) or unreadable(self.table, error)


def batches(descriptor: Descriptor, table: Table) -> Iterator[pa.RecordBatch]:
    """Stream the declared columns of `table`, typed, times in UTC, and the `raw` texts beside them.

    Naive times are the shop's own time zone, and a `date` that orders are dated by is midnight there.
    Raises BadInput for a missing file or column, or a file that can't be read; EnvironmentFailed for a database.
    """
    with opened(descriptor, table) as source:
        for problem in source.problems.values():
            raise problem
        yield from source.batches()


@contextmanager
def opened(descriptor: Descriptor, table: Table, files: Sequence[Path] | None = None) -> Iterator[Source]:
    """Open the source of `table`, or only these `files` of it; what its columns lack is told in `problems`.

    Raises BadInput for a missing file, one that can't be read, and files whose columns aren't equal.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(connected(descriptor.time_zone))
        if isinstance(table.source, Database):
            answer = stack.enter_context(asked(table.source, descriptor.base_dir, descriptor.environment, table.name))
            connection.register("arrow_source", answer.reader())
            source = Source(table, connection, "arrow_source", "", answer)
        else:
            origin, prefix, found = _origin(connection, descriptor, table, files)
            source = Source(table, connection, origin, prefix, files=found)
        lock(connection, [])
        source.look()
        yield source


def connected(time_zone: str, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """Open a database in memory whose clock is the shop's and that spills nothing to disk; to be closed."""
    connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": "", "threads": threads})
    connection.execute(f"SET TimeZone = '{time_zone}'")
    return connection


def lock(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """From here on SQL reads these files and nothing else, and changes no setting: the descriptor's own runs too."""
    if connection.sql("SELECT current_setting('lock_configuration')").fetchall() == [(False,)]:
        connection.execute(f"SET allowed_paths = {listed([*files, *literally(files)])}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def _origin(
    connection: duckdb.DuckDBPyConnection, descriptor: Descriptor, table: Table, files: Sequence[Path] | None
) -> tuple[str, str, tuple[Path, ...]]:
    """Return what to select from, what a column of `from` is prefixed with there, and which files it reads."""
    found = _call(table) if LOADER.match(table.place) else table.place
    if not isinstance(found, str):
        connection.register("arrow_source", found)
        return "arrow_source", "", ()
    try:
        files = matching(descriptor.base_dir, found) if files is None else files
    except BadInput as error:
        raise BadInput(f"table '{table.name}': {error.what}", where=error.where, remedy=error.remedy) from None
    if not files:
        raise BadInput(f"table '{table.name}': no file '{found}'", remedy="put it beside the descriptor")
    kind = format_of(files)
    if kind is None:
        raise BadInput(f"table '{table.name}': can't read '{found}'", remedy="give parquet, csv or csv.gz")
    lock(connection, files)
    try:
        differing = unequal(connection, files)
        if differing:
            more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
            what = f"table '{table.name}': the files don't have equal columns: {differing[0]}{more}"
            raise BadInput(what, where=found, remedy="mend the files, or give each kind a table of its own")
        named = listed(literally(files))
        if kind == "parquet":
            return f"read_parquet({named}, union_by_name = true)", "", tuple(files)
        return csv_sql(connection, table, named), TEXT, tuple(files)
    except (duckdb.Error, OSError) as error:
        raise unreadable(table, error) from None


def _call(table: Table) -> str | pa.Table | pa.RecordBatchReader:
    module_name, _, function = table.place.partition(":")
    try:
        loader = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, SyntaxError):
        raise BadInput(f"table '{table.name}': there is no loader '{table.place}'") from None
    try:
        loaded = loader()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the shop's own code may raise anything, quoting anything
        what = f"table '{table.name}': the loader '{table.place}' failed ({type(error).__name__})"
        raise BadInput(what, remedy="run it by itself to see why") from None
    if isinstance(loaded, Path):
        return str(loaded.absolute())
    if isinstance(loaded, str | pa.Table | pa.RecordBatchReader):
        return loaded
    raise BadInput(f"table '{table.name}': '{table.place}' must return a path or an Arrow table or reader")


def _where(table: Table) -> str:
    return f" WHERE ({table.where}\n)" if table.where else ""  # the line's end closes a comment


def in_utc(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return `batch` with all moments in UTC."""
    utc = pa.timestamp("us", "UTC")
    columns = [column.cast(utc) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _bad_sql(table: Table, error: duckdb.Error) -> BadInput:
    # Bound before any row is read: DuckDB's words name columns of the source, no value.
    missing = re.search(r'[Rr]eferenced column "([^"]+)" (?:was )?not found', str(error))
    what = f"no column '{missing[1]}' in its source" if missing else "its sql or where can't be understood"
    return BadInput(f"table '{table.name}': {what}", where=table.place, remedy="mend the descriptor")


def unreadable(table: Table, error: Exception) -> BadInput:
    """Return what is told of a source that can't be read: the cause's own text may quote a value, so its class."""
    return BadInput(
        f"table '{table.name}' can't be read ({type(error).__name__})",
        where=table.place,
        remedy="check that it is whole, UTF-8 and of the type its name says (`custos dataset check` names the file)",
    )
