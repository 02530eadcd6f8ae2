"""What a snapshot says of itself: its tables and their files, and what its writer noted; checked when it is read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from privacy.errors import EnvironmentFailed
from privacy.json_files import read_object

__all__ = ["MANIFEST", "REMEDY", "read_manifest"]

MANIFEST: Final = "manifest.json"
REMEDY: Final = "restore it, or run `custos run` on the source again, which writes it anew"


def _aware(text: str) -> str:
    if dt.datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("it has no time zone")
    return text


Moment = Annotated[str, AfterValidator(_aware)]
Plain = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
File = Annotated[str, Field(pattern=r"^[0-9]{3}-[0-9a-f]{16}\.parquet$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rows: int = Field(ge=0)
    total: int
    digest: str
    files: list[File] = Field(min_length=1)
    buckets: int = Field(ge=1)
    keyed: bool
    k: int | None = Field(default=None, ge=2)
    """The least class of people told alike, in a table that tells of them; an erasure keeps it."""


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    tables: dict[Plain, _Table]
    as_of: Moment = ""
    cutoffs: list[Moment] = []


def read_manifest(directory: Path, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the manifest of the snapshot in `directory`; EnvironmentFailed unless it is whole and has the `needed`."""
    path = directory / MANIFEST
    found = read_object(path, "the snapshot's manifest", remedy=REMEDY)
    if found is None:
        raise EnvironmentFailed("the snapshot's manifest is gone", where=str(path), remedy=REMEDY)
    try:
        _Manifest.model_validate(found)
    except ValidationError:
        found = {}
    if not found.keys() >= {"tables", *needed}:
        raise EnvironmentFailed("the snapshot's manifest is damaged", where=str(path), remedy=REMEDY)
    return found
