"""The audit log's files: events and checkpoint are the log; leaf hashes and state are derived from them.

`events.jsonl` holds one event a line, `checkpoint` the signed tree head over the lines that are acknowledged.
`leaves` holds their hashes (32 bytes each), so that damage can be located; `state.json` holds a place near the end,
so that a new process needn't read them all. Either may be lost or stale: it is checked and made anew.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from privacy.audit_events import parsed_line
from privacy.durable import read_bytes, write_beside
from privacy.errors import EnvironmentFailed
from privacy.json_files import parse_object
from privacy.merkle import HASH_BYTES, CompactRange, leaf_hash

__all__ = ["START", "LogFiles", "Place", "Stamp"]

Stamp = tuple[int, int, int]
"""Length, inode and change time of the lines: alike means that nobody wrote to them."""


@dataclass(frozen=True)
class Place:
    """A place in the log: how many events lie before it, its offset in bytes, the right edge of their tree."""

    size: int
    offset: int
    edge: tuple[bytes, ...]

    def root(self) -> bytes:
        """The root over the events before it."""
        return CompactRange(self.size, self.edge).root()


START: Final = Place(0, 0, ())


class LogFiles:
    """Reads and writes them; knows nothing of keys, and decides nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events, self.checkpoint = directory / "events.jsonl", directory / "checkpoint"
        self.leaves, self.state = directory / "leaves", directory / "state.json"
        self.lock = directory / ".lock"

    def stamp(self) -> Stamp:
        """By which a change of the lines shows; zeros when there is no file."""
        try:
            status = self.events.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return status.st_size, status.st_ino, status.st_ctime_ns

    def read_checkpoint(self) -> bytes | None:
        """The signed note as it is; None when absent."""
        return read_bytes(self.checkpoint, "the audit checkpoint")

    def lines(self, offset: int = 0) -> Iterator[bytes]:
        """Whole lines from `offset` on, without their newlines; a torn one at the end is left out."""
        try:
            with self.events.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    yield line[:-1]
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed("read", error, self.events) from None

    def lines_left(self, offset: int) -> int:
        """How many lines begin at `offset` or later, a torn one too."""
        try:
            with self.events.open("rb") as file:
                file.seek(offset)
                return sum(1 for _ in file)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _failed("read", error, self.events) from None

    def holding(self, names: Collection[str], end: int) -> set[str]:
        """Which of these event ids the lines before offset `end` hold."""
        if not names or not end:
            return set()
        try:
            with self.events.open("rb") as file, mmap.mmap(file.fileno(), end, prot=mmap.PROT_READ) as data:
                return {name for name in names if _holds(data, name)}
        except (OSError, ValueError) as error:
            raise _failed("read", error, self.events) from None

    def write_lines(self, offset: int, lines: Sequence[bytes]) -> None:
        """Put lines at `offset`, over what was never acknowledged, and sync; EnvironmentFailed adds nothing."""
        data = b"\n".join([*lines, b""])
        try:
            descriptor = os.open(self.events, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if os.fstat(descriptor).st_size > offset:
                    os.ftruncate(descriptor, offset)
                try:
                    _write_all(descriptor, data, offset)
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, offset)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed("write", error, self.events) from None

    def publish(self, note: bytes) -> None:
        """Put a checkpoint in the place of the last one and sync; from now on the lines it covers are the log."""
        write_beside(self.checkpoint, note)

    def check_writable(self) -> None:
        """EnvironmentFailed when the lines can't be written to, or no space is left for one."""
        place = self.events if self.events.exists() else self.directory
        room = os.statvfs(place)
        full = room.f_blocks and not (room.f_bavail if os.geteuid() else room.f_bfree)
        for refused, number in ((not os.access(place, os.W_OK), errno.EACCES), (full, errno.ENOSPC)):
            if refused:
                raise _failed("write", OSError(number, os.strerror(number)), self.events)

    def write_leaves(self, first: int, leaves: Sequence[bytes]) -> None:
        """Keep the hashes of the lines from `first` on, and those before when they aren't there.

        Derived, so not synced, and a failure is passed over: the events are acknowledged already.
        """
        with contextlib.suppress(OSError, EnvironmentFailed):
            if _length(self.leaves) == first * HASH_BYTES:
                _put(self.leaves, first * HASH_BYTES, b"".join(leaves))
            else:
                found = [leaf_hash(line) for line in islice(self.lines(), first + len(leaves))]
                _put(self.leaves, 0, b"".join(found), cut=True)

    def write_state(self, place: Place) -> None:
        """Keep a place with a line behind it, for the next process; derived as the leaf hashes are."""
        edge = [node.hex() for node in place.edge]
        with contextlib.suppress(OSError):
            state = {"size": place.size, "offset": place.offset, "edge": edge}
            _put(self.state, 0, json.dumps(state).encode(), cut=True)

    def read_state(self) -> Place:
        """The place that was kept, to be checked against the signed root; the start when there is none."""
        try:
            kept = parse_object(self.state.read_bytes())
            place = Place(int(kept["size"]), int(kept["offset"]), tuple(map(bytes.fromhex, kept["edge"])))
            place.root()  # ValueError when the edge doesn't fit
        except (OSError, ArithmeticError, LookupError, TypeError, ValueError):
            return START
        return place if 0 <= place.offset <= self.stamp()[0] else START

    def read_leaves(self, size: int) -> list[bytes]:
        """The first `size` hashes that were kept, or fewer; to be checked against a signed root."""
        try:
            data = self.leaves.read_bytes()[: size * HASH_BYTES]
        except OSError:
            return []
        return [data[at : at + HASH_BYTES] for at in range(0, len(data) - HASH_BYTES + 1, HASH_BYTES)]


def _holds(data: mmap.mmap, name: str) -> bool:
    """Whether an event has this id; the same letters may also stand inside another event's detail."""
    mark, found = f'"id":{json.dumps(name, ensure_ascii=False)}'.encode(), -1
    while (found := data.find(mark, found + 1)) >= 0:
        start = data.rfind(b"\n", 0, found) + 1
        if parsed_line(data[start : data.find(b"\n", found)], 0).get("id") == name:
            return True
    return False


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    done = 0
    while done < len(data):  # a full disk takes a part first, and says so at the next call
        done += os.pwrite(descriptor, data[done:] if done else data, offset + done)


def _put(path: Path, offset: int, data: bytes, *, cut: bool = False) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _write_all(descriptor, data, offset)
        if cut:
            os.ftruncate(descriptor, offset + len(data))
    finally:
        os.close(descriptor)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _failed(verb: str, error: Exception, path: Path) -> EnvironmentFailed:
    reason = (error.strerror if isinstance(error, OSError) else None) or "input/output error"
    remedy = "nothing was acknowledged; free space or mend the permissions, then try again" if verb == "write" else ""
    return EnvironmentFailed(f"cannot {verb} the audit log: {reason}", where=str(path), remedy=remedy)
