"""What the audit log says: events as lines of canonical JSON, naming people by references that can die."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, NotRequired, TypedDict

from privacy.errors import BadInput, CheckFailed
from privacy.json_files import parse_object
from privacy.policy import Principal

__all__ = ["Entry", "Event", "commitment", "encoded", "new_event_id", "parsed_line"]

_ID_PREFIX: Final = "evt_"
_ID_BYTES: Final = 8


class Event(TypedDict):
    """What `append` takes; no field may hold a person's value.

    `id` (from `new_event_id`) makes an event one that is stored once, however often it is appended.
    """

    action: str
    principal: Principal
    resource: str
    outcome: str
    id: NotRequired[str]
    rule: NotRequired[str]
    count: NotRequired[int]
    reference: NotRequired[str | None]
    commitment: NotRequired[str | None]
    detail: NotRequired[Mapping[str, object] | None]


class Entry(NamedTuple):
    """An event as it will stand in the log: its id, its line without the newline, whether it is stored once."""

    id: str
    line: bytes
    once: bool


def new_event_id() -> str:
    """A random id for an event that must be stored once."""
    return f"{_ID_PREFIX}{secrets.token_hex(_ID_BYTES)}"


def commitment(values: Iterable[str]) -> str:
    """`salt:hash` over a set of tokens: shows later which people a bulk event was about, tells nothing alone.

    The hash is SHA-256 over the 16-byte salt and the values in order, each behind its length in 4 bytes: two
    different sets never hash the same bytes, the order given doesn't matter, and two events about the same
    people don't look alike. Who is told the values recomputes it. It hides as much as the values themselves do:
    tokens have 128 random bits, names or phone numbers could be guessed.

    >>> salt, _, digest = commitment(["ret_b", "ret_a"]).partition(":")
    >>> told = b"".join(len(v).to_bytes(4, "big") + v for v in (b"ret_a", b"ret_b"))
    >>> digest == hashlib.sha256(bytes.fromhex(salt) + told).hexdigest()
    True
    """
    salt = secrets.token_bytes(16)
    digest = hashlib.sha256(salt)
    for value in sorted(values):
        encoded = value.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return f"{salt.hex()}:{digest.hexdigest()}"


def encoded(events: Iterable[Event]) -> list[Entry]:
    """The events with their ids, all of this moment; BadInput when one can't be written as JSON."""
    wanted = list(events)
    at, fresh = datetime.now(UTC).isoformat(timespec="microseconds"), secrets.token_hex(_ID_BYTES * len(wanted))
    digits = 2 * _ID_BYTES
    return [
        _entry(event, at, event.get("id") or f"{_ID_PREFIX}{fresh[number * digits : (number + 1) * digits]}")
        for number, event in enumerate(wanted)
    ]


def _entry(event: Event, at: str, name: str) -> Entry:
    """One event's line: canonical JSON, put together from parts that are canonical, the keys in their order."""
    count, who = event.get("count", 0), event["principal"]
    try:
        head, middle, tail = _shared_parts(
            event["action"], event["outcome"], who.name, who.role, who.purpose, event["resource"], event.get("rule", "")
        )
        line = (
            f'{head}{at}"{_optional(event, "commitment")},"count":{count if type(count) is int else _json(count)}'
            f'{_optional(event, "detail")},"id":{_json(name)}{middle}{_optional(event, "reference")}{tail}'
        ).encode()
    except (TypeError, ValueError):  # the cause may quote the value
        raise BadInput("an audit event can't be written as JSON", where=f"action {event['action']}") from None
    return Entry(name, line, "id" in event)


@lru_cache(maxsize=1024)
def _shared_parts(
    action: str, outcome: str, name: str, role: str, purpose: str | None, resource: str, rule: str
) -> tuple[str, str, str]:
    """What many events have in common, which is worth remembering: the line's beginning, middle and end."""
    principal = {"name": name, "role": role, "purpose": purpose}
    return (
        f'{{"action":{_json(action)},"at":"',
        f',"outcome":{_json(outcome)},"principal":{_json(principal)}',
        f',"resource":{_json(resource)},"rule":{_json(rule)}}}',
    )


def _optional(event: Event, key: Literal["commitment", "detail", "reference"]) -> str:
    value = event.get(key)
    return "" if value is None else f',"{key}":{_json(value)}'


def parsed_line(line: bytes, number: int) -> dict[str, Any]:
    """The event of line `number` (from 1); CheckFailed when it is none."""
    try:
        return parse_object(line)
    except ValueError:
        raise CheckFailed("an audit line is unreadable", where=f"line {number}") from None


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


# Sorted keys, no spaces, UTF-8: one spelling for one event. A newline inside a text is escaped, so a line is a line.
_json: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
).encode
