"""An append-only log: each line is hash-chained to the one before it and signed; a signed head pins the end.

`audit.jsonl` holds one JSON event a line, `head.json` the number of events, the last hash and the offset
behind it. A full `verify` finds every edit, gap and reorder, a log cut off behind its head, lines without a
head, and a head that is gone from a home that has begun one. Two things nobody can see without a copy kept
elsewhere: a log and a head put back together from one older moment, and what a holder of the audit key signs.
Appending trusts what was checked before and checks only what was added since.
Events name people by references that die with the person's data key, never by a value.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack

from privacy.audit_chain import (
    EMPTY,
    HEAD,
    LOCK,
    LOG,
    End,
    checked_lines,
    parsed_head,
    signed_line,
    write_at,
    write_head,
)
from privacy.ciphers import Signer
from privacy.durable import locked
from privacy.errors import CheckFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.policy import Principal

__all__ = ["AuditLog", "AuditSummary", "Event", "commitment", "new_event_id", "verify_audit"]


@dataclass(frozen=True)
class AuditSummary:
    """A verified log: how many events, the last hash, and when the first and last happened (ISO, UTC)."""

    events: int
    head: str
    first_at: str | None
    last_at: str | None


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


class AuditLog:
    """The log in `directory`, shared by any number of processes; works with root and sealed keyrings.

    A home that has keys has begun its log: there `must_exist` makes an absent head a CheckFailed. Without it
    an absent directory is an empty log.
    """

    def __init__(self, directory: Path, keyring: Keyring | SealedKeyring, *, must_exist: bool = False) -> None:
        self._directory, self._must_exist = directory, must_exist
        self._signer: Signer = keyring.audit_signer
        self._seen: tuple[tuple[int, int], bytes | None] | None = None  # log stamp and head, as last checked
        self._last = EMPTY  # where the log ended then

    @classmethod
    def begin(cls, directory: Path, keyring: Keyring | SealedKeyring) -> AuditLog:
        """Pin an empty log when a home is made, and give it with `must_exist`; a log already begun stays.

        CheckFailed for lines without a head. To be called once, with the keys: later it would hide a loss.
        """
        log = cls(directory, keyring)
        with locked(directory / LOCK):
            log._end()
            log._pin_empty()
        return cls(directory, keyring, must_exist=True)

    def append(self, **event: Unpack[Event]) -> str:
        """Add one event and return its id; it is on disk, under a signed head, when this returns."""
        return self.append_many([event])[0]

    def append_many(self, events: Iterable[Event]) -> list[str]:
        """Add events in order with one sync for all; their ids.

        CheckFailed, and nothing added, when the log was cut off, lost its head, or was damaged behind the
        place that was checked last; damage before it is for `verify` to find.
        """
        with locked(self._directory / LOCK):
            start = end = self._end()
            wanted = list(events)
            stored = self._stored({event["id"] for event in wanted if "id" in event})
            lines, ids = [], []
            for event in wanted:
                ids.append(event.get("id") or new_event_id())
                if ids[-1] not in stored:
                    line, end = signed_line(_body(event, ids[-1]), end, self._signer)
                    lines.append(line)
            if lines:
                self._pin_empty()  # before the first line: lines without a head are always a loss
                write_at(self._directory / LOG, start.offset, b"".join(lines))
                self._remember(end, write_head(self._directory, end, self._signer))
        return ids

    def verify(self) -> AuditSummary:
        """As `verify_audit`, with this log's own public key, and never less than this log has seen."""
        must_exist = self._must_exist or self._seen is not None
        summary = verify_audit(self._directory, self._signer.public_key, must_exist=must_exist)
        if summary.events < self._last.events:
            raise _shortened(self._directory, summary.events, self._last.events)
        return summary

    def _end(self) -> End:
        """Where the log ends; a torn last line (a crash before its sync) is ignored."""
        path = self._directory / LOG
        head, pinned = parsed_head(self._directory, self._signer.public_key)
        stamp = _stamp(path)
        if self._seen == (stamp, head):
            return self._last
        if pinned is None and (self._must_exist or self._seen is not None or stamp[0]):
            raise _headless(self._directory)
        known = self._last if self._seen is not None else pinned or EMPTY
        if stamp[0] < known.offset:
            raise _shortened(self._directory, None, known.events)
        # Same length but touched: something else than an append was here, so look at every line.
        rewritten = self._seen is not None and stamp[0] == known.offset
        end = _checked_end(path, self._signer.public_key, EMPTY if rewritten else known, pinned or EMPTY)
        counted = max(known.events, pinned.events if pinned else 0)
        if end.events < counted or (pinned or EMPTY).events < self._last.events:
            raise _shortened(self._directory, min(end.events, (pinned or EMPTY).events), counted)
        self._remember(end, head)
        return end

    def _pin_empty(self) -> None:
        if not (self._directory / HEAD).exists():
            self._remember(EMPTY, write_head(self._directory, EMPTY, self._signer))

    def _remember(self, end: End, head: bytes | None) -> None:
        if head is not None:
            self._seen, self._last = (_stamp(self._directory / LOG), head), end

    def _stored(self, names: Collection[str]) -> set[str]:
        """Which of these event ids the log holds already."""
        path = self._directory / LOG
        if not names or not path.exists():
            return set()
        marks = {f'"id":"{name}"'.encode(): name for name in names}  # quotes inside a text would be escaped
        with path.open("rb") as file:
            whole = (line for line in file if line.endswith(b"\n"))
            return {name for line in whole for mark, name in marks.items() if mark in line}


def verify_audit(directory: Path, public_key: bytes, *, must_exist: bool = False) -> AuditSummary:
    """Check every line, the chain and the head with the 32-byte public key alone.

    Raises CheckFailed naming the first bad line: edited, deleted, reordered, not signed, or cut off; also for
    lines without a head, and with `must_exist` for a log without one. Otherwise an absent log is an empty one.
    """
    path = directory / LOG
    if not directory.is_dir():
        if must_exist:
            raise _headless(directory)
        return AuditSummary(0, EMPTY.hash, None, None)
    first_at = last_at = None
    end = EMPTY
    with locked(directory / LOCK, shared=True):
        _, pinned = parsed_head(directory, public_key)
        if pinned is None and (must_exist or _stamp(path)[0]):
            raise _headless(directory)
        for end, body in checked_lines(path, public_key):
            last_at = str(body["at"])
            first_at = first_at or last_at
            _agree(end, pinned, path)
    if pinned is not None and end.events < pinned.events:
        raise CheckFailed(
            f"the log was cut off after line {end.events}: its signed head counts {pinned.events}", where=path.name
        )
    return AuditSummary(end.events, end.hash, first_at, last_at)


def new_event_id() -> str:
    """A random id for an event that must be stored once."""
    return f"evt_{secrets.token_hex(8)}"


def commitment(values: Iterable[str]) -> str:
    """`salt:hash` over a set of tokens: later shows which people a bulk event was about, tells nothing alone."""
    salt = secrets.token_bytes(16)
    digest = hashlib.sha256(salt)
    for value in sorted(values):
        encoded = value.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return f"{salt.hex()}:{digest.hexdigest()}"


def _body(event: Event, name: str) -> dict[str, object]:
    principal = event["principal"]
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
    return body


def _checked_end(path: Path, public_key: bytes, start: End, pinned: End) -> End:
    """Where the log ends, every line behind `start` checked."""
    end = start
    for end, _ in checked_lines(path, public_key, start):
        _agree(end, pinned, path)
    return end


def _agree(end: End, pinned: End | None, path: Path) -> None:
    if pinned is not None and end.events == pinned.events and end != pinned:
        raise CheckFailed("the signed head names another event here", where=f"{path.name} line {end.events}")


def _headless(directory: Path) -> CheckFailed:
    return CheckFailed(
        "the audit log's signed head is missing",
        where=str(directory / HEAD),
        remedy="restore the audit directory from its backup; nothing was added",
    )


def _shortened(directory: Path, left: int | None, counted: int) -> CheckFailed:
    rest = "" if left is None else f"{left} of "
    return CheckFailed(
        f"the audit log was shortened: its end says {rest}{counted} events were there",
        where=str(directory / LOG),
        remedy="restore it from its backup; nothing was added",
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
