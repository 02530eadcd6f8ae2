"""The audit log's files: lines chained by hash and signed one by one, and the signed head that pins their end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from privacy.ciphers import Signer, verify_signature
from privacy.durable import read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed

__all__ = [
    "EMPTY",
    "HEAD",
    "LOCK",
    "LOG",
    "End",
    "checked_lines",
    "parsed_head",
    "signed_line",
    "write_at",
    "write_head",
]

LOG: Final = "audit.jsonl"
HEAD: Final = "head.json"
LOCK: Final = ".audit.lock"
_CONTEXT: Final = b"custos/audit/v1|"


@dataclass(frozen=True)
class End:
    """A place in the log: how many events lie before it, the last one's hash, and its offset in bytes."""

    events: int
    hash: str
    offset: int


EMPTY: Final = End(0, "0" * 64, 0)
"""Where an empty log ends."""


def signed_line(body: dict[str, object], after: End, signer: Signer) -> tuple[bytes, End]:
    """The line of one event, chained to what is before it, and where the log ends after it."""
    chained = {**body, "seq": after.events, "prev": after.hash}
    digest = _digest(chained)
    line = _canonical({**chained, "hash": digest, "sig": signer.sign(_CONTEXT + digest.encode()).hex()}) + b"\n"
    return line, End(after.events + 1, digest, after.offset + len(line))


def checked_lines(path: Path, public_key: bytes, after: End = EMPTY) -> Iterator[tuple[End, dict[str, Any]]]:
    """Each good line behind `after` with the place behind it; CheckFailed at the first that isn't good.

    A last line without its newline is left out: it was never acknowledged, and the next append overwrites it.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(after.offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            where = f"{path.name} line {after.events + 1}"
            try:
                body = json.loads(line)
                digest, signature = body.pop("hash"), bytes.fromhex(body.pop("sig"))
            except (AttributeError, KeyError, TypeError, ValueError):
                raise CheckFailed("an audit line is unreadable", where=where) from None
            if digest != _digest(body):
                raise CheckFailed("an audit line was edited", where=where)
            if body.get("prev") != after.hash or body.get("seq") != after.events:
                raise CheckFailed("audit lines were deleted, inserted or reordered", where=where)
            if not verify_signature(public_key, signature, _CONTEXT + digest.encode()):
                raise CheckFailed("an audit line is not signed by this home's key", where=where)
            after = End(after.events + 1, digest, after.offset + len(line))
            yield after, body


def parsed_head(directory: Path, public_key: bytes) -> tuple[bytes | None, End | None]:
    """The head file as it is, and the end it pins; None when absent, CheckFailed when it isn't genuine."""
    path = directory / HEAD
    data = read_bytes(path, "the audit head")
    if data is None:
        return None, None
    try:
        body = json.loads(data)
        signature = bytes.fromhex(body.pop("sig"))
        pinned = End(int(body["events"]), str(body["hash"]), int(body["offset"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckFailed("the audit head is unreadable", where=str(path)) from None
    if not verify_signature(public_key, signature, _CONTEXT + b"head|" + _canonical(body)):
        raise CheckFailed("the audit head is not signed by this home's key", where=str(path))
    return data, pinned


def write_head(directory: Path, end: End, signer: Signer) -> bytes:
    """Pin `end` as the log's end; the bytes written."""
    body: dict[str, object] = {"events": end.events, "hash": end.hash, "offset": end.offset}
    signature = signer.sign(_CONTEXT + b"head|" + _canonical(body)).hex()
    data = _canonical({**body, "sig": signature}) + b"\n"
    write_beside(directory / HEAD, data)
    return data


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Put `data` at `offset`, over a torn line if there is one, and sync; EnvironmentFailed adds nothing."""
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
