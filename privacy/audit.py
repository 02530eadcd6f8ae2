"""An append-only log: each line is hash-chained to the one before it and signed; a signed head pins the end.

`audit.jsonl` holds one JSON event a line, `head.json` the number of events and the last hash. Edits, gaps
and reorders break the chain, a shortened log falls behind its head, and nobody without the key can add.
Events name people by references that die with the person's data key, never by a value.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, Unpack

from privacy.ciphers import Signer, verify_signature
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.policy import Principal

__all__ = ["AuditLog", "AuditSummary", "Event", "commitment", "verify_audit"]

_LOG: Final = "audit.jsonl"
_HEAD: Final = "head.json"
_LOCK: Final = ".audit.lock"
_GENESIS: Final = "0" * 64
_CONTEXT: Final = b"custos/audit/v1|"


@dataclass(frozen=True)
class AuditSummary:
    """A verified log: how many events, the last hash, and when the first and last happened (ISO, UTC)."""

    events: int
    head: str
    first_at: str | None
    last_at: str | None


class Event(TypedDict):
    """What `append` takes; no field may hold a person's value."""

    action: str
    principal: Principal
    resource: str
    outcome: str
    rule: NotRequired[str]
    count: NotRequired[int]
    reference: NotRequired[str | None]
    commitment: NotRequired[str | None]
    detail: NotRequired[Mapping[str, object] | None]


class AuditLog:
    """The log in `directory`, shared by any number of processes; works with root and sealed keyrings."""

    def __init__(self, directory: Path, keyring: Keyring | SealedKeyring) -> None:
        self._directory = directory
        self._signer: Signer = keyring.audit_signer
        self._stamp: tuple[int, int] | None = None  # bytes and time of the log as this process left it
        self._last = (0, 0, _GENESIS)  # its bytes, events and last hash

    def append(self, **event: Unpack[Event]) -> str:
        """Add one event and return its id; it is on disk, under a signed head, when this returns."""
        return self.append_many([event])[0]

    def append_many(self, events: Iterable[Event]) -> list[str]:
        """Add events in order with one sync for all; their ids. CheckFailed when the log was damaged."""
        with locked(self._directory / _LOCK):
            size, count, previous = self._end()
            lines, ids = [], []
            for event in events:
                line, previous, name = self._line(event, count, previous)
                count += 1
                lines.append(line)
                ids.append(name)
            if lines:
                data = b"".join(lines)
                _write_at(self._directory / _LOG, size, data)
                self._write_head(count, previous)
                self._stamp, self._last = _stamp(self._directory / _LOG), (size + len(data), count, previous)
        return ids

    def verify(self) -> AuditSummary:
        """As `verify_audit`, with this log's own public key."""
        return verify_audit(self._directory, self._signer.public_key)

    def _line(self, event: Event, sequence: int, previous: str) -> tuple[bytes, str, str]:
        principal = event["principal"]
        name = f"evt_{secrets.token_hex(8)}"
        body: dict[str, object] = {
            "seq": sequence,
            "id": name,
            "at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "action": event["action"],
            "principal": {"name": principal.name, "role": principal.role, "purpose": principal.purpose},
            "resource": event["resource"],
            "outcome": event["outcome"],
            "rule": event.get("rule", ""),
            "count": event.get("count", 0),
            "prev": previous,
        }
        for optional in ("reference", "commitment", "detail"):
            value = event.get(optional)
            if value is not None:
                body[optional] = dict(value) if isinstance(value, Mapping) else value
        digest = _digest(body)
        body["hash"] = digest
        body["sig"] = self._signer.sign(_CONTEXT + digest.encode()).hex()
        return _canonical(body) + b"\n", digest, name

    def _end(self) -> tuple[int, int, str]:
        """Bytes, events and last hash of the log; a torn last line (a crash before its sync) is ignored."""
        path = self._directory / _LOG
        if self._stamp is not None and _stamp(path) == self._stamp:
            return self._last
        head = _read_head(self._directory, self._signer.public_key)
        end, count, last = 0, 0, _GENESIS
        for offset, body in _checked_lines(path, self._signer.public_key, allow_torn=True):
            end, count, last = offset, count + 1, str(body["hash"])
        if count < head[0]:
            raise CheckFailed(
                f"the audit log was shortened: {count} of {head[0]} events are left",
                where=str(path),
                remedy="restore it from its backup; nothing was added",
            )
        return end, count, last

    def _write_head(self, count: int, last: str) -> None:
        body = {"events": count, "hash": last}
        signature = self._signer.sign(_CONTEXT + b"head|" + _canonical(body)).hex()
        write_beside(self._directory / _HEAD, _canonical({**body, "sig": signature}) + b"\n")


def verify_audit(directory: Path, public_key: bytes) -> AuditSummary:
    """Check every line, the chain and the head with the 32-byte public key alone.

    Raises CheckFailed naming the first bad line: edited, deleted, reordered, not signed, or cut off.
    """
    if not directory.is_dir():
        return AuditSummary(0, _GENESIS, None, None)
    path = directory / _LOG
    first_at = last_at = None
    count, last = 0, _GENESIS
    with locked(directory / _LOCK, shared=True):
        pinned, pinned_hash = _read_head(directory, public_key)
        for _, body in _checked_lines(path, public_key, allow_torn=True):
            count, last, last_at = count + 1, str(body["hash"]), str(body["at"])
            first_at = first_at or last_at
            if count == pinned and last != pinned_hash:
                raise CheckFailed("the signed head names another event here", where=f"{path.name} line {count}")
    if count < pinned:
        raise CheckFailed(f"the log was cut off after line {count}: its signed head counts {pinned}", where=path.name)
    if count and not pinned:
        raise CheckFailed("the signed head is missing", where=str(directory / _HEAD))
    return AuditSummary(count, last, first_at, last_at)


def commitment(values: Iterable[str]) -> str:
    """`salt:hash` over a set of tokens: later shows which people a bulk event was about, tells nothing alone."""
    salt = secrets.token_bytes(16)
    digest = hashlib.sha256(salt)
    for value in sorted(values):
        encoded = value.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return f"{salt.hex()}:{digest.hexdigest()}"


def _checked_lines(path: Path, public_key: bytes, *, allow_torn: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each good line with the offset after it; CheckFailed at the first that isn't."""
    if not path.exists():
        return
    previous, offset = _GENESIS, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and allow_torn:
                return  # never acknowledged; the next append overwrites it
            where = f"{path.name} line {number}"
            try:
                body = json.loads(line)
                digest, signature = body.pop("hash"), bytes.fromhex(body.pop("sig"))
            except (AttributeError, KeyError, TypeError, ValueError):
                raise CheckFailed("an audit line is unreadable", where=where) from None
            if digest != _digest(body):
                raise CheckFailed("an audit line was edited", where=where)
            if body.get("prev") != previous or body.get("seq") != number - 1:
                raise CheckFailed("audit lines were deleted, inserted or reordered", where=where)
            if not verify_signature(public_key, signature, _CONTEXT + digest.encode()):
                raise CheckFailed("an audit line is not signed by this home's key", where=where)
            previous, offset = digest, offset + len(line)
            yield offset, {**body, "hash": digest}


def _read_head(directory: Path, public_key: bytes) -> tuple[int, str]:
    data = read_bytes(directory / _HEAD, "the audit head")
    if data is None:
        return 0, _GENESIS
    try:
        body = json.loads(data)
        signature = bytes.fromhex(body.pop("sig"))
        events, last = int(body["events"]), str(body["hash"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckFailed("the audit head is unreadable", where=str(directory / _HEAD)) from None
    if not verify_signature(public_key, signature, _CONTEXT + b"head|" + _canonical(body)):
        raise CheckFailed("the audit head is not signed by this home's key", where=str(directory / _HEAD))
    return events, last


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _write_at(path: Path, offset: int, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, offset)  # drops a torn line only: everything before was checked
            written = os.pwrite(descriptor, data, offset)
            if written != len(data):
                os.ftruncate(descriptor, offset)
                raise EnvironmentFailed("the disk is full: the audit event was not stored", where=str(path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise EnvironmentFailed(f"cannot write the audit log: {reason}", where=str(path)) from None


def _canonical(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(_CONTEXT + _canonical(body)).hexdigest()
