"""`protect()`: the one door from raw tables to protected ones.

Behind it there are tokens instead of ids, and no direct identifier. Nothing is written here but the vault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import FEATURE_STORE, Sensitivity
from privacy.cmac import Mac
from privacy.errors import BadInput
from privacy.inference import Marks
from privacy.keyring import Keyring
from privacy.link_rules import LinkRules
from privacy.linking import Linker
from privacy.masking import MaskSpec, apply_mask, mask_of
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
    "without_marked",
]

CUSTOMER_TOKEN: Final = "customer_token"  # noqa: S105 - a column name
"""The column that replaces the subject's id, in the feature store's own domain."""

Kind = Literal["subject", "key", "attribute"]
_OPEN: Final = (Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL)


@dataclass(frozen=True)
class ColumnRule:
    """What a column is: `key` leads back to a source; `mask` is what `masking.mask_of` reads."""

    name: str
    sensitivity: Sensitivity
    kind: Kind = "attribute"
    mask: MaskSpec | None = None


@dataclass(frozen=True)
class TablePlan:
    """How one table is protected; `dated_by` names the column that tombstones are compared with.

    `marks` say which lines tell what must not be inferred: they don't get behind the door.
    """

    table: str
    columns: tuple[ColumnRule, ...]
    dated_by: str | None = None
    marks: Marks | None = None
    held: tuple[str, ...] = ()
    """Columns that are held in memory, with tokens, until they are generalised together (`Protector.take_held`)."""

    @property
    def subject(self) -> ColumnRule | None:
        """The customer's id, if the table is about people."""
        return next((rule for rule in self.columns if rule.kind == "subject"), None)


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
        report.columns_dropped[:] = [rule.name for rule in plan.columns if _is_dropped(rule, plan.subject)]
        macs = {rule.name: self._keyring.attribute(rule.name) for rule in plan.columns if rule.kind == "key"}
        for batch in batches:
            _check_columns(batch.schema.names, plan)
            report.rows_in += batch.num_rows
            if plan.subject:
                answer = self._people_batch(batch, plan, report, macs)
            else:
                answer = without_marked(batch, _plain_batch(batch, plan), plan, report)
            report.rows_out += answer.num_rows
            yield answer

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
        tokens = handles_to_tokens(self._keyring, handles, FEATURE_STORE, key_id=self._key_id)
        return pa.table({CUSTOMER_TOKEN: tokens, "audit_reference": pa.array(references, pa.string())})

    def _people_batch(
        self, batch: pa.RecordBatch, plan: TablePlan, report: ProtectReport, macs: Mapping[str, Mac]
    ) -> pa.RecordBatch:
        if (subject := plan.subject) is None:
            raise ValueError("the plan has no subject")
        ids = batch.column(subject.name)
        if ids.null_count:
            what = f"{ids.null_count} rows have no subject"
            remedy = "filter or quarantine them before they are protected"
            raise BadInput(what, where=f"{plan.table}.{subject.name}", remedy=remedy)
        dates = batch.column(plan.dated_by) if plan.dated_by else None
        refused = self._vault.tombstoned(ids, dates)
        if refused.any():
            report.tombstoned += int(refused.sum())
            batch = batch.filter(pa.array(~refused))
            ids = batch.column(subject.name)
        handles = self._register(ids, _identifiers(batch, plan))
        self._seen = np.union1d(self._seen, _distinct(handles))
        tokens = handles_to_tokens(self._keyring, handles, FEATURE_STORE, key_id=self._key_id)
        columns: dict[str, pa.Array] = {CUSTOMER_TOKEN: tokens}
        if plan.held:
            self._held.append(
                pa.RecordBatch.from_pydict({**columns, **{name: batch.column(name) for name in plan.held}})
            )
        for rule in plan.columns:
            if rule.kind == "key":
                columns[_token_name(rule.name)] = key_tokens(macs[rule.name], handles, batch.column(rule.name))
            elif rule.kind == "attribute" and not _is_dropped(rule, subject):
                columns[rule.name] = _treated(batch.column(rule.name), rule)
        return without_marked(batch, pa.RecordBatch.from_pydict(columns), plan, report)


def without_marked(
    batch: pa.RecordBatch, protected: pa.RecordBatch, plan: TablePlan, report: ProtectReport
) -> pa.RecordBatch:
    """`protected` without the rows that are marked in `batch`, of which the report is told."""
    if plan.marks is None:
        return protected
    gone = np.zeros(batch.num_rows, np.bool_)
    for attribute, rows in plan.marks.of(batch).items():
        report.marked_by[attribute] = report.marked_by.get(attribute, 0) + int(rows.sum())
        gone |= rows
        if plan.subject and plan.dated_by and rows.any():
            theirs = [name for name in (CUSTOMER_TOKEN, "order_token") if name in protected.schema.names]
            dates = batch.column(plan.dated_by).filter(pa.array(rows)).cast(pa.date32())
            told = pa.Table.from_batches([protected.select(theirs).filter(pa.array(rows))])
            attributes = pa.array([attribute] * told.num_rows, pa.string())
            report.flags.append(told.append_column("date", dates).append_column("attribute", attributes))
    report.marked += int(gone.sum())
    return protected.filter(pa.array(~gone)) if gone.any() else protected


def _distinct(handles: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """Arrow finds distinct values by hashing, far faster than numpy sorts 16-byte items."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(handles))]
    distinct = pa.Array.from_buffers(pa.binary(16), len(handles), buffers).unique()
    return np.frombuffer(b"".join(distinct.to_pylist()), "V16")


def check_plan(plan: TablePlan) -> None:
    """Refuse a plan that can't be carried out, naming the column; `protect` does it too."""
    names = [rule.name for rule in plan.columns]
    if len(set(names)) != len(names):
        raise BadInput("a column is declared twice", where=plan.table)
    if sum(rule.kind == "subject" for rule in plan.columns) > 1:
        raise BadInput("two columns are declared the subject", where=plan.table)
    if plan.dated_by is not None and plan.dated_by not in names:
        raise BadInput(f"no column {plan.dated_by} to date the rows by", where=plan.table)
    for rule in plan.columns:
        if rule.mask is not None:
            try:
                mask_of(rule.mask)
            except BadInput as error:
                raise BadInput(error.what, where=f"{plan.table}.{rule.name}", remedy=error.remedy) from None
        if rule.kind == "key" and plan.subject is None:
            raise BadInput(
                "a key needs a subject to belong to",
                where=f"{plan.table}.{rule.name}",
                remedy="declare the table's customer id, or leave the column out",
            )
    outputs = [_token_name(rule.name) if rule.kind == "key" else rule.name for rule in plan.columns]
    if len({CUSTOMER_TOKEN, *outputs}) != len(outputs) + 1:
        raise BadInput("two columns would get the same protected name", where=plan.table, remedy="rename one")


def _check_columns(names: Sequence[str], plan: TablePlan) -> None:
    declared = {rule.name for rule in plan.columns}
    undeclared = sorted(set(names) - declared)
    if undeclared:
        raise BadInput(
            f"column {undeclared[0]} has no declared sensitivity",
            where=f"{plan.table}.{undeclared[0]}",
            remedy="declare it in the descriptor, or leave it out",
        )
    missing = sorted(declared - set(names))
    if missing:
        raise BadInput(f"column {missing[0]} is missing", where=f"{plan.table}.{missing[0]}")


def _is_dropped(rule: ColumnRule, subject: ColumnRule | None) -> bool:
    """Whether an attribute leaves nothing behind the door."""
    if rule.kind != "attribute":
        return False
    if subject is None:
        return rule.sensitivity not in _OPEN
    if rule.sensitivity is Sensitivity.SENSITIVE:
        return True
    return rule.mask is None and rule.sensitivity not in _OPEN


def _plain_batch(batch: pa.RecordBatch, plan: TablePlan) -> pa.RecordBatch:
    kept = [rule for rule in plan.columns if not _is_dropped(rule, None)]
    return pa.RecordBatch.from_pydict({rule.name: _treated(batch.column(rule.name), rule) for rule in kept})


def _treated(column: pa.Array, rule: ColumnRule) -> pa.Array:
    return column if rule.mask is None else apply_mask(column, rule.mask)


def _identifiers(batch: pa.RecordBatch, plan: TablePlan) -> pa.RecordBatch | None:
    """Each row's direct identifiers for the vault; None when the table has none."""
    rules = [r for r in plan.columns if r.kind == "attribute" and r.sensitivity is Sensitivity.DIRECT_IDENTIFIER]
    return batch.select([rule.name for rule in rules]) if rules else None


def _token_name(column: str) -> str:
    return f"{column.removesuffix('_id')}_token"


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
