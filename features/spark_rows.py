"""What Spark's executors do with the rows of a shop: all that needs no key, by the functions that a driver uses.

Nothing here knows a key, a handle, a token or the vault; what is shipped to an executor is a `Work`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import pyarrow as pa

from privacy.errors import BadInput, CustosError, EnvironmentFailed
from privacy.table_plan import TablePlan
from privacy.token_tables import ID, LATEST, key_name, keyless_rows

from .datasets.tables import Table
from .intake import Judge
from .marking import met
from .quality.meter import Meter
from .splits import Split

__all__ = [
    "BAD",
    "COLUMN",
    "COUNTS",
    "EARLIEST",
    "FAULT",
    "KIND",
    "PERSON",
    "POSITION",
    "REASON",
    "TOLD",
    "Work",
    "on_executors",
    "opened_table",
    "packed",
]

KIND: Final = "custos kind"
EARLIEST: Final = "custos earliest"
POSITION: Final = "custos position"
TOLD: Final = "custos told"
COLUMN: Final = "custos column"
REASON: Final = "custos reason"
# Kinds of evidence; the name of a key column is one as well.
PERSON: Final = "custos person"
BAD: Final = "custos bad"
COUNTS: Final = "custos counts"
FAULT: Final = "custos fault"
_MOMENT: Final = pa.timestamp("us", "UTC")
_ROW_BITS: Final = 40
"""A position is the number of the part and, in so many bits, the row in it: the order of the source."""
_FAILURES: Final = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError, pa.ArrowException)
"""What reading or checking may raise, quoting a value; a CustosError never does."""


@dataclass(frozen=True)
class Work:
    """What an executor is told of one table: its parts, their columns, its contract, its plan; what to tell of rows.

    `beside` are columns told with each id, `counted` asks for bad rows, the scorecard's counts and marked values.
    """

    table: Table
    splits: tuple[Split, ...]
    source: pa.Schema
    now: dt.datetime
    plan: TablePlan
    beside: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    counted: bool = False
    late_after_days: int = 0
    marked: Mapping[str, set[str]] = field(default_factory=dict)

    @property
    def evidence_schema(self) -> pa.Schema:
        """The columns of `evidence`; a row uses those of its kind."""
        subject, source = self.plan.subject, self.source
        who = [] if subject is None else [pa.field(ID, source.field(subject.name).type)]
        return pa.schema(
            [
                pa.field(KIND, pa.string()),
                *who,
                *(pa.field(name, source.field(name).type) for name in self.beside),
                *(pa.field(key_name(name), source.field(name).type) for name in self.keys),
                pa.field(TOLD, pa.binary()),
                pa.field(LATEST, _MOMENT),
                pa.field(EARLIEST, _MOMENT),
                pa.field(POSITION, pa.int64()),
            ]
        )

    def evidence(self, number: int) -> Iterator[pa.RecordBatch]:
        """Tell of one part: who is in it, with which keys, what is bad, how much; faults are told, not raised."""
        schema = self.evidence_schema
        meter = Meter(self.table, self.now, self.late_after_days) if self.counted else None
        judge, rows, found = Judge(self.table, self.now, meter), 0, {name: set[str]() for name in self.marked}
        try:
            for batch in self.splits[number].batches():
                at = (number << _ROW_BITS) + rows
                for column, texts in met(batch, self.marked).items():
                    found[column] |= texts
                good, bad, why = judge.sort(batch)
                rows += batch.num_rows
                if self.counted and bad.num_rows:
                    yield _filled(schema, {KIND: BAD, TOLD: _written(bad, why), POSITION: at})
                if self.plan.subject is not None:
                    yield from self._people(schema, good, at)
            counts = {"rows": rows, "met": {name: sorted(texts) for name, texts in found.items()}}
            told: dict[str, Any] = {KIND: COUNTS, TOLD: json.dumps(counts | {"meter": meter and meter.told()}).encode()}
        except CustosError as error:
            told = _fault(error)
        except (*_FAILURES, duckdb.Error) as error:
            told = _fault(_failed(self.table, error))
        yield _filled(schema, told | {POSITION: number << _ROW_BITS})

    def rows(self, number: int) -> Iterator[pa.RecordBatch]:
        """Give the good rows of one part with all done that needs no key (`keyless_rows`)."""
        judge = Judge(self.table, self.now)
        try:
            for batch in self.splits[number].batches():
                yield keyless_rows(judge.sort(batch)[0], self.plan)
        except (*_FAILURES, duckdb.Error) as error:
            raise _failed(self.table, error) from None

    def _people(self, schema: pa.Schema, good: pa.RecordBatch, at: int) -> Iterator[pa.RecordBatch]:
        """Each id of some rows once with what stands beside it, and each key once with its id."""
        [who] = [rule.name for rule in self.plan.columns if rule.kind == "subject"]
        ids = good.column(who)
        dates = good.column(self.plan.dated_by).cast(_MOMENT) if self.plan.dated_by else pa.nulls(len(ids), _MOMENT)
        rows = pa.table(
            {
                ID: ids,
                **{name: good.column(name) for name in self.beside},
                "date": dates,
                "position": pa.array(range(at, at + len(ids)), pa.int64()),
            }
        )
        each = rows.group_by([ID, *self.beside], use_threads=False)
        once = each.aggregate([("date", "max"), ("date", "min"), ("position", "max")])
        once = once.select([ID, *self.beside, "date_max", "date_min", "position_max"])
        yield from _conformed(schema, once.rename_columns([ID, *self.beside, LATEST, EARLIEST, POSITION]), PERSON)
        for name in self.keys:
            pairs = pa.table({ID: ids, key_name(name): good.column(name)})
            pairs = pairs.filter(pairs[key_name(name)].is_valid()).group_by([ID, key_name(name)], use_threads=False)
            yield from _conformed(schema, pairs.aggregate([]), name)


def on_executors(
    work: Callable[[int], Iterator[pa.RecordBatch]],
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what Spark's mapInArrow runs: `work` for each number of a part that it is handed."""

    def run(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from work(number)

    return run


def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Turn Arrow batches into rows of one binary column, which Spark can hand to the driver a partition at a time."""
    for batch in batches:
        yield pa.RecordBatch.from_pydict({TOLD: pa.array([_stream(pa.Table.from_batches([batch]))], pa.binary())})


def opened_table(stream: bytes) -> pa.Table:
    """Return the Arrow table that `packed` or the evidence of bad rows wrote."""
    return pa.ipc.open_stream(stream).read_all()


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _written(bad: pa.RecordBatch, why: pa.Table) -> bytes:
    """Bad rows as they came, with column and reason of each."""
    rows = pa.Table.from_batches([bad])
    return _stream(rows.append_column(COLUMN, why["column"]).append_column(REASON, why["reason"]))


def _conformed(schema: pa.Schema, rows: pa.Table, kind: str) -> Iterator[pa.RecordBatch]:
    """The rows with all columns of the evidence, in its order."""
    columns = {
        field.name: rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    }
    columns[KIND] = pa.repeat(kind, rows.num_rows)
    yield from pa.table(columns, schema=schema).to_batches()


def _filled(schema: pa.Schema, values: Mapping[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict(values)], schema=schema)


def _fault(error: CustosError) -> dict[str, Any]:
    told = {"bad": isinstance(error, BadInput), "what": error.what, "where": error.where, "remedy": error.remedy}
    return {KIND: FAULT, TOLD: json.dumps(told).encode()}


def _failed(table: Table, error: BaseException) -> EnvironmentFailed:
    return EnvironmentFailed(f"table '{table.name}' failed on an executor of Spark ({type(error).__name__})")
