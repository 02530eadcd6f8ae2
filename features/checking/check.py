"""A descriptor held against its data before anything is kept: everything that is found, in one go."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from features.contracts import REMEDIES, Contract, most_bad
from features.datasets.descriptor import USABLE, Descriptor, read_descriptor
from features.datasets.tables import Table
from features.marking import Marking
from features.scaffold.contents import STRAY, WORDS, contents_of, share_text
from features.sources import Source, opened
from privacy.errors import CustosError

from .declared import declared
from .files import header_is_data, look_at_files
from .findings import CheckReport, Finding, Level, of_error
from .identifying import Identifying
from .references import References

__all__ = ["check"]

SAMPLE_ROWS: Final = 1_000
MOST_NAMED: Final = 20
"""Columns that nobody asked about: what is told of a wide table stays readable."""
DATA_REMEDY: Final = "mend the source, or leave such rows out with 'where'"
Progress = Callable[[str, int], None]


@dataclass
class _Run:
    """One check under way."""

    report: CheckReport
    references: References
    identifying: Identifying
    marking: Marking | None
    now: dt.datetime
    progress: Progress
    unread: set[str] = field(default_factory=set)


def check(
    name_or_path: str,
    environment: Mapping[str, str] | None = None,
    *,
    now: dt.datetime | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Hold a descriptor against its data; nothing is kept, nothing of a person is told.

    `now` (default: the real time) is what a timestamp may not be after. Every table is read once; keys are held as 64
    bits a row. Raises BadInput where there is no such descriptor, or it can't be read as YAML.
    """
    loaded, path = read_descriptor(name_or_path)
    descriptor, findings = declared(loaded, path, environment or {})
    if descriptor is None:
        return CheckReport("?", path.name, {}, findings)
    report = CheckReport(descriptor.name, path.name, dict.fromkeys(descriptor.tables), findings)
    references, marking = References(descriptor), None
    with suppress(CustosError, KeyError):  # what keeps the products from being read is told with their table
        marking = Marking.of(descriptor)
    ids, moment = Identifying(descriptor), now or dt.datetime.now(dt.UTC)
    run = _Run(report, references, ids, marking, moment, progress or (lambda *_: None))
    for table in descriptor.tables.values():
        _look_at(run, descriptor, table)
    report.findings += [*references.findings(), *ids.findings()]
    if marking is not None and not run.unread:
        for value in marking.unmatched():
            remedy = "mend its spelling, or take it out"
            report.findings.append(
                Finding("", "", "warning", "unmatched_mark", f"nothing in the data is {value}", remedy)
            )
    return report


def _look_at(run: _Run, descriptor: Descriptor, table: Table) -> None:
    files, findings = look_at_files(descriptor, table)
    run.report.findings += findings
    if files == [] or findings:
        run.unread.add(table.name)
    if files == []:
        return
    try:
        with opened(descriptor, table, files) as source:
            run.report.findings += _columns(source)
            run.report.rows[table.name] = _rows(run, source)
    except CustosError as error:
        run.unread.add(table.name)
        run.report.findings.append(of_error(error, "unreadable", table.name))


def _columns(source: Source) -> Iterator[Finding]:
    """What the source lacks of what is declared, and what it has beyond that."""
    table = source.table
    for name, problem in source.problems.items():
        missing = table.columns[name].source if name else None
        code = (
            "missing_column" if missing and problem.what.startswith("the source") else "wrong_type" if name else "where"
        )
        yield of_error(problem, code, table.name, name)
    read = {column.source.lower() for column in table.columns.values() if column.source is not None}
    sql = " ".join(str(column.sql).lower() for column in table.columns.values() if column.sql is not None)
    rest = [name for name in source.present if name.lower() not in read and name.lower() not in sql]
    if rest and not header_is_data(rest):
        more = f" and {len(rest) - MOST_NAMED:,} more" if len(rest) > MOST_NAMED else ""
        what = f"columns that are not declared are never read: {', '.join(rest[:MOST_NAMED])}{more}"
        yield Finding(table.name, "", "note", "not_declared", what, "declare those you want")


def _rows(run: _Run, source: Source) -> int | None:
    """Hold every row to the contract of ingest; return how many there were, None where none can be read."""
    table, rows, bad = source.table, 0, 0
    if not source.selected or "" in source.problems:
        return None
    contract, reasons = Contract(table, run.now), Counter[tuple[str, str]]()
    for batch in source.batches():
        if rows == 0:
            run.report.findings += _open_details(table, batch)
        found = contract.failures(batch)
        rows += batch.num_rows
        bad += len(np.unique(found["row"].to_numpy()))
        reasons.update(zip(found["column"].to_pylist(), found["reason"].to_pylist(), strict=True))
        plain = batch.select([name for name in table.columns if name in batch.schema.names])
        run.references.meet(table.name, plain)
        run.identifying.meet(table.name, plain)
        if run.marking is not None and set(table.columns) <= set(plain.schema.names):
            run.marking.meet(table.name, plain)
        run.progress(table.name, rows)
    run.report.findings += _told(table, reasons, rows, bad)
    return rows


def _open_details(table: Table, batch: pa.RecordBatch) -> Iterator[Finding]:
    """Columns that are stored as they are and hold what reaches people, by a sample of the first rows."""
    for name, column in table.columns.items():
        is_open = column.sensitivity in USABLE and column.mask is None and table.role_of(name) == "attribute"
        if not is_open or name not in batch.schema.names or not pa.types.is_string(batch.schema.field(name).type):
            continue
        contents = contents_of(batch.column(name).slice(0, SAMPLE_ROWS).drop_null())
        kind, share = max(contents.sure().items(), key=lambda item: item[1], default=("", 0.0))
        if share > STRAY:
            what = f"is stored as it is, and {share_text(share)} of a sample hold {WORDS.get(kind, kind)}"
            remedy = "declare it direct_identifier or sensitive, or give it 'mask: scrub'"
            yield Finding(table.name, name, "warning", "open_details", what, remedy)


def _told(table: Table, reasons: Counter[tuple[str, str]], rows: int, bad: int) -> Iterator[Finding]:
    if rows == 0:
        yield Finding(table.name, "", "error", "empty", "no rows", "give a file with rows, or mend its 'where'")
    for (column, reason), count in reasons.most_common():
        level: Level = "error" if count > most_bad(table.name, rows) else "warning"
        remedy = REMEDIES.get(reason, DATA_REMEDY)
        yield Finding(table.name, column, level, reason.replace(" ", "_"), reason, remedy, count, rows)
    if bad > most_bad(table.name, rows):
        what = "too many bad rows: the table is refused"
        yield Finding(table.name, "", "error", "bad_rows", what, DATA_REMEDY, bad, rows)
    elif bad:
        yield Finding(table.name, "", "note", "quarantined", "rows would go into the quarantine", "", bad, rows)
