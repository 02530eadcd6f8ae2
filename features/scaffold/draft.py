"""A first descriptor, written from the files of a folder: commented YAML that a person reads, decides and keeps."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import yaml

from features.datasets.descriptor import REQUIRED
from features.source_columns import quoted
from features.text_cells import left
from privacy.classification import LinkKind, Sensitivity
from privacy.counted import counted

from .families import Progress, passed_over
from .propose import ProposedColumn, ProposedTable, propose
from .tables import tables_in
from .words import plain

__all__ = ["Draft", "draft"]

DECIDE: Final = "TO DECIDE"
HORIZONS: Final = (28, 56, 91, 182)
LEAST_WINDOWS: Final = 4
"""So many horizons the data must span: cut-offs to learn from, and one to test on."""
HEAD: Final = """\
# Drafted by `custos dataset init` from names, types and shares of a sample. No value was copied into this file.
# Every line is a proposal: read them all.
# {decide}
#
#   direct_identifier   names somebody alone (name, e-mail, phone, id): sealed in the vault
#   quasi_identifier    describes somebody (age, city): kept out, unless masked or generalised
#   sensitive           health, religion, ...: kept out
#   behavioural         what they did (times, amounts); non_personal: about things: stored as it is
#
# Then: custos dataset check {file}
"""


@dataclass(frozen=True)
class Draft:
    """The text of a descriptor, what is left to do with it, and files that were passed over, each with the reason."""

    text: str
    tables: tuple[ProposedTable, ...]
    missing: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...] = ()

    @property
    def undecided(self) -> int:
        """How many columns have no sensitivity yet."""
        return sum(table.undecided for table in self.tables if table.name is not None)


def draft(place: Path, out: Path, progress: Progress | None = None) -> Draft:
    """Draft the descriptor `out` for a file, or for the files of a folder and of the folders in it.

    `progress(what, done, all)` is told of files and tables. Raises BadInput where there is nothing to read or a file
    can't be read.
    """
    tables = propose(list(tables_in(place, out.parent, progress or (lambda *_: None))))
    name = plain((place if place.is_dir() else place.parent).resolve().name) or "shop"
    missing = tuple(_missing(tables))
    told = [*_head(tables, missing, out.name), f"name: {name if name[0].isalpha() else f'shop_{name}'}"[:68]]
    told += ["subject: customer_id", "time_zone: UTC      # of times without a zone; mend it, as in Asia/Shanghai"]
    told += ["currency: EUR       # mend it"]
    told.append("tables:" if any(table.name for table in tables) else f"tables: {{}}   # {DECIDE}: none was found")
    for table in tables:
        told += _table(table)
    told += _identity(tables)
    told += _targets(tables)
    return Draft("\n".join(told) + "\n", tuple(tables), missing, tuple(passed_over(place)))


def _missing(tables: Sequence[ProposedTable]) -> Iterator[str]:
    lines = next((table for table in tables if table.name == "transactions"), None)
    if lines is None:
        yield "transactions"
        return
    have = {column.name for column in lines.columns}
    yield from (column for column in ("customer_id", *REQUIRED) if column not in have)


def _head(tables: Sequence[ProposedTable], missing: Sequence[str], file: str) -> list[str]:
    undecided = sum(table.undecided for table in tables if table.name is not None)
    parts = []
    if undecided:
        parts.append(f"Marked {DECIDE}, without a sensitivity: {undecided}. Add one to each line, or delete it.")
    if missing:
        parts.append(f"Not found: {', '.join(missing)}.")
    if parts:
        parts.append("Until then every run is refused.")
    decide = textwrap.fill(" ".join(parts), 110).replace("\n", "\n# ")
    return [line.rstrip() for line in HEAD.format(decide=decide, file=file).rstrip().split("\n")]


def _table(table: ProposedTable) -> Iterator[str]:
    rows = counted(table.files.rows, "row")
    if table.name is None:
        columns = ", ".join(_shown(column.source) for column in table.columns)
        yield f"  # Not used: {_shown(table.files.source)} ({rows}), whose columns are {columns}:"
        yield f"  # {_shown(table.why)}."
        yield "  # Tables are transactions, customers, products, interactions, consents."
        return
    yield f"  {table.name}:"
    yield f"    source: {_scalar(table.files.source)}   # {rows}"
    yield "    columns:"
    for column in table.columns:
        yield from _column(column)
    for name, why in table.left_out:
        yield f"      # Not used: {_shown(name)}: {why}."
    if table.name == "transactions":
        yield from _not_found(table)


def _not_found(table: ProposedTable) -> Iterator[str]:
    """Comments in the place of required columns; where orders have no id, what could stand for one."""
    have = {column.name: column for column in table.columns}
    for wanted in ("customer_id", *REQUIRED):
        if wanted in have:
            continue
        origin = "from: ..."
        if wanted == "order_id" and "ordered_at" in have:  # what one person bought at one time is an order
            origin = f"from: {_scalar(have['ordered_at'].source)}, type: string"
        yield f"      # {DECIDE}: no column was found for {wanted}, which every line needs, such as"
        yield f"      # {wanted}: {{{origin}, sensitivity: {_required(wanted)}}}"


def _required(column: str) -> Sensitivity:
    return Sensitivity.DIRECT_IDENTIFIER if column == "customer_id" else Sensitivity.BEHAVIOURAL


def _column(column: ProposedColumn) -> Iterator[str]:
    parts = [f"sql: {_scalar(column.sql)}" if column.sql else f"from: {_scalar(column.source)}"]
    if column.kind:
        parts.append(f"type: {column.kind}")
    if column.sensitivity is None:
        yield f"      # {DECIDE}: {_shown(column.seen)}."
    else:
        parts.append(f"sensitivity: {column.sensitivity.value}")
    line = f"      {column.name}: {{{', '.join(parts)}}}"
    yield line if column.sensitivity is None else f"{left(line, 76)}  # {_shown(column.seen)}"


def _identity(tables: Sequence[ProposedTable]) -> Iterator[str]:
    """Comments on columns by which customers could be linked: that is a decision, so nothing links them by default."""
    found = [
        (f"{table.name}.{column.name}", column.identifies)
        for table in tables
        for column in table.columns
        if table.name is not None and column.identifies is not None
    ]
    if not found:
        return
    yield "# Customers who share one of these become one person, if its column says so; add that where it is right:"
    yield from (f"#   to {place}, identifies: {kind}" for place, kind in found)
    if any(kind is LinkKind.PHONE for _, kind in found):
        yield "# identity: {region: ...}   # ISO 3166-1, such as CN: of phone numbers without a country code"


def _targets(tables: Sequence[ProposedTable]) -> Iterator[str]:
    churn = HORIZONS[0]
    clv = 4 * HORIZONS[0]
    pace = next((_pace(table) for table in tables if table.name == "transactions"), None)
    yield "targets:"
    if pace is not None:
        gap, span = pace
        fitting = [days for days in HORIZONS if days * LEAST_WINDOWS <= span] or [HORIZONS[0]]
        churn = next((days for days in fitting if days >= 2 * gap), fitting[-1])
        clv = max(churn, min(4 * churn, 182, int(span / LEAST_WINDOWS) // 7 * 7))
        paced = f", half of them within {counted(round(gap), 'day')} of the one before" if gap else ""
        yield f"  # {counted(round(span), 'day')} of orders{paced}."
    yield f"  churn: {{horizon_days: {churn}, active_within_days: {2 * churn if churn < HORIZONS[-1] else churn}}}"
    yield f"  clv:   {{horizon_days: {clv}}}"


def _pace(table: ProposedTable) -> tuple[float, float] | None:
    """The median days between a person's orders, and how many days there are; None where that can't be seen."""
    found = {column.name: column.source for column in table.columns if column.sensitivity is not None}
    if not {"customer_id", "ordered_at"} <= found.keys():
        return None
    who, when = quoted(found["customer_id"]), f"TRY_CAST({quoted(found['ordered_at'])} AS TIMESTAMP)"
    query = f"""
        SELECT median(day - before), max(day) - min(day) FROM (
            SELECT day, lag(day) OVER (PARTITION BY who ORDER BY day) AS before
            FROM (SELECT DISTINCT {who} AS who, {when}::DATE AS day FROM {table.files.origin}) WHERE day IS NOT NULL)
    """
    with duckdb.connect(config={"temp_directory": "", "memory_limit": "1GB", "threads": 1}) as connection:
        try:
            row = connection.sql(query).fetchall()[0]
        except duckdb.Error:  # more people than memory: a guess isn't worth a spill
            return None
    return (float(row[0] or 0), float(row[1])) if row[1] is not None else None


def _scalar(text: str) -> str:
    """One word of YAML, quoted where it must be, inside a mapping in braces."""
    plain_word = yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10_000).strip()
    return plain_word.removeprefix("[").removesuffix("]")


def _shown(text: str) -> str:
    """What names columns or files inside a comment: on one line, whatever it holds."""
    return json.dumps(text, ensure_ascii=False) if not text.isprintable() else text
