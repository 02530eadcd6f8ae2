"""`protect()`: the one door from raw tables to protected ones.

Behind it there are tokens instead of ids, and no direct identifier. Nothing is written here but the vault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import FEATURE_STORE
from privacy.cmac import Mac
from privacy.counted import counted
from privacy.errors import BadInput
from privacy.keyring import Keyring
from privacy.link_rules import LinkRules
from privacy.linking import Linker
from privacy.table_plan import CUSTOMER_TOKEN, ColumnRule, Kind, TablePlan, check_plan, keyless_columns, token_name
from privacy.tokens import handles_to_tokens
from privacy.vault import Vault

__all__ = [
    "CUSTOMER_TOKEN",
    "ColumnRule",
    "Kind",
    "ProtectReport",
    "Protector",
    "TablePlan",
    "check_plan",
    "key_tokens",
    "left_unmarked",
    "without_marked",
]


@dataclass
class ProtectReport:
    """What happened to a table's rows and columns; filled while the batches stream.

    `marked` counts the rows that were marked, `marked_by` those of each attribute (a row may be of several), and
    `flags` tells of each: its person and order, as protected, and when.
    """

    rows_in: int = 0
    rows_out: int = 0
    tombstoned: int = 0
    columns_dropped: list[str] = field(default_factory=list)
    marked: int = 0
    marked_by: dict[str, int] = field(default_factory=dict)
    flags: list[pa.Table] = field(default_factory=list)


class Protector:
    """Turns raw batches into protected ones, registering people in the vault as it meets them.

    `key_id` names the key that the tables they are added to were written under; a new table is under the primary one.
    """

    def __init__(self, vault: Vault, keyring: Keyring, *, key_id: str | None = None) -> None:
        self._vault, self._keyring, self._key_id = vault, keyring, key_id
        self._register = vault.register
        self._seen: npt.NDArray[np.void] = np.zeros(0, "V16")
        self._held: list[pa.RecordBatch] = []

    @contextmanager
    def on_trial(self, rules: LinkRules | None = None) -> Iterator[Linker]:
        """Whoever is first met inside is taken back when an exception ends it (`Vault.intake`).

        The linker may find that some are one person, by `rules`; whoever is protected after that is one.
        """
        with self._vault.intake() as intake:
            linker = Linker(intake, self._keyring, rules or LinkRules())
            self._register = linker.register
            try:
                yield linker
            finally:
                self._register = self._vault.register

    def protect(
        self, batches: Iterable[pa.RecordBatch], plan: TablePlan, report: ProtectReport
    ) -> Iterator[pa.RecordBatch]:
        """Protected batches of the same rows, less those of erased people and marked ones; columns in the plan's order.

        `customer_token` replaces the subject; a key `order_id` becomes `order_token`, 32 hex digits that
        differ between people; direct identifiers go into the vault; quasi-identifiers without a mask and
        sensitive columns are dropped and reported, those that the plan holds wait for `take_held`. BadInput
        for a column that the plan doesn't declare or that is missing, for an unknown mask, and for rows
        without a subject.
        """
        check_plan(plan)
        report.columns_dropped[:] = plan.dropped
        macs = {name: self._keyring.attribute(name) for name in plan.keys}
        for batch in batches:
            plan.check_columns(batch.schema.names)
            report.rows_in += batch.num_rows
            if plan.subject:
                answer = self._people_batch(batch, plan, report, macs)
            else:
                answer = without_marked(batch, pa.RecordBatch.from_pydict(keyless_columns(batch, plan)), plan, report)
            report.rows_out += answer.num_rows
            yield answer

    def meet(self, ids: pa.Array, records: pa.RecordBatch | None = None) -> npt.NDArray[np.uint8]:
        """(n, 16) handles of these people, registered in the vault with their direct identifiers (`Vault.register`)."""
        handles = self._register(ids, records)
        self._seen = np.union1d(self._seen, _distinct(handles))
        return handles

    def indexes_of(self, ids: pa.Array) -> npt.NDArray[np.uint8]:
        """(n, 16) keyed indexes of these ids: equal where ids are, also of people who turn out to be another one."""
        return self._keyring.index.of_ids(ids)

    def tokens_of(self, handles: npt.NDArray[np.uint8]) -> pa.Array:
        """(n,) tokens of the feature store, as the tables hold them."""
        return handles_to_tokens(self._keyring, handles, FEATURE_STORE, key_id=self._key_id)

    def key_tokens_of(self, name: str, handles: npt.NDArray[np.uint8], keys: pa.Array) -> pa.Array:
        """(n,) tokens of the key column `name` of these people, as the tables hold them."""
        return key_tokens(self._keyring.attribute(name), handles, keys)

    def hold(self, columns: Mapping[str, pa.Array]) -> None:
        """Keep raw columns, with `customer_token`, until `take_held`."""
        self._held.append(pa.RecordBatch.from_pydict(dict(columns)))

    def refused_until(self, ids: pa.Array, *, dated: bool) -> pa.Array:
        """(n,) timestamp[us, UTC]: rows of this person dated until then are refused, null where none is.

        Of a table that isn't `dated`, all of a person's rows are refused or none.
        """
        return self._vault.refused_until(ids, dated=dated)

    def tombstoned(self, ids: pa.Array, dates: pa.Array | None = None) -> npt.NDArray[np.bool_]:
        """(n,) bool: which rows the vault refuses because their person was erased (`Vault.tombstoned`)."""
        return self._vault.tombstoned(ids, dates)

    def take_held(self) -> pa.Table | None:
        """The raw columns that a plan held back, with `customer_token`, once: they are forgotten here."""
        held, self._held = self._held, []
        return pa.Table.from_batches(held) if held else None

    def people(self) -> pa.Table:
        """`customer_token`, `audit_reference` of everyone met so far, in the order of random handles."""
        handles = np.frombuffer(self._seen.tobytes(), np.uint8).reshape(-1, 16)
        references = self._vault.audit_references(handles)
        return pa.table({CUSTOMER_TOKEN: self.tokens_of(handles), "audit_reference": pa.array(references, pa.string())})

    def _people_batch(
        self, batch: pa.RecordBatch, plan: TablePlan, report: ProtectReport, macs: Mapping[str, Mac]
    ) -> pa.RecordBatch:
        if (subject := plan.subject) is None:
            raise ValueError("the plan has no subject")
        ids = batch.column(subject.name)
        if ids.null_count:
            what = f"{counted(ids.null_count, 'row has', 'rows have')} no subject"
            remedy = "filter or quarantine them before they are protected"
            raise BadInput(what, where=f"{plan.table}.{subject.name}", remedy=remedy)
        dates = batch.column(plan.dated_by) if plan.dated_by else None
        refused = self._vault.tombstoned(ids, dates)
        if refused.any():
            report.tombstoned += int(refused.sum())
            batch = batch.filter(pa.array(~refused))
            ids = batch.column(subject.name)
        handles = self.meet(ids, batch.select(plan.identifiers) if plan.identifiers else None)
        columns = {CUSTOMER_TOKEN: self.tokens_of(handles), **keyless_columns(batch, plan)}
        for name, mac in macs.items():
            columns[token_name(name)] = key_tokens(mac, handles, batch.column(name))
        if plan.held:
            self.hold({CUSTOMER_TOKEN: columns[CUSTOMER_TOKEN], **{name: batch.column(name) for name in plan.held}})
        protected = pa.RecordBatch.from_pydict({name: columns[name] for name in plan.protected_names})
        return without_marked(batch, protected, plan, report)


def without_marked(
    batch: pa.RecordBatch, protected: pa.RecordBatch, plan: TablePlan, report: ProtectReport
) -> pa.RecordBatch:
    """`protected` without the rows that are marked in `batch`, of which the report is told."""
    if plan.marks is None:
        return protected
    dates = batch.column(plan.dated_by) if plan.subject and plan.dated_by else None
    return left_unmarked(protected, plan.marks.of(batch), dates, report)


def left_unmarked(
    protected: pa.RecordBatch,
    marked: Mapping[str, npt.NDArray[np.bool_]],
    dates: pa.Array | None,
    report: ProtectReport,
) -> pa.RecordBatch:
    """`protected` without the rows that are `marked` by any attribute; flags are told of rows with `dates` only."""
    gone = np.zeros(protected.num_rows, np.bool_)
    for attribute, rows in marked.items():
        report.marked_by[attribute] = report.marked_by.get(attribute, 0) + int(rows.sum())
        gone |= rows
        if dates is not None and rows.any():
            theirs = [name for name in (CUSTOMER_TOKEN, "order_token") if name in protected.schema.names]
            days = dates.filter(pa.array(rows)).cast(pa.date32())
            told = pa.Table.from_batches([protected.select(theirs).filter(pa.array(rows))])
            attributes = pa.array([attribute] * told.num_rows, pa.string())
            report.flags.append(told.append_column("date", days).append_column("attribute", attributes))
    report.marked += int(gone.sum())
    return protected.filter(pa.array(~gone)) if gone.any() else protected


def _distinct(handles: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """Arrow finds distinct values by hashing, far faster than numpy sorts 16-byte items."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(handles))]
    distinct = pa.Array.from_buffers(pa.binary(16), len(handles), buffers).unique()
    return np.frombuffer(b"".join(distinct.to_pylist()), "V16")


def key_tokens(mac: Mac, handles: npt.NDArray[np.uint8], column: pa.Array) -> pa.Array:
    """32 hex digits a row, null where the key is null."""
    macs = mac.of_pairs(handles, column)
    digits = pa.py_buffer(macs.tobytes().hex().encode())
    offsets = pa.py_buffer(np.arange(0, 32 * len(column) + 1, 32, dtype=np.int32))
    texts = pa.Array.from_buffers(pa.string(), len(column), [None, offsets, digits])
    if column.null_count:
        nulls = pa.scalar(None, pa.string())
        return pc.if_else(column.is_valid(), texts, nulls)
    return texts
