"""Protection in two halves, where rows are on other machines: no key, handle or vault is needed there.

What needs no key is done to the rows (`keyless_rows`); tokens are made here, of distinct ids (`token_tables`), and
joined to the rows there; the joined rows pass the rest of the door here (`accepted`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.table_plan import CUSTOMER_TOKEN, TablePlan, keyless_columns, token_name
from privacy.treatment import Protector, ProtectReport, left_unmarked

__all__ = [
    "ID",
    "LATEST",
    "UNTIL",
    "TokenTables",
    "accepted",
    "joined_schema",
    "key_name",
    "keyless_rows",
    "token_tables",
]

# A descriptor's names hold no space, so none of its columns can be taken for these.
ID: Final = "custos id"
LATEST: Final = "custos latest"
"""The last date that any row of a person has."""
UNTIL: Final = "custos until"
"""Rows of a person dated until then are refused."""
_AT: Final = "custos at"
_HELD: Final = "custos held "
_KEY: Final = "custos key "
_MARK: Final = "custos mark "
_MOMENT: Final = pa.timestamp("us", "UTC")
_AT_ONCE: Final = 131_072


@dataclass(frozen=True)
class TokenTables:
    """What rows are joined with: `people` by `ID` (token, `UNTIL`), and for each key column a table by id and key.

    Whoever is refused with all rows has no token.
    """

    people: pa.Table
    keys: Mapping[str, pa.Table]


def key_name(column: str) -> str:
    """Return what a key column is called beside its token, until it is joined."""
    return f"{_KEY}{column}"


def keyless_rows(batch: pa.RecordBatch, plan: TablePlan) -> pa.RecordBatch:
    """Return raw rows with all done that needs no key: masks, marks, columns left out; ids and keys are still raw.

    Beside the stored attributes there are `ID`, each key under `key_name`, the date of the row, the columns that the
    plan holds, and a flag for each marked attribute.
    """
    plan.check_columns(batch.schema.names)
    columns = keyless_columns(batch, plan)
    if plan.subject is not None:
        columns[ID] = batch.column(plan.subject.name)
        columns |= {key_name(name): batch.column(name) for name in plan.keys}
        columns |= {f"{_HELD}{name}": batch.column(name) for name in plan.held}
        if plan.dated_by is not None:
            columns[_AT] = batch.column(plan.dated_by).cast(_MOMENT)
    if plan.marks is not None:
        columns |= {f"{_MARK}{name}": pa.array(rows) for name, rows in plan.marks.of(batch).items()}
    return pa.RecordBatch.from_pydict(columns)


def joined_schema(rows: pa.Schema, plan: TablePlan) -> pa.Schema:
    """Return the schema of `keyless_rows` with its ids and keys replaced by tokens and `UNTIL`."""
    if plan.subject is None:
        return rows
    tokens = [CUSTOMER_TOKEN, *(token_name(name) for name in plan.keys)]
    raw = {ID, *(key_name(name) for name in plan.keys)}
    made = [*(pa.field(name, pa.string()) for name in tokens), pa.field(UNTIL, _MOMENT)]
    return pa.schema([*made, *(field for field in rows if field.name not in raw)])


def token_tables(
    protector: Protector,
    people: pa.Table,
    records: Iterable[pa.RecordBatch],
    pairs: Mapping[str, pa.Table],
    plan: TablePlan,
) -> TokenTables:
    """Register everybody in `people` (`ID`, `LATEST`; each once) and make the tokens that their rows are joined with.

    `records` are rows of `ID`, `LATEST` and direct identifiers, in the order of the source: later ones win. `pairs`
    are each key column's distinct rows of `ID` and key. Whoever was erased, and has no row since, isn't registered.
    """
    for batch in records:
        there = batch.filter(_known(protector, batch.column(ID), batch.column(LATEST), plan)[1])
        if there.num_rows:
            protector.meet(there.column(ID), there.select(plan.identifiers))
    ids = people[ID].combine_chunks()
    until, there = _known(protector, ids, people[LATEST].combine_chunks(), plan)
    known = ids.filter(there)
    parts = [protector.meet(known.slice(at, _AT_ONCE)) for at in range(0, len(known), _AT_ONCE)]
    handles = np.concatenate(parts) if parts else np.zeros((0, 16), np.uint8)
    tokens = protector.tokens_of(handles)
    places = pc.if_else(there, pc.subtract(pc.cumulative_sum(there.cast(pa.int64())), 1), pa.scalar(None, pa.int64()))
    told = pa.table({ID: ids, CUSTOMER_TOKEN: tokens.take(places), UNTIL: until})
    keys = {}
    for name, rows in pairs.items():
        whose = pc.index_in(rows[ID], value_set=known)
        mine = rows.filter(whose.is_valid())
        theirs = handles[whose.drop_null().to_numpy()]
        column = mine[key_name(name)].combine_chunks()
        made = protector.key_tokens_of(name, theirs, column)
        keys[name] = pa.table({ID: mine[ID], key_name(name): column, token_name(name): made})
    return TokenTables(told, keys)


def accepted(protector: Protector, batch: pa.RecordBatch, plan: TablePlan, report: ProtectReport) -> pa.RecordBatch:
    """Return the protected rows of a batch as `joined_schema` says: without those of the erased and marked ones.

    Equal to what `Protector.protect` makes of the raw rows.
    """
    report.rows_in += batch.num_rows
    if plan.subject is not None:
        until = batch.column(UNTIL)
        good = _after(batch.column(_AT) if plan.dated_by is not None else None, until)
        report.tombstoned += good.false_count
        batch = batch.filter(good)
        if plan.held:
            held = {name: batch.column(f"{_HELD}{name}") for name in plan.held}
            protector.hold({CUSTOMER_TOKEN: batch.column(CUSTOMER_TOKEN), **held})
    answer = batch.select(plan.protected_names)
    if plan.marks is not None:
        names = [name for name in batch.schema.names if name.startswith(_MARK)]
        marked = {name.removeprefix(_MARK): batch.column(name).to_numpy(zero_copy_only=False) for name in names}
        dates = batch.column(_AT) if plan.subject is not None and plan.dated_by is not None else None
        answer = left_unmarked(answer, marked, dates, report)
    report.rows_out += answer.num_rows
    return answer


def _known(protector: Protector, ids: pa.Array, latest: pa.Array, plan: TablePlan) -> tuple[pa.Array, pa.BooleanArray]:
    """(n,) until when each person's rows are refused, and who has others."""
    until = protector.refused_until(ids, dated=plan.dated_by is not None)
    return until, _after(latest if plan.dated_by is not None else None, until)


def _after(dates: pa.Array | None, until: pa.Array) -> pa.BooleanArray:
    """(n,) which rows are not refused."""
    free = pc.is_null(until)
    return free if dates is None else pc.or_(free, pc.fill_null(pc.greater(dates, until), False))
