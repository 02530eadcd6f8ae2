"""New events into a home: held to their contract, protected, added as an increment, their people's features at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.counted import counted
from privacy.errors import BadInput
from privacy.profile import PROFILE
from privacy.treatment import Protector

from .data_time import arrived, day_after
from .datasets.descriptor import Descriptor
from .former import FORMER
from .inference_flags import InferenceFlags
from .ingest import PEOPLE, digest_of
from .intake import TableIntake
from .marking import MARKS, Marking
from .newest import missing, newest, put_beside
from .quarantine import Quarantine
from .services import shop_features
from .storage import TableStore
from .transforms.feature import Use, windows_for
from .transforms.vocabulary import CREATED

__all__ = ["PUSHED_ROWS", "Added", "Safe", "Stores", "add_events", "protected_events", "refreshed"]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
ORDER: Final = "order_token"
PUSHED_ROWS: Final = "pushed_rows"
"""The manifest's note of how many rows came since the last ingest."""


@dataclass(frozen=True)
class Stores:
    """Where events go: protected and feature tables, the sealed quarantine and the sealed flags."""

    protected: TableStore
    features: TableStore
    quarantine: Quarantine
    flags: InferenceFlags


@dataclass
class Safe:
    """Protected events by table, the people they are of (customer_token, audit_reference), and what became of others.

    `quarantined` counts by `table.column: reason`, the others rows; `bad` and `flags` are to be sealed. `whole_orders`
    says that an order comes in one piece: one that is stored stays as it is.
    """

    people: pa.Table
    tables: dict[str, pa.Table] = field(default_factory=dict)
    rows_in: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    tombstoned: int = 0
    marked: int = 0
    repeated: int = 0
    whole_orders: bool = False
    bad: dict[str, list[pa.Table]] = field(default_factory=dict)
    flags: list[pa.Table] = field(default_factory=list)

    @property
    def tokens(self) -> list[str]:
        """Whose events they are."""
        return [str(token) for token in self.people[TOKEN].to_pylist()]


@dataclass(frozen=True)
class Added:
    """How many events were new to the home and of how many new people; the dates of all events; the data's digest.

    `stored` are, of each table that events are of, all rows that the home now has of the people they are of.
    """

    events: int
    people: int
    first_event: dt.datetime
    last_event: dt.datetime
    digest: str | None
    stored: Mapping[str, pa.Table]


def protected_events(
    descriptor: Descriptor,
    batches: Mapping[str, pa.RecordBatch],
    protector: Protector,
    stores: Stores,
    now: dt.datetime,
) -> Safe:
    """Hold events to their tables' contracts and protect them; to be called inside `Protector.on_trial`."""
    marking, safe = Marking.kept(stores.protected.root / MARKS, descriptor), Safe(protector.people())
    for name, batch in batches.items():
        table = descriptor.tables[name]
        intake = TableIntake(table, protector, stores.quarantine, now)
        good, done = intake.admit(batch), intake.done
        if good.num_rows:
            plan = replace(table.plan(), marks=marking.of_table(name), held=())
            kept = pa.Table.from_batches(protector.protect([good], plan, done))
            safe.tables |= {name: kept} if kept.num_rows else {}
        safe.bad[name] = intake.bad
        safe.flags += done.flags if name == "transactions" else []
        safe.rows_in += intake.tally.rows
        safe.tombstoned += done.tombstoned
        safe.marked += done.marked
        safe.quarantined |= {f"{name}.{why}": count for why, count in intake.tally.by_reason().items()}
    safe.people = protector.people()
    return safe


def add_events(descriptor: Descriptor, safe: Safe, stores: Stores, *, until: dt.datetime) -> Added:
    """Publish protected tables with the events that they lack, in files of their own; seal what isn't to be among them.

    An event equal to one that is there, but for when it came, is that one: each is there as often as it was pushed
    at once, however often that was repeated. Raises BadInput where data time would then end after `until`.
    """
    store = stores.protected
    with store.writer() as writer:
        manifest = store.manifest("first_event", "last_event")
        entries = manifest["tables"]
        first, last = (dt.datetime.fromisoformat(manifest[name]) for name in ("first_event", "last_event"))
        newest = _newest(safe, last)
        if day_after(newest) > until:
            late = counted((day_after(newest) - until).days, "day")
            what = f"the newest order is {late} after {until.date()}, the last to push"
            why = "everybody else's features would be too old (fresh_days)"
            raise BadInput(f"{what}: {why}", remedy="if its date is right, run `custos build` and `materialize` before")
        stores.quarantine.add(descriptor.name, safe.bad)
        stores.flags.add(descriptor.name, safe.flags)
        held = {name: store.of(name, safe.tokens) for name in safe.tables}
        fresh = {name: _unknown(held[name], table, safe) for name, table in safe.tables.items()}
        fresh = {name: _dated(descriptor, name, rows, last) for name, rows in fresh.items() if rows.num_rows}
        if not fresh:
            return Added(0, 0, first, last, manifest.get("digest"), held)
        known = store.of(PEOPLE, safe.tokens)[TOKEN].combine_chunks()
        strangers = safe.people.filter(pc.invert(pc.is_in(safe.people[TOKEN], value_set=known)))
        for name, entry in entries.items():
            if name in fresh:
                writer.amend(name, entry, fresh[name], held[name])
            elif name == PEOPLE and strangers.num_rows:
                writer.amend(name, entry, strangers, strangers.slice(0, 0))
            else:
                writer.carry(name, entry)
        own = [name for name in entries if name not in (PEOPLE, FORMER)]
        told = [name for name in own if name != PROFILE or entries[name]["rows"]]
        digest = None
        if manifest.get("digest") is not None:  # else somebody was erased, and it tells of data that isn't there
            digest = digest_of(descriptor, {name: writer.digest_of(name) for name in told})
        notes = {name: note for name, note in manifest.items() if name != "tables"}
        count = sum(rows.num_rows for rows in fresh.values())
        grown = {"last_event": newest.isoformat(), PUSHED_ROWS: int(manifest.get(PUSHED_ROWS) or 0) + count}
        writer.commit({**notes, **grown, "digest": digest})
    stored = {name: _joined(rows, fresh.get(name)) for name, rows in held.items()}
    return Added(count, strangers.num_rows, first, newest, digest, stored)


def refreshed(
    descriptor: Descriptor, safe: Safe, stores: Stores, stored: Mapping[str, pa.Table]
) -> tuple[pa.Table, dt.datetime] | None:
    """Compute the newest features of everybody whose events these are, beside what is built; None before a build.

    `stored` is what `add_events` found of them. Returns the rows, to be put online, and data time, which they are at.
    """
    manifest = stores.protected.manifest("last_event")
    built = {} if stores.features.snapshot() is None else stores.features.manifest("as_of")
    if not built or built.get("lineage") is None or built["lineage"] != manifest.get("lineage"):
        return None
    day = day_after(dt.datetime.fromisoformat(manifest["last_event"]))
    moment = max(day, dt.datetime.fromisoformat(built["as_of"]))
    listed = shop_features(descriptor)
    used = ["transactions", *(["interactions"] if any(one.use is Use.ENGAGEMENT for one in listed) else [])]
    told = {name: stored[name] if name in stored else stores.protected.of(name, safe.tokens) for name in used}
    windows, kept = windows_for(descriptor.slow), stores.features.root
    events, rows = newest(listed, windows, told["transactions"], told.get("interactions"), safe.people, moment, kept)
    return put_beside(stores.features, listed, events, rows, moment), moment


def _newest(safe: Safe, last: dt.datetime) -> dt.datetime:
    """When the last event is: history begins where it did, for what comes late is known from now on only."""
    if "transactions" not in safe.tables:
        return last
    return max(last, pc.max(safe.tables["transactions"]["ordered_at"]).as_py())


def _unknown(held: pa.Table, rows: pa.Table, safe: Safe) -> pa.Table:
    """Those of `rows` that the home lacks."""
    if safe.whole_orders:
        return rows.filter(pc.invert(pc.is_in(rows[ORDER], value_set=held[ORDER].combine_chunks())))
    return missing(held, rows, but=[CREATED])


def _joined(held: pa.Table, fresh: pa.Table | None) -> pa.Table:
    return held if fresh is None else pa.concat_tables([held, fresh], promote_options="default")


def _dated(descriptor: Descriptor, name: str, rows: pa.Table, last: dt.datetime) -> pa.Table:
    column = descriptor.tables[name].event_column
    return rows if column is None or column not in rows.column_names else arrived(rows, column, last)
