"""From what was counted to the scorecard of an ingest: whole tables checked, thresholds held against it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from features.datasets.descriptor import Descriptor

from .meter import Meter
from .stored import whole_tables
from .thresholds import breaches_of, refusal
from .told import Breach, Card, least_count, table_card

__all__ = ["judged"]


def judged(
    descriptor: Descriptor,
    meters: Mapping[str, Meter],
    files: Mapping[str, Sequence[Path]],
    rows_before: Mapping[str, int],
    digest: str,
    moment: dt.datetime,
) -> Card:
    """Return the scorecard of what `meters` met and `files` (protected, by table) hold.

    Its outcome is `stopped` where a breach is to stop the run: `thresholds.refusal` of its breaches is then raised by
    whoever keeps the card, before anything is published.
    """
    found = {name: meter.scores() for name, meter in meters.items()}
    returned = bool(found["transactions"].returns)
    for name, measure in whole_tables(descriptor, files, returned):
        found[name].measures.append(measure)
    k = least_count(descriptor)
    breaches: list[Breach] = []
    cards = {}
    for name, scores in found.items():
        scores.rows_before = rows_before.get(name)
        cards[name] = table_card(scores, k, descriptor.quality.of(name))
        breaches += breaches_of(scores, cards[name], descriptor.quality, k)
    return Card(
        moment=moment.astimezone(dt.UTC).isoformat(timespec="seconds"),
        dataset=descriptor.name,
        digest=digest,
        outcome="stopped" if refusal(breaches) else "kept",
        k=k,
        tables=cards,
        breaches=breaches,
    )
