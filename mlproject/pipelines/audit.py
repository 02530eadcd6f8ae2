"""The audit log as its readers see it: verified whole, proven event by event, shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privacy.durable import read_bytes, write_beside
from privacy.errors import BadInput, CheckFailed, printable
from privacy.json_files import parse_object

if TYPE_CHECKING:
    from mlproject.wiring import House
    from privacy.audit_proof import Proven

__all__ = [
    "EventFilter",
    "check_bundle",
    "event_lines",
    "keep_checkpoint",
    "prove_event",
    "select_events",
    "trusted_key",
    "verify_log",
]


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; what is None excludes nothing."""

    action: str | None = None
    outcome: str | None = None
    principal: str | None = None
    since: datetime | None = None

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Say whether an event fits.

        >>> EventFilter(action="erase").wants({"action": "predict"})
        False
        """
        return (
            self.action in (None, event.get("action"))
            and self.outcome in (None, event.get("outcome"))
            and self.principal in (None, event["principal"]["name"])
            and (self.since is None or datetime.fromisoformat(event["at"]) >= self.since)
        )

    def marks(self) -> list[bytes]:
        """Return what the line of every fitting event holds, spelled as the log spells it.

        >>> EventFilter(action="erase", principal="ann").marks()
        [b'"action":"erase"', b'"name":"ann"']
        """
        told = {"action": self.action, "outcome": self.outcome, "name": self.principal}
        return [
            f'"{key}":{json.dumps(value, ensure_ascii=False)}'.encode(errors="surrogatepass")
            for key, value in told.items()
            if value is not None
        ]


def verify_log(house: House, kept: Path | None = None) -> dict[str, Any]:
    """Verify the whole audit log, and that it extends the checkpoint in file `kept`.

    CheckFailed names the first event that doesn't hold, where that can be known.
    """
    house.permit("audit.read", "audit")
    note = None if kept is None else _read(kept, "checkpoint")
    covers = None if note is None or kept is None else _events_covered(house, note, kept)
    summary = house.audit.verify([] if note is None else [note])
    return {
        "events": summary.events,
        "root": summary.root,
        "first_at": summary.first_at,
        "last_at": summary.last_at,
        "unacknowledged": summary.unacknowledged,
        "extends": covers,
        "verifier_key": house.audit.verifier_key,
    }


def keep_checkpoint(house: House, out: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the signed checkpoint of the verified log and its summary; put it at `out`, outside the home.

    A checkpoint that is there already must be one that the log extends, else CheckFailed, and it stays.
    """
    house.permit("audit.read", "audit")
    before = None if out is None else read_bytes(out, "the checkpoint")
    if before is not None and out is not None:
        _events_covered(house, before, out)
    summary = house.audit.verify([] if before is None else [before])
    if out is not None:
        write_beside(out, summary.checkpoint.encode())
    return summary.checkpoint, {"events": summary.events, "verifier_key": house.audit.verifier_key}


def prove_event(house: House, event_id: str, since: Path | None = None) -> dict[str, object]:
    """Return the bundle that proves an event, and that the log extends the checkpoint in file `since`."""
    house.permit("audit.read", "audit")
    note = None if since is None else _read(since, "checkpoint")
    if note is not None and since is not None:
        _events_covered(house, note, since)
    return house.audit.prove(event_id, note)


def trusted_key(house: House) -> str:
    """Return the verifier key of this home's audit log."""
    house.permit("audit.read", "audit")
    return house.audit.verifier_key


def check_bundle(bundle: Path, verifier_key: str) -> Proven:
    """Return what the bundle in a file proves to who trusts the verifier key; no home is needed."""
    from privacy.audit_proof import check_proof
    from privacy.signed_note import NoteKey

    key = NoteKey.parsed(verifier_key)
    try:
        body = parse_object(_read(bundle, "proof"))
    except ValueError:
        raise BadInput("the proof is no JSON object", where=str(bundle)) from None
    return check_proof(body, key)


def select_events(house: House, wanted: EventFilter, limit: int) -> list[dict[str, Any]]:
    """Return the newest `limit` events that are wanted, oldest first, from a log that verifies."""
    house.permit("audit.read", "audit")
    return house.audit.select(limit, wanted.wants if wanted != EventFilter() else None, wanted.marks())


def event_lines(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table for people: one event a line, under a heading.

    >>> list(event_lines([]))
    ['no events']
    """
    if not events:
        yield "no events"
        return
    rows = [("at", "action", "outcome", "who", "purpose", "resource", "count", "rule", "id")]
    for event in events:
        who = event["principal"]
        rows.append(
            (
                str(event["at"])[:19],
                printable(event["action"]),
                printable(event["outcome"]),
                printable(f"{who['name']} ({who['role']})"),
                printable(who["purpose"] or "-"),
                printable(event["resource"]),
                f"{event['count']:,}" if isinstance(event["count"], int) else printable(str(event["count"])),
                printable(event["rule"] or "-"),
                printable(event["id"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _events_covered(house: House, note: bytes, path: Path) -> int:
    """How many events a kept checkpoint covers; CheckFailed, naming the file, when this home didn't sign it."""
    from privacy.signed_note import Checkpoint

    try:
        return Checkpoint.opened(note, house.sealed.audit_public_key).size
    except CheckFailed as error:
        raise CheckFailed(error.what, where=str(path), remedy=error.remedy) from None


def _read(path: Path, what: str) -> bytes:
    data = read_bytes(path, f"the {what}")
    if data is None:
        raise BadInput(f"there is no {what}", where=str(path))
    return data
