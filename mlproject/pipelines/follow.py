"""Events that keep coming, from a stream or the inbox: pushed as they arrive, a moment's worth at a time."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Final

from features.inbox import Inbox
from features.json_lines import BadLine
from mlproject.pipelines.push import Pushed, push_inbox, push_lines
from mlproject.wiring import House
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed

__all__ = ["Stop", "follow_inbox", "follow_lines", "until_told_to_stop"]

MOMENT_SECONDS: Final = 0.05
"""How long lines that come one after the other are waited for, and how often the inbox is looked into."""
AGAIN_SECONDS: Final = 10.0
MOST_BYTES: Final = 4_000_000
"""What is pushed at once, about: more only waits longer."""
MOST_SEEN: Final = 100_000
"""How many different lines back an equal one is known."""
MOST_EQUAL: Final = 1_000
Failed = Callable[[CheckFailed], None]


class Stop:
    """A flag that a signal's handler may raise: the lock of a threading.Event may be held by what it interrupts."""

    def __init__(self) -> None:
        self._raised = False

    def set(self) -> None:
        """Raise it."""
        self._raised = True

    def is_set(self) -> bool:
        """Whether it was raised."""
        return self._raised


@contextmanager
def until_told_to_stop() -> Iterator[Stop]:
    """Give an event that SIGTERM and SIGINT set; what was begun by then is done to its end."""
    stopped = Stop()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_inbox(house: House, stopped: Stop, failed: Failed) -> Iterator[Pushed]:
    """Push what the API takes, within moments of its coming, until `stopped`; `failed` is told where none was good."""
    left, tried = frozenset[str](), 0.0
    while not stopped.is_set():
        time.sleep(MOMENT_SECONDS)
        inbox = Inbox(house.paths.inbox)
        # What waits on does so until a build has made room.
        if inbox.names() - (left if time.monotonic() < tried + AGAIN_SECONDS else frozenset()):
            house = house.renewed()
            yield from _unless_bad(push_inbox, house, failed)
            left, tried = inbox.names(), time.monotonic()


def follow_lines(house: House, stream: int, stopped: Stop, failed: Failed) -> Iterator[Pushed]:
    """Push the lines of the open file `stream` as they come, until it ends or `stopped`.

    Wherever the stream is cut, equal lines in it are as many events as in one file. Each answer tells the last line
    that it is of. What ends it says from which line on nothing was pushed: BadInput for a line that is no event, or
    what failed.
    """
    pushing, done = _Pushing(house), 0
    for lines in _together(stream, stopped):
        first, done = done + 1, done + len(lines)
        try:
            yield from pushing.pushed(lines, first, failed)
        except BadLine as bad:
            yield from pushing.pushed(lines[: bad.line - first], first, failed)
            raise BadInput(f"{bad.what}; nothing was pushed from there on", remedy=bad.remedy) from None
        except (BadInput, EnvironmentFailed) as error:
            what = f"{error.what}; nothing was pushed from line {first} on"
            raise type(error)(what, where=error.where, remedy=error.remedy) from None


class _Pushing:
    """Pushes a stream piece by piece, with the home as it is by then."""

    def __init__(self, house: House) -> None:
        self._house, self._seen = house, _Seen()

    def pushed(self, lines: Sequence[bytes], first: int, failed: Failed) -> Iterator[Pushed]:
        """Push lines that are numbered from `first`; nothing where all are blank."""
        if any(line.strip() for line in lines):
            self._house = self._house.renewed()
            yield from _unless_bad(lambda house: self._push(house, lines, first), self._house, failed)

    def _push(self, house: House, lines: Sequence[bytes], first: int) -> Pushed:
        before = self._seen.earlier(lines, _lineage(house))
        pushed = push_lines(house, [*before, *lines], first - len(before))
        if not (pushed.quarantined or pushed.marked or pushed.tombstoned):  # else which of them are in isn't known
            self._seen.keep(lines)
        new, repeated = pushed.events - len(before), pushed.repeated - len(before)
        return replace(pushed, events=new, repeated=repeated, through_line=first + len(lines) - 1)


def _unless_bad(push: Callable[[House], Pushed], house: House, failed: Failed) -> Iterator[Pushed]:
    try:
        yield push(house)
    except CheckFailed as error:  # they are sealed in the quarantine, and the next may be good
        failed(error)


def _together(stream: int, stopped: Stop) -> Iterator[list[bytes]]:
    """The lines of `stream`, those together that come within a moment; what wasn't read stays in its pipe."""
    rest, ended, count = b"", False, 0
    while not ended and not stopped.is_set():
        until, parts = time.monotonic() + MOMENT_SECONDS, [rest]
        while sum(map(len, parts)) < MOST_BYTES and not ended:
            ready, _, _ = select.select([stream], [], [], max(until - time.monotonic(), 0.0))
            if not ready:
                break
            parts.append(os.read(stream, MOST_BYTES))
            ended = not parts[-1]
        *lines, rest = b"".join(parts).split(b"\n")
        count += len(lines)
        if len(rest) >= MOST_BYTES:
            raise BadInput(f"line {count + 1} is longer than {MOST_BYTES:,} bytes", remedy="write an event a line")
        if ended and rest:
            lines.append(rest)
        if lines:
            yield lines


def _lineage(house: House) -> object:
    """What tells the data of one ingest from another's."""
    return house.stores.protected_store(house.state.dataset).manifest().get("lineage")


class _Seen:
    """How often each of the latest lines came since an ingest: equal ones are as many events, also where a cut parts
    them.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lineage: object = None

    def earlier(self, lines: Sequence[bytes], lineage: object) -> list[bytes]:
        """Return the lines of before that are equal to some of `lines`."""
        if lineage != self._lineage:
            self._counts.clear()
            self._lineage = lineage
        return [line for line in dict.fromkeys(lines) for _ in range(self._counts.get(line, 0))]

    def keep(self, lines: Sequence[bytes]) -> None:
        """Count lines that are in."""
        for line in lines:
            if line.strip():
                self._counts[line] = min(self._counts.pop(line, 0) + 1, MOST_EQUAL)
        while len(self._counts) > MOST_SEEN:
            self._counts.popitem(last=False)
