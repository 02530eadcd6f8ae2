"""The scorecards of every ingest of a home, one line of JSON each, in the order they were made; no personal value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import EnvironmentFailed
from privacy.json_files import parse_object

from .told import Card

__all__ = ["QualityHistory"]

REMEDY: Final = "restore it, or move it away: the next ingest begins a new one"


class QualityHistory:
    """The file at `path`; lines are added and none is ever changed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cards(self) -> list[Card]:
        """Return every scorecard, oldest first, none where there is no file; EnvironmentFailed for a damaged one."""
        data = read_bytes(self._path, "the quality history")
        if data is None:
            return []
        try:
            if not data.endswith(b"\n"):
                raise ValueError
            return [Card.model_validate(parse_object(line)) for line in data.splitlines()]
        except (ValidationError, ValueError):
            what = "the quality history is damaged"
            raise EnvironmentFailed(what, where=str(self._path), remedy=REMEDY) from None

    def rows_before(self) -> dict[str, int]:
        """Return the rows of each table at the last ingest that was kept, of those that had enough to be told."""
        kept = [card for card in self.cards() if card.outcome == "kept"]
        tables = kept[-1].tables if kept else {}
        return {name: table.rows.rows for name, table in tables.items() if table.rows.rows}

    def append(self, card: Card) -> None:
        """Add one scorecard; whoever reads sees all lines with it, or without it."""
        line = json.dumps(card.model_dump(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with locked(self._path.with_suffix(".lock")):
            before = read_bytes(self._path, "the quality history") or b""
            write_beside(self._path, before, line)
