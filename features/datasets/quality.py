"""What a descriptor asks of its data: the least score of each dimension, and what a breach does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from privacy.errors import BadInput

from .measured import DIMENSIONS, Dimension, measured
from .strict import Name, Strict

if TYPE_CHECKING:
    from .tables import Table

__all__ = ["OnBreach", "Quality", "TableQuality", "Wanted", "check_quality"]

OnBreach = Literal["warn", "stop"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Wanted(Strict):
    """The least score of each dimension, 0 to 1, and what happens below it; None where nothing is asked."""

    on_breach: OnBreach | None = None
    completeness: Share | None = None
    validity: Share | None = None
    uniqueness: Share | None = None
    consistency: Share | None = None
    timeliness: Share | None = None

    def least(self, dimension: Dimension) -> float | None:
        """Return the least score of `dimension`, None where nothing is asked."""
        found: float | None = getattr(self, dimension, None)
        return found


class _OfTable(Wanted):
    volume: Share | None = None
    min_rows: int | None = Field(default=None, ge=1)
    max_age_days: int | None = Field(default=None, ge=0)


class TableQuality(_OfTable):
    """What is asked of one table, and of some of its columns."""

    columns: dict[Name, Wanted] = Field(default_factory=dict)


class Quality(_OfTable):
    """What is asked of every table that doesn't ask otherwise; a row is late that is booked `late_after_days` after.

    >>> Quality(completeness=0.9, tables={"customers": TableQuality(completeness=0.5)}).of("customers").completeness
    0.5
    """

    late_after_days: int = Field(default=1, ge=0)
    tables: dict[Name, TableQuality] = Field(default_factory=dict)

    def of(self, name: str) -> TableQuality:
        """Return what is asked of the table `name`: its own, else what holds for all."""
        own = self.tables.get(name, TableQuality())
        common = {key: getattr(self, key) for key in _OfTable.model_fields if getattr(own, key) is None}
        return own.model_copy(update=common)


def check_quality(quality: Quality, tables: Mapping[str, Table], subject: str, where: str) -> None:
    """Refuse what is asked of a table or column that there isn't, or that nothing measures.

    Raises BadInput naming the place.
    """
    known = measured(tables, subject)
    for name, table in quality.tables.items():
        if name not in tables:
            raise BadInput(f"quality: there is no table '{name}'", where=where, remedy="mend the name")
        if table.max_age_days is not None and tables[name].event_column is None:
            what = f"quality: max_age_days of '{name}' can't be measured: nothing dates its rows"
            raise BadInput(what, where=where, remedy="name the column in 'dated_by', or leave it out")
        for dimension in DIMENSIONS[:-1]:
            columns = {column for place, column, what in known if (place, what) == (name, dimension)}
            if table.least(dimension) is not None and not columns:
                what = f"quality: {dimension} of '{name}' isn't measured"
                raise BadInput(what, where=where, remedy="leave it out: no column of it tells")
            for column, wanted in table.columns.items():
                if column not in tables[name].columns:
                    what = f"quality: there is no column '{name}.{column}'"
                    raise BadInput(what, where=where, remedy="list it in the table, or mend the name")
                if wanted.least(dimension) is not None and column not in columns:
                    what = f"quality: {dimension} of '{name}.{column}' isn't measured"
                    told = ", ".join(sorted(columns - {""})) or "the table, not of columns"
                    raise BadInput(what, where=where, remedy=f"{dimension} is of {told}")
