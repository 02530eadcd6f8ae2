"""What the audit log says: events as lines of canonical JSON, naming people by references that can die."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NotRequired, TypedDict

from privacy.errors import BadInput, CheckFailed
from privacy.policy import Principal

__all__ = ["Entry", "Event", "commitment", "encoded", "new_event_id", "parsed_line"]


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


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it will stand in the log: its id, its line without the newline, whether it is stored once."""

    id: str
    line: bytes
    once: bool


def new_event_id() -> str:
    """A random id for an event that must be stored once."""
    return f"evt_{secrets.token_hex(8)}"


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


def encoded(event: Event) -> Entry:
    """The event with its id and the moment; BadInput when it can't be written as JSON."""
    principal = event["principal"]
    name = event.get("id") or new_event_id()
    body: dict[str, object] = {
        "id": name,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "action": event["action"],
        "principal": {"name": principal.name, "role": principal.role, "purpose": principal.purpose},
        "resource": event["resource"],
        "outcome": event["outcome"],
        "rule": event.get("rule", ""),
        "count": event.get("count", 0),
    }
    for optional in ("reference", "commitment", "detail"):
        value = event.get(optional)
        if value is not None:
            body[optional] = dict(value) if isinstance(value, Mapping) else value
    try:
        line = _CANONICAL.encode(body).encode()
    except (TypeError, ValueError):  # the cause may quote the value
        raise BadInput("an audit event can't be written as JSON", where=f"action {event['action']}") from None
    return Entry(name, line, "id" in event)


def parsed_line(line: bytes, number: int) -> dict[str, Any]:
    """The event of line `number` (from 1); CheckFailed when it is none."""
    try:
        body = json.loads(line)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise CheckFailed("an audit line is unreadable", where=f"line {number}")
    return body


# Sorted keys, no spaces, UTF-8: one spelling for one event. A newline inside a text is escaped, so a line is a line.
_CANONICAL: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str
)
