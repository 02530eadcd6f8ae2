"""Events that keep coming, from a stream or the inbox: pushed as they arrive, a moment's worth at a time."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

from features.inbox import Inbox
from mlproject.home_keys import begin_to_open
from mlproject.pipelines.push import Pushed, push_inbox, push_lines
from mlproject.wiring import House
from privacy.errors import BadInput, CheckFailed

__all__ = ["follow_inbox", "follow_lines", "until_told_to_stop"]

MOMENT_SECONDS: Final = 0.1
"""How long lines that come one after the other are waited for, and how often the inbox is looked into."""
MOST_BYTES: Final = 4_000_000
"""What is pushed at once, about: more only waits longer."""
Failed = Callable[[CheckFailed], None]


@contextmanager
def until_told_to_stop() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set; what was begun by then is done to its end."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_inbox(house: House, stopped: threading.Event, failed: Failed) -> Iterator[Pushed]:
    """Push what the API takes, within moments of its coming, until `stopped`; `failed` is told where none was good."""
    latest = _Latest(house)
    while not stopped.wait(MOMENT_SECONDS):
        if Inbox(house.paths.inbox).is_waiting():
            yield from _unless_bad(push_inbox, latest.house(), failed)


def follow_lines(house: House, stream: int, stopped: threading.Event, failed: Failed) -> Iterator[Pushed]:
    """Push the lines of the open file `stream` as they come, until it ends or `stopped`.

    Each answer tells the last line that it is of. Raises BadInput for a line that is no event: it says which one, and
    from which on nothing was pushed.
    """
    latest, done = _Latest(house), 0
    for lines in _together(stream, stopped):
        first, done = done + 1, done + len(lines)
        if not any(line.strip() for line in lines):
            continue

        def push(house: House, lines: list[bytes] = lines, first: int = first) -> Pushed:
            return replace(push_lines(house, lines, first), through_line=first + len(lines) - 1)

        try:
            yield from _unless_bad(push, latest.house(), failed)
        except BadInput as error:
            what = f"{error.what}; nothing was pushed from line {first} on"
            raise BadInput(what, where=error.where, remedy=error.remedy) from None


def _unless_bad(push: Callable[[House], Pushed], house: House, failed: Failed) -> Iterator[Pushed]:
    try:
        yield push(house)
    except CheckFailed as error:  # they are sealed in the quarantine, and the next may be good
        failed(error)


def _together(stream: int, stopped: threading.Event) -> Iterator[list[bytes]]:
    """The lines of `stream`, those together that come within a moment; what wasn't read stays in its pipe."""
    rest, ended = b"", False
    while not ended and not stopped.is_set():
        until, parts = time.monotonic() + MOMENT_SECONDS, [rest]
        while sum(map(len, parts)) < MOST_BYTES and not ended:
            ready, _, _ = select.select([stream], [], [], max(until - time.monotonic(), 0.0))
            if not ready:
                break
            parts.append(os.read(stream, MOST_BYTES))
            ended = not parts[-1]
        *lines, rest = b"".join(parts).split(b"\n")
        if ended and rest:
            lines.append(rest)
        if lines:
            yield lines


class _Latest:
    """The house to work with: opened anew when another command changed its keys, settings or policy."""

    def __init__(self, house: House) -> None:
        self._house, self._stamps = house, _stamps(house)

    def house(self) -> House:
        if _stamps(self._house) != self._stamps:
            self._house = House.open(self._house.paths.root)
            self._stamps = _stamps(self._house)
            begin_to_open(self._house)
        return self._house


def _stamps(house: House) -> list[tuple[int, int] | None]:
    paths = house.paths
    return [_stamp(file) for file in (paths.keyring, paths.service_keyring, paths.settings, paths.policy)]


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
