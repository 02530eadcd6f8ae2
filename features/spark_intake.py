"""Ingest on Spark: executors read, check and mask the rows of files; the driver alone has keys and the vault.

A table is read twice. First it is told who is in it: the driver registers them and makes their tokens. Then its rows
are joined with those, and come to the driver protected.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput, EnvironmentFailed
from privacy.table_plan import CUSTOMER_TOKEN, TablePlan, check_plan, token_name
from privacy.token_tables import ID, LATEST, TokenTables, accepted, joined_schema, key_name, keyless_rows, token_tables
from privacy.treatment import Protector

from . import sources
from .datasets.database import Database
from .datasets.descriptor import Descriptor
from .datasets.tables import Table
from .intake import TableIntake
from .marking import Marking
from .spark_rows import (
    BAD,
    COLUMN,
    COUNTS,
    EARLIEST,
    FAULT,
    KIND,
    PERSON,
    POSITION,
    REASON,
    TOLD,
    Work,
    on_executors,
    opened_table,
    packed,
)
from .splits import Split, schema_of, splits_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SparkIntake"]

_RECORDS: Final = 131_072
_CAN_CHANGE: Final = "leave the shop's files alone while they are read, and run it again"


@dataclass
class _Evidence:
    """What executors told of a table: who (`ID`, what stands beside, dates), pairs by key, counts and bad rows."""

    people: pa.Table
    pairs: dict[str, pa.Table]
    counts: list[dict[str, Any]] = field(default_factory=list)
    bad: list[pa.Table] = field(default_factory=list)


@dataclass(frozen=True)
class SparkIntake:
    """One ingest's way to the executors of `session`, which must encrypt what it writes to disk."""

    session: SparkSession
    descriptor: Descriptor
    protector: Protector
    marking: Marking
    now: dt.datetime
    progress: Callable[[str, int], None]
    _cut: dict[str, list[Split]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, wanted in {"spark.io.encryption.enabled": "true", "spark.sql.session.timeZone": "UTC"}.items():
            if self.session.conf.get(name, "") != wanted:
                remedy = f"set {name} to {wanted}: what Spark writes to disk must not be readable"
                raise EnvironmentFailed(f"Spark runs without {name}={wanted}", remedy=remedy)

    def splits(self, table: Table) -> list[Split]:
        """Return the parts of a table's source that executors can read; none where the driver has to.

        Those are databases, loaders that give rows, and `sql` that looks at other rows than its own.
        """
        if table.name not in self._cut:
            self._cut[table.name] = [] if isinstance(table.source, Database) else self._cut_up(table)
        return self._cut[table.name]

    def _cut_up(self, table: Table) -> list[Split]:
        with sources.opened(self.descriptor, table) as source:
            for problem in source.problems.values():
                raise problem
            return splits_of(source, self.descriptor.time_zone)

    def protected(self, splits: Sequence[Split], intake: TableIntake, plan: TablePlan) -> Iterator[pa.RecordBatch]:
        """Protected batches of a table; `intake` is told of all its rows. As `Protector.protect` gives, in any order.

        Raises BadInput as reading here does, EnvironmentFailed where Spark or one of its executors fails.
        """
        check_plan(plan)
        table = intake.table
        work = Work(
            table,
            tuple(splits),
            schema_of(splits),
            self.now,
            plan,
            beside=plan.identifiers if plan.subject is not None else (),
            keys=plan.keys,
            counted=True,
            late_after_days=self.descriptor.quality.late_after_days,
            marked=self.marking.wanted(table.name),
        )
        found = self._evidence(work)
        self._count(found, intake)
        intake.done.columns_dropped[:] = plan.dropped
        tokens = self._tokens(found, plan)
        del found
        schema = keyless_rows(_empty(work.source).select(list(table.columns)), plan).schema
        wanted = joined_schema(schema, plan)
        yield accepted(self.protector, _empty(wanted), plan, intake.done)  # its columns are known, whatever is left
        with _told(table):
            rows = self._mapped(work.rows, schema, len(splits))
            joined = rows if tokens is None else self._joined(rows, tokens, plan)
            for batch in _streamed(joined.select(*(f"`{name}`" for name in wanted.names)), wanted):
                answer = accepted(self.protector, batch, plan, intake.done)
                if plan.subject is not None and answer.column(CUSTOMER_TOKEN).null_count:
                    raise EnvironmentFailed(f"the files of table '{table.name}' changed", remedy=_CAN_CHANGE)
                yield answer
        if any(split.changed for split in splits):
            raise EnvironmentFailed(f"the files of table '{table.name}' changed", remedy=_CAN_CHANGE)

    def told_of(self, table: Table, splits: Sequence[Split], columns: Sequence[str]) -> pa.Table:
        """Distinct rows of the subject and `columns` that the contract lets pass, with `LATEST` and `EARLIEST` date."""
        beside = tuple(name for name in dict.fromkeys(columns) if name != table.subject)
        found = self._evidence(Work(table, tuple(splits), schema_of(splits), self.now, table.plan(), beside))
        _raise_fault(found)
        self.progress("identities", sum(counts["rows"] for counts in found.counts))
        return found.people.append_column(str(table.subject), found.people[ID])

    def _evidence(self, work: Work) -> _Evidence:
        """Run over a table once; each distinct row of what is told comes here once, whoever told it."""
        from pyspark.sql import functions

        schema = work.evidence_schema
        columns = {kind: [TOLD, POSITION] for kind in (FAULT, COUNTS, BAD)}
        columns |= {name: [ID, key_name(name)] for name in work.keys}
        if work.plan.subject is not None:
            columns[PERSON] = [ID, *work.beside, LATEST, EARLIEST, POSITION]
        found: dict[str, list[pa.RecordBatch]] = {kind: [] for kind in columns}
        with _told(work.table):
            told = self._mapped(work.evidence, schema, len(work.splits))
            each = [name for name in schema.names if name not in {LATEST, EARLIEST, POSITION}]
            once = told.groupBy(*(f"`{name}`" for name in each)).agg(
                functions.max(f"`{LATEST}`").alias(LATEST),
                functions.min(f"`{EARLIEST}`").alias(EARLIEST),
                functions.max(f"`{POSITION}`").alias(POSITION),
            )
            for batch in _streamed(once, schema):
                for kind, rows in found.items():
                    rows.append(batch.filter(pc.equal(batch.column(KIND), kind)).select(columns[kind]))
        tables = {
            kind: pa.Table.from_batches(rows, pa.schema([schema.field(name) for name in columns[kind]]))
            for kind, rows in found.items()
        }
        faults, counts, bad = (tables[kind].sort_by(POSITION)[TOLD].to_pylist() for kind in (FAULT, COUNTS, BAD))
        people = tables.get(PERSON, tables[FAULT])
        pairs = {name: tables[name] for name in work.keys}
        told_of = [json.loads(text) for text in (*faults, *counts)]
        return _Evidence(people.sort_by(POSITION), pairs, told_of, [opened_table(stream) for stream in bad])

    def _count(self, found: _Evidence, intake: TableIntake) -> None:
        """Tell the intake, scorecard and marks of all rows; refuse the table as reading it here does."""
        _raise_fault(found)
        for counts in found.counts:
            intake.tally.rows += counts["rows"]
            self.marking.note(intake.table.name, counts["met"])
            if intake.meter is not None:
                intake.meter.add(counts["meter"])
        if intake.meter is not None and intake.meter.by_id:
            good = intake.tally.rows - sum(rows.num_rows for rows in found.bad)
            intake.meter.repeat(good - len(pc.unique(found.people[ID])))
        for rows in found.bad:
            bad = rows.drop([COLUMN, REASON]).combine_chunks().to_batches()
            intake.refuse(bad[0], pa.table({"column": rows[COLUMN], "reason": rows[REASON]}))
        self.progress(intake.table.name, intake.tally.rows)
        intake.tally.check()

    def _tokens(self, found: _Evidence, plan: TablePlan) -> TokenTables | None:
        if plan.subject is None:
            return None
        latest = found.people.group_by(ID).aggregate([(LATEST, "max")])
        latest = latest.select([ID, f"{LATEST}_max"]).rename_columns([ID, LATEST])
        told = found.people.combine_chunks().to_batches(_RECORDS) if plan.identifiers else []
        return token_tables(self.protector, latest, told, found.pairs, plan)

    def _mapped(self, work: Callable[[int], Iterator[pa.RecordBatch]], schema: pa.Schema, parts: int) -> DataFrame:
        from pyspark.sql.pandas.types import from_arrow_schema

        numbers = self.session.range(0, parts, 1, parts)
        return numbers.mapInArrow(on_executors(work), from_arrow_schema(schema))

    def _joined(self, rows: DataFrame, tokens: TokenTables, plan: TablePlan) -> DataFrame:
        """Rows beside their tokens. Never by a broadcast: an executor gets those of its own rows."""
        from pyspark.sql import functions

        people = self.session.createDataFrame(tokens.people)
        rows = rows.join(people.hint("merge"), ID, "left")
        for name in plan.keys:
            pairs = tokens.keys[name]
            if pairs.num_rows:
                rows = rows.join(self.session.createDataFrame(pairs).hint("merge"), [ID, key_name(name)], "left")
            else:
                rows = rows.withColumn(token_name(name), functions.lit(None).cast("string"))
        return rows


def _streamed(frame: DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of a frame as Arrow batches, a partition of it at a time."""
    for row in frame.mapInArrow(packed, f"`{TOLD}` binary").toLocalIterator(prefetchPartitions=True):
        yield from opened_table(bytes(row[0])).cast(schema).to_batches()


@contextmanager
def _told(table: Table) -> Iterator[None]:
    """Tell a failure of Spark by its class alone: its words may quote a row."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, EOFError, OSError) as error:
        what = f"Spark failed at table '{table.name}' ({type(error).__name__})"
        raise EnvironmentFailed(what, remedy="see the logs of its executors, and run it again") from None


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _raise_fault(found: _Evidence) -> None:
    for counts in found.counts:
        if "what" in counts:
            kind = BadInput if counts["bad"] else EnvironmentFailed
            raise kind(counts["what"], where=counts["where"], remedy=counts["remedy"])
