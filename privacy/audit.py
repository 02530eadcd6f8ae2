"""The audit log: an RFC 6962 Merkle tree over lines of JSON, under a checkpoint signed with the home's audit key.

An event is acknowledged once its line and a checkpoint that covers it are on disk. A full `verify` finds every
edit, gap, insertion and reorder, a log cut off, and a checkpoint that is gone or not ours. What a copy of an
older state hides from it (log and checkpoint rolled back together, or a tail signed anew by who stole the key)
shows against a checkpoint kept elsewhere, and to any process that saw more.
Appending trusts what was checked before and checks only what was added since. Lines behind the checkpoint were
never acknowledged (a crash came between); the next append overwrites them.
Events name people by references that die with the person's data key, never by a value.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

from privacy.audit_events import Entry, Event, commitment, encoded, new_event_id, parsed_line
from privacy.audit_files import START, LogFiles, Place, Stamp
from privacy.audit_group import GroupCommit
from privacy.audit_proof import make_proof
from privacy.audit_scan import Ends, Verified, Visit, extended, missing_checkpoint, opened_checkpoint, scan, verified
from privacy.ciphers import Signer
from privacy.durable import locked
from privacy.errors import BadInput
from privacy.keyring import Keyring, SealedKeyring
from privacy.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from privacy.signed_note import Checkpoint, NoteKey

__all__ = ["AuditLog", "AuditSummary", "Event", "commitment", "new_event_id", "verify_audit"]

_STATE_EVERY: Final = 512
"""Events between two kept states: a new process reads about as many lines at most, in a few milliseconds."""


@dataclass(frozen=True)
class AuditSummary:
    """A verified log: how many events, their root (base64), when the first and last happened (ISO, UTC).

    `unacknowledged` counts the lines behind the checkpoint, which are not events; `checkpoint` is the signed
    note, empty for a log that never began.
    """

    events: int
    root: str
    first_at: str | None
    last_at: str | None
    unacknowledged: int
    checkpoint: str


@dataclass(frozen=True)
class _Seen:
    """What this process knows of the log: as the files were, and where they ended."""

    stamp: Stamp
    note: bytes
    checkpoint: Checkpoint
    ends: Ends


class AuditLog:
    """The log in `directory`, shared by any number of threads and processes; works with root and sealed keyrings.

    A home that has keys has begun its log: there `must_exist` makes an absent checkpoint a CheckFailed. Without
    it an absent directory is an empty log.
    """

    def __init__(self, directory: Path, keyring: Keyring | SealedKeyring, *, must_exist: bool = False) -> None:
        self._files, self._must_exist = LogFiles(directory), must_exist
        self._signer: Signer = keyring.audit_signer
        self._key = NoteKey(f"custos/{keyring.keyset_id}", self._signer.public_key)
        self._seen: _Seen | None = None
        self._state_at = -_STATE_EVERY  # the size that the kept state is of, as far as it is known to be good
        self._group: GroupCommit[Entry] = GroupCommit(self._commit)

    @classmethod
    def begin(cls, directory: Path, keyring: Keyring | SealedKeyring) -> AuditLog:
        """Sign an empty log when a home is made, and give it with `must_exist`; a log already begun stays.

        CheckFailed for lines without a checkpoint. To be called once, with the keys: later it would hide a loss.
        """
        log = cls(directory, keyring)
        with locked(log._files.lock):
            log._end()
            if log._seen is None:
                log._publish(Ends(START, START))
        return cls(directory, keyring, must_exist=True)

    @property
    def verifier_key(self) -> str:
        """The C2SP verifier key by which any note verifier checks the checkpoint."""
        return self._key.verifier_key

    def append(self, **event: Unpack[Event]) -> str:
        """Add one event and return its id; it is on disk, under a signed checkpoint, when this returns."""
        return self.append_many([event])[0]

    def append_many(self, events: Iterable[Event]) -> list[str]:
        """Add events in order, and with them those of other threads that wait; their ids.

        CheckFailed, and nothing added, when the log was cut off, rolled back or rewritten, lost its checkpoint,
        or was damaged behind the place that was checked last; damage before it is for `verify` to find.
        EnvironmentFailed, and nothing acknowledged, when the disk refuses. BadInput for what is no JSON.
        """
        entries = encoded(events)
        if entries:
            self._group.submit(entries)
        return [entry.id for entry in entries]

    def check(self) -> None:
        """Raise now what `append` would, so that nothing is done that can't be written down; cheap."""
        with locked(self._files.lock):
            self._end()
        self._files.check_writable()

    def verify(self, kept: Sequence[bytes] = ()) -> AuditSummary:
        """As `verify_audit`, with this log's own key, and against what this process has seen."""
        ends: dict[str, bytes] = {}
        return _summary(self._files, self._verified(_ends(ends), kept), ends)

    def prove(self, event_id: str, since: bytes | None = None) -> dict[str, object]:
        """The bundle (see `audit_proof`) that proves one event; with `since`, that the log extends that checkpoint.

        BadInput for an id that the log doesn't hold; CheckFailed as `verify`.
        """
        leaves: list[bytes] = []
        found: dict[int, bytes] = {}
        mark = event_id.encode(errors="surrogatepass")  # what is no text is in no line

        def look(index: int, line: bytes, leaf: bytes) -> None:
            leaves.append(leaf)
            if mark in line and parsed_line(line, index + 1).get("id") == event_id:
                found[index] = line

        log = self._verified(look, [] if since is None else [since])
        if log is None or not found:
            raise BadInput("the audit log holds no event of this id", remedy="`custos audit show` lists their ids")
        [(index, line), *_] = found.items()
        earlier = None if since is None else (since, self._opened([since])[0].size)
        return make_proof(line, index, leaves, log.note, earlier)

    def select(
        self, limit: int, wanted: Callable[[Mapping[str, Any]], bool] | None = None, marks: Sequence[bytes] = ()
    ) -> list[dict[str, Any]]:
        """The newest `limit` events that are `wanted`, oldest first; only from a log that verifies.

        Only lines that hold every one of `marks` are parsed and asked for, which makes a search much faster.
        """
        newest: deque[tuple[int, bytes]] = deque(maxlen=limit)

        def look(index: int, line: bytes, _leaf: bytes) -> None:
            if all(mark in line for mark in marks) and (wanted is None or wanted(parsed_line(line, index + 1))):
                newest.append((index, line))

        self._verified(look)
        return [parsed_line(line, index + 1) for index, line in newest]

    def _verified(self, visit: Visit, kept: Sequence[bytes] = ()) -> Verified | None:
        seen = self._seen
        earlier = self._opened(kept) + ([seen.checkpoint] if seen else [])
        return verified(
            self._files,
            self._key.public_key,
            origin=self._key.name,
            must_exist=self._must_exist or seen is not None,
            kept=earlier,
            visit=visit,
        )

    def _opened(self, notes: Iterable[bytes]) -> list[Checkpoint]:
        return [Checkpoint.opened(note, self._key.public_key, origin=self._key.name) for note in notes]

    def _commit(self, entries: list[Entry]) -> None:
        """Write the lines, then the checkpoint that makes them events, then what is derived from them."""
        with locked(self._files.lock):
            end = self._end()
            lines = self._new_lines(entries, end)
            if not lines:
                return
            if self._seen is None:
                self._publish(Ends(START, START))  # before the first line: lines without a checkpoint are always a loss
            leaves = [leaf_hash(line) for line in lines]
            tree = CompactRange(end.size, end.edge)
            for leaf in leaves[:-1]:
                tree.append(leaf)
            length = sum(map(len, lines)) + len(lines)
            before_last = Place(tree.size, end.offset + length - len(lines[-1]) - 1, tree.edge)
            tree.append(leaves[-1])
            self._files.write_lines(end.offset, lines)
            self._publish(Ends(before_last, Place(tree.size, end.offset + length, tree.edge)))
            self._files.write_leaves(end.size, leaves)
            if before_last.size - self._state_at >= _STATE_EVERY:
                self._files.write_state(before_last)
                self._state_at = before_last.size

    def _new_lines(self, entries: Sequence[Entry], end: Place) -> list[bytes]:
        """The lines to write: an event that is stored once only when the log doesn't hold it."""
        stored = self._files.holding({entry.id for entry in entries if entry.once}, end.offset)
        lines = []
        for entry in entries:
            if entry.id not in stored:
                lines.append(entry.line)
                if entry.once:
                    stored.add(entry.id)
        return lines

    def _end(self) -> Place:
        """Where the events end; whatever stands behind was never acknowledged."""
        note, stamp, seen = self._files.read_checkpoint(), self._files.stamp(), self._seen
        if seen is not None and (seen.stamp, seen.note) == (stamp, note):
            return seen.ends.end
        if note is None:
            if self._must_exist or seen is not None or stamp[0]:
                raise missing_checkpoint(self._files)
            return START
        checkpoint = opened_checkpoint(self._files, note, self._key.public_key, self._key.name)
        ends = None
        # Not longer but touched: something else than an append was here, so look at every line.
        if seen is None:
            state = self._files.read_state()
            ends = extended(self._files, state, checkpoint)
            self._state_at = state.size if ends is not None else -_STATE_EVERY
        elif note != seen.note or stamp[0] > seen.ends.end.offset:
            ends = extended(self._files, seen.ends.before_last, checkpoint, seen.checkpoint)
        if ends is None:
            ends = scan(self._files, checkpoint, [seen.checkpoint] if seen else [])
        self._seen = _Seen(stamp, note, checkpoint, ends)
        return ends.end

    def _publish(self, ends: Ends) -> None:
        checkpoint = Checkpoint(self._key.name, ends.end.size, ends.end.root())
        note = checkpoint.signed(self._key, self._signer)
        self._files.publish(note)
        self._seen = _Seen(self._files.stamp(), note, checkpoint, ends)


def verify_audit(
    directory: Path, public_key: bytes, *, must_exist: bool = False, kept: Sequence[bytes] = ()
) -> AuditSummary:
    """Check every line against the signed checkpoint, with the 32-byte public key alone.

    `kept` are checkpoints of this log kept elsewhere: the log must begin with the events they cover. Raises
    CheckFailed naming the first bad line where that can be known: edited, deleted, inserted, reordered, cut off;
    for a log rolled back, rewritten or forked; for a checkpoint that is missing or not signed by this key.
    With `must_exist` also for a log without one; otherwise an absent log is an empty one.
    """
    files, ends = LogFiles(directory), dict[str, bytes]()
    earlier = [Checkpoint.opened(note, public_key) for note in kept]
    origin = earlier[0].origin if earlier else None
    found = verified(files, public_key, origin=origin, must_exist=must_exist, kept=earlier, visit=_ends(ends))
    return _summary(files, found, ends)


def _ends(ends: dict[str, bytes]) -> Visit:
    """Keep the first line and the last."""

    def look(index: int, line: bytes, _leaf: bytes) -> None:
        if not index:
            ends["first"] = line
        ends["last"] = line

    return look


def _summary(files: LogFiles, found: Verified | None, ends: Mapping[str, bytes]) -> AuditSummary:
    if found is None:
        return AuditSummary(0, _base64(EMPTY_ROOT), None, None, 0, "")
    size = found.checkpoint.size
    first = str(parsed_line(ends["first"], 1).get("at")) if size else None
    last = str(parsed_line(ends["last"], size).get("at")) if size else None
    behind = files.lines_left(found.end.offset)
    if behind and files.read_checkpoint() != found.note:
        behind = 0  # somebody appended meanwhile: they were overwritten, or are events now
    return AuditSummary(size, _base64(found.checkpoint.root), first, last, behind, found.note.decode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
