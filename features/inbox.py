"""Events that the API took and nobody has added yet: files of JSON lines about tokens, whole or absent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from privacy.classification import Sensitivity
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import EnvironmentFailed
from privacy.json_files import parse_object
from privacy.rights import Subject
from privacy.tokens import parse_token

from .datasets.descriptor import Descriptor
from .private_files import make_private

__all__ = ["Inbox", "taken_columns"]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
SUFFIX: Final = ".jsonl"
MOST_BYTES: Final = 64_000_000
"""What may wait: it is read into memory, and whoever may push must not fill the disk."""
BLOCK_BYTES: Final = 4096
"""What a file takes of the disk at least; so it counts, however small: a flood of small ones ends too."""
TAKEN: Final = ("amount", "quantity", "discount", "coupon", "category", "product_id")
"""What an event's line may tell, where the shop has such a column."""
_OPEN: Final = (Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL)
Event = Mapping[str, Any]


class Inbox:
    """What waits below `root`, a file a request; each event names its person by the feature store's own token."""

    name = "inbox"

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, events: Sequence[Event]) -> None:
        """Keep events until they are taken out; they are on disk when this returns.

        Raises EnvironmentFailed when so much waits already that somebody must add it first; also without an event, so
        that the answer doesn't tell whether there was one to keep.
        """
        make_private(self._root)
        with locked(self._root / ".lock"):
            sizes = (path.stat().st_size for path in self._root.glob(f"*{SUFFIX}"))
            if sum(max(size, BLOCK_BYTES) for size in sizes) > MOST_BYTES:
                what = f"the inbox holds {MOST_BYTES // 1_000_000} MB of events that nobody has added"
                raise EnvironmentFailed(what, where=str(self._root), remedy="run `custos push --inbox`")
            if events:
                self._write(self._root / f"{secrets.token_hex(16)}{SUFFIX}", events)

    def names(self) -> frozenset[str]:
        """Return the names of what waits: each comes once."""
        return frozenset(path.name for path in self._root.glob(f"*{SUFFIX}"))

    def key_ids(self) -> set[str]:
        """Return the ids of the keys that made the tokens of what waits."""
        return {parse_token(event[TOKEN]).key_id for _, events in self._files() for event in events}

    def waiting(self) -> list[tuple[Path, list[Event]]]:
        """Return what waits, file by file; EnvironmentFailed for one that is damaged."""
        return list(self._files())

    def keep(self, file: Path, rest: Sequence[Event]) -> None:
        """Take out what was added of a file: all but the `rest`."""
        with locked(self._root / ".lock"):
            if rest:
                self._write(file, rest)
            else:
                file.unlink(missing_ok=True)

    def count(self, subject: Subject) -> int:
        """Count the person's events."""
        return sum(event[TOKEN] in subject.tokens for _, events in self._files() for event in events)

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's events, without tokens."""
        return [
            {name: value for name, value in event.items() if name != TOKEN}
            for _, events in self._files()
            for event in events
            if event[TOKEN] in subject.tokens
        ]

    def erase(self, subject: Subject) -> int:
        """Drop the person's events; return how many went."""
        gone = 0
        if not self._root.exists():
            return gone
        with locked(self._root / ".lock"):
            for stale in self._root.glob(".*.tmp"):
                stale.unlink(missing_ok=True)
            for path, events in self._files():
                rest = [event for event in events if event[TOKEN] not in subject.tokens]
                gone += len(events) - len(rest)
                if not rest:
                    path.unlink(missing_ok=True)
                elif len(rest) < len(events):
                    self._write(path, rest)
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _write(self, path: Path, events: Sequence[Event]) -> None:
        write_beside(path, "".join(json.dumps(event) + "\n" for event in events).encode())

    def _files(self) -> Iterator[tuple[Path, list[Event]]]:
        for path in sorted(self._root.glob(f"*{SUFFIX}")):
            data = read_bytes(path, "a file of the inbox")
            if data is None:
                continue
            try:
                events: list[Event] = [parse_object(line) for line in data.splitlines()]
                if not all(isinstance(event.get(TOKEN), str) for event in events):
                    raise ValueError
            except ValueError:
                what, remedy = "a file of the inbox is damaged", "remove it, and send its events again"
                raise EnvironmentFailed(what, where=str(path), remedy=remedy) from None
            yield path, events


def taken_columns(descriptor: Descriptor) -> frozenset[str]:
    """Return what a line of an event may tell of this shop's orders: open columns that are stored as they come."""
    columns = descriptor.tables["transactions"].columns
    return frozenset(
        name
        for name in TAKEN
        if name in columns
        and columns[name].sensitivity in _OPEN
        and columns[name].mask is None
        and not columns[name].key
    )
