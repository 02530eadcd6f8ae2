"""Which stored feature files are online already, so that a materialisation writes only what isn't."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from privacy.durable import write_beside
from privacy.errors import EnvironmentFailed
from privacy.json_files import read_object
from privacy.profile import PROFILE

from .feature_table import FEATURES
from .gateway_types import GatewayPaths
from .online import PackedRows
from .storage import TableStore

__all__ = ["Materialized", "note_of"]

NOTE: Final = "materialized.json"
"""The note's name, beside the registry."""


@dataclass(frozen=True)
class Materialized:
    """The note at `path` of what `online`, at `place`, holds of `store`; `suppressed` counts who must not be served.

    It counts only while the online rows are those that it was written about: a store that was lost, restored, moved or
    written by something else is written whole again.
    """

    path: Path
    online: PackedRows
    place: str
    store: TableStore
    suppressed: int

    @classmethod
    def of(cls, paths: GatewayPaths, online: PackedRows, dataset: str, suppressed: int) -> Materialized:
        """Return a home's note of one dataset."""
        store, place = paths.feature_store(dataset), _place_of(paths.online)
        return cls(note_of(paths), online, place, store, suppressed)

    def unwritten(self) -> list[str] | None:
        """Return the files of the feature table that aren't online; None where everything is to be written."""
        held = self._held()
        tables = self.store.manifest()["tables"]
        noted = None if held is None else held.get("files")
        stamp = self._stamp()
        if held is None or not isinstance(noted, dict) or stamp is None or held.get("stamp") != stamp:
            return None
        files = {name: set(tables[name]["files"]) for name in (FEATURES, PROFILE) if name in tables}
        if set(noted) != set(files) or not set(noted[FEATURES]) <= files[FEATURES]:
            return None  # files went: who was in them may have left
        if PROFILE in files and set(noted[PROFILE]) != files[PROFILE]:
            return None
        return sorted(files[FEATURES] - set(noted[FEATURES]))

    def note(self) -> None:
        """Say that all that is stored is online."""
        tables = self.store.manifest()["tables"]
        files = {name: tables[name]["files"] for name in (FEATURES, PROFILE) if name in tables}
        write_beside(self.path, json.dumps({"files": files, "stamp": self._stamp()}).encode())

    def forget(self) -> None:
        """Let the next materialisation write everything."""
        self.path.unlink(missing_ok=True)

    def _held(self) -> Mapping[str, Any] | None:
        try:
            return read_object(self.path, "the note of what is online", remedy="")
        except EnvironmentFailed:
            return None  # it saves work, no more

    def _stamp(self) -> list[str | int | None] | None:
        try:
            return [self.place, self.online.runs(), self.suppressed]
        except EnvironmentFailed:
            return None


def note_of(paths: GatewayPaths) -> Path:
    """Return where a home's note is."""
    return paths.registry.with_name(NOTE)


def _place_of(url: str) -> str:
    """Which database an address is of, without what opens it.

    >>> _place_of("redis://user:secret@cache.example.org:6379/2?protocol=3"), _place_of("sqlite:////home/x/online.db")
    ('redis://cache.example.org:6379/2', 'sqlite')
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":  # a file of the home, which may move with it
        return parts.scheme
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
