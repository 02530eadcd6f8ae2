"""Pushing events into a home of the features room, as the command does."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.data_time import day_after
from features.datasets.descriptor import Descriptor
from features.json_lines import PUSHED, read_events
from features.online import rows_at
from features.own_tokens import OwnTokens
from features.packed_views import PROJECT, put_people
from features.push import Added, Safe, Stores, add_events, protected_events, refreshed
from features.services import shop_features
from privacy.treatment import Protector

from .conftest import NOW, Home

Event = Mapping[str, Any]


def stores(home: Home, descriptor: Descriptor) -> Stores:
    name = descriptor.name
    return Stores(home.paths.protected_store(name), home.paths.feature_store(name), home.quarantine, home.flags)


def push(
    home: Home, descriptor: Descriptor, events: Iterable[Event], until: dt.datetime | None = None
) -> tuple[Safe, Added, pa.Table | None]:
    """Add the events; return what became of them and, in a home that is built, the rows that went online."""
    places = stores(home, descriptor)
    schemas = {name: pq.read_schema(places.protected.files(name)[0]) for name in PUSHED if name in descriptor.tables}
    batches = read_events([json.dumps(event).encode() for event in events], descriptor, schemas)
    protector = Protector(home.vault, home.keyring, key_id=places.protected.key_id())
    last = dt.datetime.fromisoformat(places.protected.manifest()["last_event"])
    until = until or day_after(last) + dt.timedelta(days=35)
    with protector.on_trial():
        safe = protected_events(descriptor, batches, protector, places, NOW)
        added = add_events(descriptor, safe, places, until=until)
    found = refreshed(descriptor, safe, places, added.stored) if safe.tables else None
    if found is None:
        return safe, added, None
    rows = OwnTokens(home.keyring, home.suppression).unsuppressed(found[0])
    put_people(rows_at(home.paths.online, PROJECT), shop_features(descriptor), rows)
    return safe, added, rows


def event_of(line: Event) -> dict[str, Any]:
    """A line of `tests.shops` as an event: the descriptor's columns, `amount` computed."""
    return {
        "customer_id": line["customer"],
        "order_id": line["invoice"],
        "ordered_at": line["ts"].isoformat(),
        "amount": line["quantity"] * line["price"],
        "quantity": line["quantity"],
        "product_id": line["stock"],
        "category": line["department"],
        "discount": line["discount"],
    }


def split(folder: Path, moment: Any) -> list[dict[str, Any]]:
    """Keep the lines of a shop from before `moment` in its file; return the others as events, by time."""
    path = folder / "lines.parquet"
    lines = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([line for line in lines if line["ts"] < moment]), path)
    later = sorted((line for line in lines if line["ts"] >= moment), key=lambda line: line["ts"])
    return [event_of(line) for line in later]
