"""New events -> protected -> their people's features online, within one command."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from features.data_time import day_after
from features.datasets.descriptor import Descriptor
from features.inbox import Inbox
from features.inboxed import inboxed_events
from features.json_lines import PUSHED, read_events, taken
from features.materialized import Materialized
from features.online import rows_at
from features.own_tokens import OwnTokens
from features.packed_views import PERSON, PROJECT, put_people
from features.push import Added, Safe, Stores, add_events, protected_events, refreshed
from features.services import shop_features
from mlproject.home_keys import begin_to_open
from mlproject.pipelines.build import up_to_date
from mlproject.pipelines.report import record
from mlproject.state import HomeState, save_state
from privacy.counted import counted
from privacy.errors import CheckFailed
from privacy.policy import Decision
from privacy.treatment import Protector

if TYPE_CHECKING:
    import pyarrow as pa

    from mlproject.wiring import House

__all__ = ["Pushed", "push_inbox", "push_lines", "told"]


@dataclass(frozen=True)
class Pushed:
    """What a push did: events read, added, there already, kept out and waiting on; people new and online; data time.

    `seconds` are from the first look at the home until the features were online; of a stream, `through_line` is the
    number of the last line that is in.
    """

    events: int
    added: int
    repeated: int
    marked: int
    tombstoned: int
    quarantined: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    people: int = 0
    new_people: int = 0
    online: int = 0
    as_of: str | None = None
    seconds: float = 0.0
    through_line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def push_lines(house: House, lines: Iterable[bytes], first: int = 1) -> Pushed:
    """Add the events of JSON `lines` and put the newest features of their people online; repeatable.

    Raises BadInput for lines that are no events, counted from `first`, and CheckFailed, once they are sealed, when none
    of them was good.
    """
    started = time.perf_counter()
    _permitted(house)
    begin_to_open(house)
    given = taken(lines, first)  # however slowly they come, the home is locked only then
    with house.lock():
        house = house.renewed()
        decision, descriptor, stores, state = _begun(house)
        schemas: dict[str, pa.Schema] = {name: _schema(stores, name) for name in PUSHED if name in descriptor.tables}
        batches = read_events(given, descriptor, schemas, first)
        protector = Protector(house.vault, house.keyring, key_id=stores.protected.key_id())
        with protector.on_trial():
            safe = protected_events(descriptor, batches, protector, stores, house.now())
            added = add_events(descriptor, safe, stores, until=_until(house, state))
        pushed = _settled(house, descriptor, state, safe, added, stores)
    return _noted(house, decision, descriptor, pushed, added, started)


def push_inbox(house: House) -> Pushed:
    """Add what the API took and nobody has added yet, as `push_lines` does; then it waits no longer.

    An event after the last day that may be pushed waits on: a build makes room for it.
    """
    started = time.perf_counter()
    _permitted(house)
    begin_to_open(house)
    with house.lock():
        house = house.renewed()
        decision, descriptor, stores, state = _begun(house)
        inbox, until = Inbox(house.paths.inbox), _until(house, state)
        waiting, events = inbox.waiting(), list[Mapping[str, Any]]()
        later: list[list[Mapping[str, Any]]] = [[] for _ in waiting]
        for (_, held), rest in zip(waiting, later, strict=True):
            for event in held:
                (rest if day_after(_moment(event)) > until else events).append(event)
        safe = inboxed_events(descriptor, events, house.vault, house.keyring, stores)
        added = add_events(descriptor, safe, stores, until=until)
        pushed = _settled(house, descriptor, state, safe, added, stores)
        for (file, held), rest in zip(waiting, later, strict=True):
            if len(rest) < len(held):
                inbox.keep(file, rest)
        pushed = replace(pushed, waiting=sum(map(len, later)))
    return _noted(house, decision, descriptor, pushed, added, started)


def told(pushed: Pushed) -> Iterator[str]:
    """Yield what to tell the user."""
    bad = sum(pushed.quarantined.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(pushed.quarantined.items()))
    kept_out = [
        (pushed.repeated, "there already"),
        (bad, f"quarantined ({reasons})"),
        (pushed.marked, "marked and left out"),
        (pushed.tombstoned, "of the erased refused"),
    ]
    rest = "".join(f", {count:,} {why}" for count, why in kept_out if count)
    through = "" if pushed.through_line is None else f" (through line {pushed.through_line:,})"
    new = counted(pushed.new_people, "new person", "new people")
    yield f"push: {pushed.added:,} of {counted(pushed.events, 'event')} added{rest}, {new}{through}"
    if pushed.waiting:
        yield f"{pushed.waiting:,} wait on: they are dated after the last day that may be pushed; `custos build` first"
    if pushed.as_of is None and pushed.added + pushed.repeated == 0:
        return
    if pushed.as_of is None:
        yield "no features are built of these data yet: run `custos build`, then `custos materialize`"
    elif pushed.online:
        day = datetime.fromisoformat(pushed.as_of).date()
        people = counted(pushed.online, "person", "people")
        yield f"online store: {people} as of {day}, {pushed.seconds:.2f} s after the push began"
    elif pushed.added:
        yield "nobody of them is online; the others are after `custos materialize`"


def _permitted(house: House) -> Decision:
    return house.permit("push", f"dataset:{house.state.dataset}")


def _begun(house: House) -> tuple[Decision, Descriptor, Stores, HomeState]:
    """What a push works with, as it is while the home is locked: another command may have changed it before."""
    decision, descriptor, places = _permitted(house), house.descriptor, house.stores
    protected, features = places.protected_store(descriptor.name), places.feature_store(descriptor.name)
    return decision, descriptor, Stores(protected, features, house.quarantine, house.inference_flags), up_to_date(house)


def _until(house: House, state: HomeState) -> datetime:
    """The last day that a push may bring data time to: the features of everybody else must not be too old there."""
    return (state.as_of or day_after(state.last_event)) + timedelta(days=house.settings.fresh_days)


def _moment(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["ordered_at"]).astimezone(UTC)


def _settled(
    house: House, descriptor: Descriptor, state: HomeState, safe: Safe, added: Added, stores: Stores
) -> Pushed:
    """Put the people online whose events these are, and keep the dates; what the push did."""
    moment, online = _put_online(house, descriptor, state, safe, stores, added)
    save_state(house.paths.state, replace(house.state, first_event=added.first_event, last_event=added.last_event))
    good = sum(table.num_rows for table in safe.tables.values())
    return Pushed(
        events=safe.rows_in,
        added=added.events,
        repeated=good - added.events + safe.repeated,
        marked=safe.marked,
        tombstoned=safe.tombstoned,
        quarantined=safe.quarantined,
        people=safe.people.num_rows,
        new_people=added.people,
        online=online,
        as_of=None if moment is None else moment.isoformat(),
    )


def _noted(
    house: House, decision: Decision, descriptor: Descriptor, pushed: Pushed, added: Added, started: float
) -> Pushed:
    """Audit and report a push; CheckFailed where nothing of it could be used."""
    pushed = replace(pushed, seconds=round(time.perf_counter() - started, 3))
    detail = {"digest": added.digest, "people": pushed.people, "online": pushed.online}
    house.note(decision, "push", f"dataset:{descriptor.name}", count=added.events, detail=detail)
    record(house, "push", pushed.to_dict())
    if pushed.quarantined and not pushed.added + pushed.repeated:
        reason, count = max(pushed.quarantined.items(), key=lambda item: item[1])
        what = f"no event could be used: {reason} in {count} of {pushed.events}"
        raise CheckFailed(what, remedy="they are sealed in the quarantine; mend them where they come from, push again")
    return pushed


def _schema(stores: Stores, table: str) -> pa.Schema:
    """The columns of a stored table, as its first file has them."""
    return pq.read_schema(stores.protected.files(table)[0])


def _put_online(
    house: House, descriptor: Descriptor, state: HomeState, safe: Safe, stores: Stores, added: Added
) -> tuple[datetime | None, int]:
    """Compute the newest features of whose events these are and put them online; data time, and how many people."""
    if not safe.tables or state.as_of is None:
        return None, 0
    own, online = OwnTokens(house.sealed, house.suppression), rows_at(house.stores.online, PROJECT)
    note = Materialized.of(house.stores, online, descriptor.name, own.how_many_suppressed())
    all_there = state.online and note.unwritten() == []  # not so, too, where the server is away
    note.forget()
    found = refreshed(descriptor, safe, stores, added.stored)
    if found is None:
        return None, 0
    rows, moment = found
    rows = own.unsuppressed(rows).sort_by("customer_token")
    if not state.online or online.newest(PERSON) is None or not rows.num_rows:
        return moment, 0  # a few people alone are no online store: the rest would be taken for unknown
    put_people(online, shop_features(descriptor), rows)
    if all_there:
        note.note()
    return moment, rows.num_rows
