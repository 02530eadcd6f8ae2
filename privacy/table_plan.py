"""How one table is protected: what each of its columns is, and what becomes of those that need no key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from privacy.classification import Sensitivity
from privacy.errors import BadInput
from privacy.inference import Marks
from privacy.masking import MaskSpec, apply_mask, mask_of

__all__ = ["CUSTOMER_TOKEN", "ColumnRule", "Kind", "TablePlan", "check_plan", "keyless_columns", "token_name"]

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

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that lead back to a source, such as order ids."""
        return tuple(rule.name for rule in self.columns if rule.kind == "key")

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The direct identifiers that the vault keeps of each row's person."""
        attributes = (rule for rule in self.columns if rule.kind == "attribute")
        return tuple(rule.name for rule in attributes if rule.sensitivity is Sensitivity.DIRECT_IDENTIFIER)

    @property
    def kept(self) -> tuple[ColumnRule, ...]:
        """The attributes that are stored, masked or as they are."""
        return tuple(rule for rule in self.columns if rule.kind == "attribute" and not self._is_dropped(rule))

    @property
    def dropped(self) -> list[str]:
        """The attributes that leave nothing behind the door."""
        return [rule.name for rule in self.columns if rule.kind == "attribute" and self._is_dropped(rule)]

    @property
    def protected_names(self) -> list[str]:
        """The columns of the protected table, in order."""
        kept = {rule.name for rule in self.kept}
        told = [token_name(rule.name) if rule.kind == "key" else rule.name for rule in self.columns]
        among = {token_name(name) for name in self.keys} | kept
        return [CUSTOMER_TOKEN] * (self.subject is not None) + [name for name in told if name in among]

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise BadInput unless `names` are the columns that are declared."""
        declared = {rule.name for rule in self.columns}
        undeclared = sorted(set(names) - declared)
        if undeclared:
            raise BadInput(
                f"column {undeclared[0]} has no declared sensitivity",
                where=f"{self.table}.{undeclared[0]}",
                remedy="declare it in the descriptor, or leave it out",
            )
        missing = sorted(declared - set(names))
        if missing:
            raise BadInput(f"column {missing[0]} is missing", where=f"{self.table}.{missing[0]}")

    def _is_dropped(self, rule: ColumnRule) -> bool:
        if self.subject is not None and rule.sensitivity is Sensitivity.SENSITIVE:
            return True
        masked = rule.mask is not None and self.subject is not None
        return not masked and rule.sensitivity not in _OPEN


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
    outputs = [token_name(rule.name) if rule.kind == "key" else rule.name for rule in plan.columns]
    if len({CUSTOMER_TOKEN, *outputs}) != len(outputs) + 1:
        raise BadInput("two columns would get the same protected name", where=plan.table, remedy="rename one")


def token_name(column: str) -> str:
    """Return what the token of a key is called.

    >>> token_name("order_id")
    'order_token'
    """
    return f"{column.removesuffix('_id')}_token"


def keyless_columns(batch: pa.RecordBatch, plan: TablePlan) -> dict[str, pa.Array]:
    """Return the stored attributes of raw rows, masked as the plan says; no key is needed for them."""
    return {
        rule.name: batch.column(rule.name) if rule.mask is None else apply_mask(batch.column(rule.name), rule.mask)
        for rule in plan.kept
    }
