"""What an ingest did: each table's rows, the scorecard, who was linked."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field

from privacy.link_rules import LinkReport

from .quality.told import Card

__all__ = ["IngestReport", "TableReport"]


@dataclass
class TableReport:
    """What became of one table's rows: kept, quarantined (by `column: reason`), tombstoned (good or bad) or marked.

    `marked_by` counts the marked ones by what they would tell; one row may tell several things.
    """

    rows_in: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    tombstoned: int = 0
    marked: int = 0
    marked_by: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    columns_dropped: list[str] = field(default_factory=list)
    anonymity: dict[str, object] | None = None


@dataclass
class IngestReport:
    """What an ingest did; `digest` is of the data without tokens, so equal in every home.

    `unmatched` lists the marked values of the descriptor that no line held; `links` counts who turned out to be one
    person, where columns identify people, and `linked` is a commitment to their tokens. `unkept` says why the
    scorecard isn't in the history, where it couldn't be added.
    """

    dataset: str
    tables: dict[str, TableReport]
    people: int
    first_event: dt.datetime
    last_event: dt.datetime
    snapshot: str
    digest: str
    quality: Card
    unmatched: list[str] = field(default_factory=list)
    links: LinkReport | None = None
    unkept: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        links = None if self.links is None else self.links.to_dict()
        plain = {**asdict(self), "quality": self.quality.model_dump(), "links": links}
        return {**plain, "first_event": self.first_event.isoformat(), "last_event": self.last_event.isoformat()}
