"""Reading the audit log against its signed checkpoint, and saying what is wrong with one that doesn't fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from privacy.audit_files import START, LogFiles, Place
from privacy.counted import counted
from privacy.errors import CheckFailed
from privacy.merkle import EMPTY_ROOT, CompactRange, leaf_hash, root_of
from privacy.signed_note import Checkpoint

__all__ = ["Ends", "Verified", "Visit", "extended", "missing_checkpoint", "opened_checkpoint", "scan", "verified"]

Visit = Callable[[int, bytes, bytes], None]
"""Called with each line's index, the line and its leaf hash; what it learns counts only when the scan succeeds."""

_RESTORE = "restore the audit directory from its backup; nothing was added"


@dataclass(frozen=True)
class Verified:
    """A log that fits its checkpoint: the note as it was read, what it says, and the place behind its events."""

    note: bytes
    checkpoint: Checkpoint
    end: Place


@dataclass(frozen=True)
class Ends:
    """The places before the last event and behind it; from the first, the last line can be looked at again."""

    before_last: Place
    end: Place


def verified(
    files: LogFiles,
    public_key: bytes,
    *,
    origin: str | None = None,
    must_exist: bool = False,
    kept: Iterable[Checkpoint] = (),
    visit: Visit | None = None,
) -> Verified | None:
    """Read the whole log; None for one that never began. CheckFailed as `scan`, or when the checkpoint is missing.

    Needs no lock: what a checkpoint covers was written before it and never changes after.
    """
    note, earlier = files.read_checkpoint(), list(kept)
    if note is None:
        if must_exist or files.stamp()[0] or any(checkpoint.size for checkpoint in earlier):
            raise missing_checkpoint(files)
        return None
    checkpoint = opened_checkpoint(files, note, public_key, origin)
    return Verified(note, checkpoint, scan(files, checkpoint, earlier, visit).end)


def opened_checkpoint(files: LogFiles, note: bytes, public_key: bytes, origin: str | None) -> Checkpoint:
    """What the log's own checkpoint says; CheckFailed, naming the file, when this home's key didn't sign it."""
    try:
        return Checkpoint.opened(note, public_key, origin=origin)
    except CheckFailed as error:
        what = f"the audit checkpoint does not verify: {error.what}"
        raise CheckFailed(what, where=str(files.checkpoint), remedy=_RESTORE) from None


def missing_checkpoint(files: LogFiles) -> CheckFailed:
    """The error for a log that must have a checkpoint and has none."""
    return CheckFailed("the audit log's checkpoint is missing", where=str(files.checkpoint), remedy=_RESTORE)


def extended(files: LogFiles, start: Place, checkpoint: Checkpoint, earlier: Checkpoint | None = None) -> Ends | None:
    """Where the checkpoint's events end, reading only the lines from `start` on, one at least.

    None when they don't come out at the signed root, or don't begin with what `earlier` covers. When they do,
    the events before `start` are those that the checkpoint covers, but their lines were not looked at.
    """
    if start.size >= checkpoint.size or (earlier is not None and not start.size <= earlier.size <= checkpoint.size):
        return None
    tree, offset, before = CompactRange(start.size, start.edge), start.offset, start
    for line in files.lines(offset):
        if tree.size + 1 == checkpoint.size:
            before = Place(tree.size, offset, tree.edge)
        tree.append(leaf_hash(line))
        offset += len(line) + 1
        if earlier is not None and tree.size == earlier.size and tree.root() != earlier.root:
            return None
        if tree.size == checkpoint.size:
            return Ends(before, Place(tree.size, offset, tree.edge)) if tree.root() == checkpoint.root else None
    return None


def scan(files: LogFiles, checkpoint: Checkpoint, kept: Sequence[Checkpoint] = (), visit: Visit | None = None) -> Ends:
    """Read every line that `checkpoint` covers, and compare with checkpoints `kept` from before; where they end.

    CheckFailed when a line was edited, deleted, inserted or moved, naming the first where the leaf hashes still
    show it; when the log is shorter than a kept checkpoint, or doesn't begin with the events that one covers.
    """
    due = {earlier.size for earlier in kept}
    roots = {0: EMPTY_ROOT}
    tree, offset, before = CompactRange(), 0, START
    for index, line in enumerate(files.lines() if checkpoint.size else ()):
        if index + 1 == checkpoint.size:
            before = Place(index, offset, tree.edge)
        leaf = leaf_hash(line)
        tree.append(leaf)
        offset += len(line) + 1
        if visit is not None:
            visit(index, line, leaf)
        if index + 1 in due:
            roots[index + 1] = tree.root()
        if index + 1 == checkpoint.size:
            break
    if tree.size < checkpoint.size or tree.root() != checkpoint.root:
        raise _damaged(files, checkpoint)
    for earlier in kept:
        _compare(files, checkpoint, earlier, roots.get(earlier.size))
    return Ends(before, Place(tree.size, offset, tree.edge))


def _compare(files: LogFiles, checkpoint: Checkpoint, earlier: Checkpoint, root: bytes | None) -> None:
    """CheckFailed unless the log begins with what an earlier checkpoint covers."""
    if earlier.size > checkpoint.size:
        raise CheckFailed(
            f"the audit log was rolled back: a checkpoint kept from before counts {counted(earlier.size, 'event')}, "
            f"this one {checkpoint.size}",
            where=str(files.directory),
            remedy=_RESTORE,
        )
    if root == earlier.root:
        return
    what = "was forked: it has other events than those signed for the same number before"
    if earlier.size < checkpoint.size:
        what = f"was rewritten: its first {earlier.size} events are not those of the checkpoint kept from before"
    difference = _first_difference(files, earlier)
    line = "" if difference is None else f" line {difference[0]}"
    raise CheckFailed(f"the audit log {what}", where=f"{files.events}{line}", remedy=_RESTORE)


def _damaged(files: LogFiles, checkpoint: Checkpoint) -> CheckFailed:
    """What is wrong with lines that don't come out at the signed root."""
    difference = _first_difference(files, checkpoint)
    if difference is not None:
        line, what = difference
        return CheckFailed(what, where=f"{files.events} line {line}", remedy=_RESTORE)
    left = sum(1 for _ in files.lines())
    what = f"the audit log does not come out at its signed root; {left} of {checkpoint.size} lines are there"
    if left >= checkpoint.size:
        what = f"audit lines were edited, inserted or moved: {left} lines do not come out at the signed root"
    remedy = f"{_RESTORE}; the leaf hashes beside it are gone too, so the first bad line can't be named"
    return CheckFailed(what, where=str(files.events), remedy=remedy)


def _first_difference(files: LogFiles, checkpoint: Checkpoint) -> tuple[int, str] | None:
    """The first line (from 1) that isn't the one signed, and what was done there.

    None when the leaf hashes that would tell are gone, or aren't those of the checkpoint themselves.
    """
    signed = files.read_leaves(checkpoint.size)
    if len(signed) != checkpoint.size or root_of(signed) != checkpoint.root:
        return None
    found = [leaf_hash(line) for line in files.lines()]
    pairs = zip(signed, found, strict=False)
    first = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(signed), len(found)))
    if first == len(signed):
        return None
    if first == len(found):
        return first + 1, f"the audit log was cut off: {first} of {len(signed)} signed events are left"
    last = 0
    while last < min(len(signed), len(found)) - first and signed[-1 - last] == found[-1 - last]:
        last += 1
    gone, new = signed[first : len(signed) - last], found[first : len(found) - last]
    if not new:
        return first + 1, f"{len(gone)} audit lines were deleted" if len(gone) > 1 else "an audit line was deleted"
    if not gone:
        return first + 1, f"{len(new)} audit lines were inserted" if len(new) > 1 else "an audit line was inserted"
    if sorted(gone) == sorted(new):
        return first + 1, "audit lines were reordered"
    return first + 1, "an audit line was edited" if len(gone) == len(new) == 1 else "audit lines were changed"
