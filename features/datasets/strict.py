"""What every part of a descriptor is: unknown keys are refused, and no value is repeated in an error."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PLACE", "Name", "Strict"]

PLACE: Final = r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$"
"""How one column of one table is named: table.column."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""What tables, columns and shops may be called."""


class Strict(BaseModel):
    """A part of a descriptor."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, hide_input_in_errors=True)
