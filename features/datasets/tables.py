"""What a descriptor says of one table and its columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from privacy.classification import LinkKind, Sensitivity
from privacy.demands import GROUP_FLOOR
from privacy.errors import BadInput

from .database import Database
from .strict import PLACE, Name, Strict

if TYPE_CHECKING:
    from privacy.treatment import TablePlan

__all__ = ["CONSENTS", "CONSENT_TYPES", "Anonymity", "Column", "Table"]

CONSENTS: Final = "consents"
"""The table that the consent ledger is filled from."""
IMPLIED_KEYS: Final = frozenset({"order_id", "ticket_id", "device_id"})
Kind = Literal["string", "int", "float", "timestamp", "date", "boolean"]
DEFAULT_TYPES: Final[dict[str, Kind]] = {
    "ordered_at": "timestamp",
    "created": "timestamp",
    "happened_at": "timestamp",
    "amount": "float",
    "quantity": "float",
    "discount": "float",
    "coupon": "float",
    "category": "string",
}
CONSENT_TYPES: Final[dict[str, Kind]] = {"purpose": "string", "granted": "boolean", "at": "timestamp"}


def _how(source: object) -> str:
    return "file" if isinstance(source, str) else "database"


Source = Annotated[
    Annotated[str, Field(min_length=1), Tag("file")] | Annotated[Database, Tag("database")], Discriminator(_how)
]
"""A file, a glob or a loader `package.module:function`; or a query."""
LOADER: Final = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


class Column(Strict):
    """One declared column: where it comes from, its type and its sensitivity."""

    source: str | None = Field(default=None, alias="from", min_length=1)
    sql: str | None = Field(default=None, min_length=1)
    type: Kind | None = None
    sensitivity: Sensitivity
    key: bool = False
    mask: str | dict[str, Any] | None = None
    hierarchy: list[Any] | dict[Any, Any] | None = None
    references: str | None = Field(default=None, pattern=PLACE)
    identifies: LinkKind | None = None

    @field_validator("mask", mode="before")
    @classmethod
    def _known_mask(cls, value: object) -> object:
        from privacy.masking import mask_of  # the descriptor stays light to import

        if value is not None:
            try:
                mask_of(value)
            except BadInput as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Column:
        if (self.source is None) == (self.sql is None):
            raise ValueError("needs either 'from' or 'sql'")
        return self


class Anonymity(Strict):
    """How the quasi-identifiers of a table are generalised together; `columns`: all that have no mask, unless told."""

    k: int = Field(default=GROUP_FLOOR, ge=2, le=1_000_000)
    l: int | None = Field(default=None, ge=1)  # noqa: E741 - the literature's name
    entropy_l: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    t: float | None = Field(default=None, gt=0, le=1)
    columns: tuple[Name, ...] | None = None
    sensitive: tuple[Name, ...] = ()
    max_suppression: float = Field(default=0.05, ge=0, lt=1)


class Table(Strict):
    """One table of the shop; `plan()` is what protection needs to know of it."""

    source: Source
    where: str | None = Field(default=None, min_length=1)
    columns: dict[Name, Column] = Field(min_length=1)
    dated_by: str | None = None
    anonymity: Anonymity | None = None
    _name: str = PrivateAttr(default="")
    _subject: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The table's name in the descriptor."""
        return self._name

    @property
    def place(self) -> str:
        """The source as messages name it."""
        return self.source if isinstance(self.source, str) else self.source.place

    @property
    def is_relative(self) -> bool:
        """Whether the source is a file whose place depends on where the descriptor lies."""
        if isinstance(self.source, Database):
            file = self.source.file
        else:
            file = None if LOADER.match(self.source) else Path(self.source)
        return file is not None and not file.is_absolute() and not str(file).startswith("~")

    @property
    def subject(self) -> str | None:
        """The column that names the person, or None where rows belong to nobody."""
        return self._subject if self._subject in self.columns else None

    def kind_of(self, column: str) -> Kind | None:
        """Return the declared type of `column`, or the one its role implies."""
        known = {"transactions": DEFAULT_TYPES, "interactions": DEFAULT_TYPES, CONSENTS: CONSENT_TYPES}
        return self.columns[column].type or known.get(self._name, {}).get(column)

    @property
    def event_column(self) -> str | None:
        """The column that dates a row: given, `ordered_at`, or the only timestamp but `created` of what happened.

        When somebody became a customer or a product came is no date of the row, unless `dated_by` says so.
        """
        if self.dated_by is not None or self._name == "transactions":
            return self.dated_by or "ordered_at"
        if self._name in ("customers", "products"):
            return None
        times = [name for name in self.columns if self.kind_of(name) == "timestamp" and name != "created"]
        return times[0] if len(times) == 1 else None

    def role_of(self, column: str) -> Literal["subject", "key", "attribute"]:
        """Say whether `column` names the person, leads back to a source, or describes."""
        if column == self._subject:
            return "subject"
        return "key" if self.columns[column].key or column in IMPLIED_KEYS else "attribute"

    def plan(self) -> TablePlan:
        """Return the treatment plan of this table for `privacy.treatment.Protector`."""
        from privacy.treatment import ColumnRule, TablePlan  # the descriptor stays light to import

        from .anonymity import profile_rule

        rules = tuple(
            ColumnRule(name=name, sensitivity=column.sensitivity, kind=self.role_of(name), mask=column.mask)
            for name, column in self.columns.items()
        )
        profile = profile_rule(self)
        held = () if profile is None else (*profile.columns, *profile.sensitive)
        return TablePlan(table=self._name, columns=rules, dated_by=self.event_column, held=held)
