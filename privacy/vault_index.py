"""Identity index -> handle beside the database: sorted, memory-mapped segments derived from the vault.

A directory of its own holds `manifest.json` and the segments it names. New people become a small segment; it is
merged with the one before it unless that one is at least four times as large, so the base is rewritten only when
what was added has grown to a quarter of it. Few people (fewer than `PUBLISH_ROWS`) wait in memory until more come
or the vault is closed. Whoever is severed, or linked to another, is erased in place, in every segment, before the
database is changed. Everything here may be deleted at any time: what is missing, damaged, another vault's or older
than the vault's last removal is made anew from the database, and ids that aren't found are looked up there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.json_files import parse_object
from privacy.vault_changes import State, is_past, state_of
from privacy.vault_database import reading
from privacy.vault_schema import identities, intakes
from privacy.vault_segment import Segment

__all__ = ["PUBLISH_ROWS", "IdentityIndex", "Stack"]

Blocks = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

PUBLISH_ROWS: Final = 4096
_GROWTH: Final = 4
_FETCHED: Final = 65_536
_FORMAT: Final = "custos-vault-index/1"
_MANIFEST: Final = "manifest.json"
_PART: Final = ".segment"
_TRIES: Final = 5
_WHAT: Final = "vault"


@dataclass(frozen=True)
class Stack:
    """Segments, the oldest and largest first; no key is in two of them, and `gone` were erased."""

    segments: tuple[Segment, ...] = ()
    gone: int = 0

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments) - self.gone

    def find(self, keys: Blocks) -> tuple[Blocks, Flags]:
        """(n, 16) values, zero where unknown, and which keys are known."""
        if not self.segments:
            return np.zeros((len(keys), 16), np.uint8), np.zeros(len(keys), np.bool_)
        values, known = self.segments[0].find(keys)
        for segment in self.segments[1:]:
            rest = np.flatnonzero(~known)
            if not len(rest):
                break
            values[rest], known[rest] = segment.find(keys[rest])
        return values, known

    def plus(self, part: Segment) -> Stack:
        """With those of `part` that it doesn't hold yet; merged as the module says."""
        if self.segments:
            keys, values = part.rows()
            known = self.find(keys)[1]
            part = Segment.of(keys[~known], values[~known]) if known.any() else part
        if not len(part):
            return self
        parts, older = [part], list(self.segments)
        while older and len(older[-1]) < _GROWTH * sum(len(one) for one in parts):
            parts.insert(0, older.pop())
        fresh = parts[0] if len(parts) == 1 else Segment.merged(parts)
        dropped = sum(len(one) for one in parts) - len(fresh)
        return Stack((*older, fresh), self.gone - dropped)

    def less(self, keys: Blocks) -> Stack:
        """Without those keys, which are erased in place."""
        return replace(self, gone=self.gone + sum(segment.erase(keys) for segment in self.segments))


@dataclass(frozen=True)
class _View:
    """What was read of the index: only what the vault holds after change `number`, its last removal included."""

    stack: Stack
    number: int
    tag: bytes
    removals: int
    stamp: tuple[int, int] = (0, 0)


class IdentityIndex:
    """One vault's index in `directory`, or resident in memory without one; several processes share a directory."""

    def __init__(self, engine: sa.Engine, directory: Path | None, owner: bytes) -> None:
        self._engine, self._directory, self._owner = engine, directory, owner
        self._view: _View | None = None
        self._waiting, self._waiting_since = Stack(), -1
        self._turn, self._depth = threading.RLock(), 0

    def find(self, keys: Blocks, state: State) -> tuple[Blocks, Flags]:
        """(n, 16) handles, zero where unknown, and who is known at `state`; the others may be in the database."""
        view = self._current(state)
        values, known = view.stack.find(keys)
        rest = np.flatnonzero(~known)
        if len(rest) and len(self._waiting):
            values[rest], known[rest] = self._waiting.find(keys[rest])
            rest = rest[~known[rest]]
        if len(rest) and self._directory is not None and self._stamp() != view.stamp:  # others have added people
            newer = self._fitting()
            if newer is not None:
                self._view = newer
                values[rest], known[rest] = newer.stack.find(keys[rest])
        return values, known

    def holds_all(self, state: State, besides: int = 0) -> bool:
        """Whether it has as many as the vault had at `state`, not counting `besides`: a hint, not a proof."""
        return len(self._current(state).stack) + len(self._waiting) + besides == state.identities

    def add(self, keys: Blocks, handles: Blocks, state: State) -> None:
        """Remember people whom the database has for good; `state` was read before they were."""
        if state.removals != self._waiting_since:
            self._waiting, self._waiting_since = Stack(), state.removals
        self._waiting = self._waiting.plus(Segment.of(keys, handles))
        if len(self._waiting) >= PUBLISH_ROWS or self._directory is None:
            self.publish()

    def publish(self) -> None:
        """Put who waits in memory into the files; when the disk refuses they stay in memory."""
        if not len(self._waiting):
            return
        with suppress(EnvironmentFailed), self.held():
            with reading(self._engine, _WHAT) as connection:
                state = state_of(connection)
            stack = (self._fitting() or self._remade()).stack if self._directory else self._current(state).stack
            if state.removals == self._waiting_since:  # else somebody among them may be gone
                for part in self._waiting.segments:
                    stack = stack.plus(part)
                self._store(stack, state)
            self._waiting = Stack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from changing the files; taken before a writing transaction, never inside one."""
        with self._turn:
            if self._directory is None or self._depth:
                yield
                return
            self._depth += 1
            try:
                with suppress(OSError):  # if it can't be made, the lock says why
                    self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                with locked(self._directory / ".lock"):
                    yield
            finally:
                self._depth -= 1

    def erase(self, keys: Blocks) -> None:
        """Held, and before the database is changed: put zeros over identities in every segment.

        Should the change then fail, they are merely not found here.
        """
        self._waiting = self._waiting.less(keys)
        if self._directory is None:
            view = self._view
        else:
            view = self._fitting()
            stale = None if view is not None else self._read()  # erased all the same
            if stale is not None:
                stale.stack.less(keys)
        self._view = None if view is None else replace(view, stack=view.stack.less(keys))

    def settle(self, after: State) -> None:
        """Still held, and after the database was changed: say that the files fit the vault again."""
        if self._view is not None:
            try:
                self._store(self._view.stack, after)
            except EnvironmentFailed:
                self._view = None  # the files don't fit any more, and are made anew when the disk allows
        self._waiting, self._waiting_since = Stack(), after.removals

    def _current(self, state: State) -> _View:
        if self._view is None or self._view.removals < state.removals:
            self._view = (self._fitting() if self._directory else None) or self._mended()
        if self._waiting_since < self._view.removals:
            self._waiting, self._waiting_since = Stack(), self._view.removals
        return self._view

    def _mended(self) -> _View:
        """Made anew, unless another process was doing just that, or was in the middle of a removal."""
        try:
            with self.held():
                return (self._fitting() if self._directory else None) or self._remade()
        except EnvironmentFailed:  # the database, which then fails again, or the directory: do without that
            view, self._directory = self._resident(), None
            return view

    def _remade(self) -> _View:
        view = self._resident()
        with suppress(EnvironmentFailed):
            view = self._store(view.stack, State(view.number, view.tag, view.removals, 0, 0))
        return view

    def _resident(self) -> _View:
        """Everybody who is in the database for good, in memory."""
        on_trial = sa.select(intakes.c.number)
        wanted = sa.select(identities.c.idx, identities.c.handle).where(identities.c.intake.not_in(on_trial))
        with reading(self._engine, _WHAT) as connection:
            state = state_of(connection)
            rows, count = np.empty((2, state.identities, 16), np.uint8), 0
            for part in connection.execution_options(yield_per=_FETCHED).execute(wanted).partitions():
                here = slice(count, count := count + len(part))
                rows[0, here] = np.frombuffer(b"".join([row[0] for row in part]), np.uint8).reshape(-1, 16)
                rows[1, here] = np.frombuffer(b"".join([row[1] for row in part]), np.uint8).reshape(-1, 16)
        stack = Stack((Segment.of(rows[0, :count], rows[1, :count]),)) if count else Stack()
        return _View(stack, state.number, state.tag, state.removals)

    def _fitting(self) -> _View | None:
        """The files as they are now, if they are whole, this vault's, and no older than its last removal."""
        view = self._read()
        if view is None:
            return None
        with reading(self._engine, _WHAT) as connection:
            state = state_of(connection)
            known = is_past(connection, view.number, view.tag)
        fits = known and view.removals == state.removals and len(view.stack) <= state.identities
        return view if fits else None

    def _read(self) -> _View | None:
        if self._directory is None:
            return None
        for _ in range(_TRIES):
            stamp = self._stamp()
            try:
                text = read_bytes(self._directory / _MANIFEST, "the vault's index")
                document = parse_object(text or b"")
                if document["format"] != _FORMAT or document["owner"] != self._owner.hex():
                    return None
                parts = [
                    Segment.open(self._directory / f"{int(n, 16):016x}{_PART}", self._owner)
                    for n in document["segments"]
                ]
                stack = Stack(tuple(parts), int(document["gone"]))
                if not 0 <= stack.gone <= sum(map(len, parts)) or int(document["number"]).bit_length() > 63:
                    return None
                return _View(
                    stack, int(document["number"]), bytes.fromhex(document["tag"]), int(document["removals"]), stamp
                )
            except FileNotFoundError:  # merged away since the manifest was read
                continue
            except (CheckFailed, EnvironmentFailed, OSError, KeyError, TypeError, ValueError):
                return None
        return None

    def _store(self, stack: Stack, state: State) -> _View:
        """Publish the segments as those of `state`, then remove the files that no manifest names any more."""
        if self._directory is not None:
            parts = [segment if segment.path else self._placed(segment) for segment in stack.segments]
            stack = replace(stack, segments=tuple(parts))
            names = [part.path.name.removesuffix(_PART) for part in parts if part.path]
            document = {
                "format": _FORMAT,
                "owner": self._owner.hex(),
                "number": state.number,
                "tag": state.tag.hex(),
                "removals": state.removals,
                "gone": stack.gone,
                "segments": names,
            }
            write_beside(self._directory / _MANIFEST, json.dumps(document).encode())
            for path in (*self._directory.glob(f"*{_PART}"), *self._directory.glob(".*.tmp")):
                if path.name.removesuffix(_PART) not in names:
                    with suppress(OSError):  # what can't be removed is in nobody's way
                        path.unlink()
        self._view = _View(stack, state.number, state.tag, state.removals, self._stamp())
        return self._view

    def _placed(self, segment: Segment) -> Segment:
        path = (self._directory or Path()) / f"{token_hex(8)}{_PART}"
        segment.write(path, self._owner)
        return Segment.open(path, self._owner)

    def _stamp(self) -> tuple[int, int]:
        try:
            status = ((self._directory or Path()) / _MANIFEST).stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)
