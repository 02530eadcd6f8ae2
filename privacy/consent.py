"""Consents as they were given and withdrawn: an append-only ledger, read as of each row's moment for many at once.

A row may be used that its person consented to at the time it tells of, and who hasn't withdrawn since: withdrawal
doesn't make unlawful what was done before it, but nothing new may rest on that consent (GDPR art. 7(3); PIPL art. 15).
That it was given must be shown (GDPR art. 7(1)): entries are added and never changed, and go with their person alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import FEATURE_STORE, Purpose
from privacy.durable import ReplacedFile, locked, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.tokens import tokens_to_handles
from privacy.vault_segment import Segment, blocks_of

if TYPE_CHECKING:
    from privacy.rights import Subject

__all__ = ["LEFT_OUT", "ConsentLedger"]

LEFT_OUT: Final = b"custos:without-consent"
"""Where the schema of training rows tells how many were left out for want of a consent."""

Blocks = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_MAGIC: Final = b"custos consents 1\n"
_SEAL_BYTES: Final = 16
_MOMENT: Final = pa.timestamp("us", "UTC")
_ENTRIES: Final = pa.schema(
    [("reference", pa.binary(16)), ("purpose", pa.string()), ("granted", pa.bool_()), ("at", _MOMENT)]
)


class ConsentLedger:
    """The ledger at `path`; every process sees what was added at its next question. A SubjectStore.

    A person stands in it as a MAC over the handle and the purpose, so neither the file alone nor two purposes of it
    tell whose entries belong together. The whole is sealed: what this home's key didn't seal is refused. An older copy
    put in its place isn't noticed, and lacks the withdrawals since; the next ingest adds them again.

    Where there is no file nobody consented to anything.
    """

    name = "consents"

    def __init__(
        self, path: Path, keyring: Keyring | SealedKeyring, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path, self._keyring, self._now = path, keyring, now
        self._file = ReplacedFile(path, "the consent ledger")
        self._entries = _ENTRIES.empty_table()
        self._timelines = _Timelines.of(self._entries)

    def append(self, entries: pa.Table) -> int:
        """Add entries that aren't held yet and return how many; beginning the ledger counts as none.

        `entries` has customer_token (the feature store's), purpose, granted and at (when, a timestamp). Raises BadInput
        and adds nothing for a token, purpose or moment that means nothing.
        """
        tokens, purposes = entries["customer_token"].combine_chunks(), entries["purpose"].cast(pa.string())
        unknown = pc.invert(pc.is_in(purposes, value_set=pa.array([purpose.value for purpose in Purpose])))
        if bad := pc.sum(unknown).as_py() or 0:
            raise BadInput(f"{bad} of {len(entries)} consents are to no purpose", remedy=f"use {', '.join(Purpose)}")
        if bad := sum(entries[name].null_count for name in ("granted", "at")):
            raise BadInput(f"{bad} consents don't say what or when", remedy="give granted and at in every row")
        handles, known = tokens_to_handles(self._keyring, tokens, FEATURE_STORE)
        if not known.all():
            what = f"{int((~known).sum())} of {len(entries)} consents are of no token of the feature store"
            raise BadInput(what, remedy="give them as the feature store holds them")
        who = _binary(self._references(handles, purposes.combine_chunks()))
        fresh = pa.Table.from_arrays([who, purposes, entries["granted"], entries["at"].cast(_MOMENT)], schema=_ENTRIES)
        with locked(self._lock):
            self._reload()
            return self._add(fresh)

    def share(self, former: pa.Array, now: pa.Array) -> int:
        """Give whoever turned out to be one person the entries of each under all of their handles; return how many.

        `former` (n,) are tokens of the feature store from before a link, `now` (n,) the token that each stands for now.
        So a withdrawal counts by whichever token somebody is asked for, as soon as the link is made and for good.
        """
        if not self._path.exists():
            return 0
        (old, known), (home, alive) = (tokens_to_handles(self._keyring, each, FEATURE_STORE) for each in (former, now))
        sides = [handles[known & alive] for handles in (old, home)]
        with locked(self._lock):
            self._reload()
            shared: list[pa.Table] = []
            for purpose in Purpose:
                label = pa.repeat(pa.scalar(purpose.value), len(sides[0]))
                theirs, one = (_binary(self._references(handles, label)) for handles in sides)
                whole = pa.table({"reference": pa.concat_arrays([theirs, one]), "home": pa.concat_arrays([one, one])})
                family = whole.group_by(["reference", "home"]).aggregate([])
                of_home = self._entries.join(family, "reference", join_type="inner").drop_columns(["reference"])
                shared.append(of_home.join(family, "home", join_type="inner").select(_ENTRIES.names))
            return self._add(pa.concat_tables(shared).cast(_ENTRIES))

    def consented(self, tokens: pa.Array | pa.ChunkedArray, purpose: str, moments: pa.Array | pa.ChunkedArray) -> Flags:
        """(n,) bool: whose last entry of `purpose` up to their moment grants, and so does their last one up to now.

        `tokens` (n,) are the feature store's, `moments` (n,) timestamps. Of entries at one instant a withdrawal is the
        last. False for nulls, for whoever isn't in the ledger and for what is no token of an enabled key.
        """
        self._reload()
        column = tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens
        handles, known = tokens_to_handles(self._keyring, column, FEATURE_STORE)
        references = self._references(handles, pa.repeat(pa.scalar(purpose), len(column)))
        asked = moments.combine_chunks() if isinstance(moments, pa.ChunkedArray) else moments
        then = asked.cast(_MOMENT).cast(pa.int64())
        standing = np.full(len(column), int(self._now().timestamp() * 1_000_000), np.int64)
        dated = then.is_valid().to_numpy(zero_copy_only=False)
        times = then.fill_null(0).to_numpy()
        return known & dated & self._timelines.granted(references, np.minimum(times, standing), standing)

    def __len__(self) -> int:
        self._reload()
        return self._entries.num_rows

    def count(self, subject: Subject) -> int:
        """Count the person's entries."""
        self._reload()
        return self._entries.filter(self._of(subject)).num_rows

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's entries, earliest first."""
        self._reload()
        mine = self._entries.filter(self._of(subject)).sort_by([("at", "ascending"), ("purpose", "ascending")])
        return [{**row, "at": row["at"].isoformat()} for row in mine.drop_columns(["reference"]).to_pylist()]

    def erase(self, subject: Subject) -> int:
        """Take the person's entries out; return how many went."""
        if not self._path.exists():
            return 0
        with locked(self._lock):
            for stale in self._path.parent.glob(f".{self._path.name}.*.tmp"):
                stale.unlink(missing_ok=True)
            self._reload()
            mine = self._of(subject)
            gone = pc.sum(mine).as_py() or 0
            if gone:
                self._write(self._entries.filter(pc.invert(mine)))
        return gone

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _add(self, fresh: pa.Table) -> int:
        held = self._entries
        merged = pa.concat_tables([held, fresh]).group_by(_ENTRIES.names).aggregate([])
        if merged.num_rows > held.num_rows or not self._file.taken:
            self._write(merged)
        return merged.num_rows - held.num_rows

    def _of(self, subject: Subject) -> pa.ChunkedArray:
        handles = np.frombuffer(b"".join((subject.handle, *subject.former)), np.uint8).reshape(-1, 16)
        mine = [
            bytes(reference)
            for purpose in Purpose
            for reference in self._references(handles, pa.repeat(pa.scalar(purpose.value), len(handles)))
        ]
        return pc.is_in(self._entries["reference"], value_set=pa.array(mine, pa.binary(16)))

    def _references(self, handles: Blocks, purposes: pa.Array) -> Blocks:
        # The suppression key MACs bare handles elsewhere: a message that begins with one and goes on is another's.
        labels = pc.binary_join_element_wise(pa.scalar("consent"), purposes, "/")
        return self._keyring.suppression.of_pairs(handles, labels)

    @property
    def _lock(self) -> Path:
        return self._path.with_name(f".{self._path.name}.lock")

    def _write(self, entries: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, _ENTRIES) as stream:
            stream.write_table(entries.take(_in_order(entries)))  # no file keeps the source's order
        body = sink.getvalue().to_pybytes()
        write_beside(self._path, _MAGIC, self._seal(body), body)
        self._reload()

    def _reload(self) -> None:
        if not self._file.reload(self._take) and self._file.taken:
            raise self._damaged("is missing")

    def _take(self, data: bytes) -> None:
        seal, body = data[len(_MAGIC) : len(_MAGIC) + _SEAL_BYTES], data[len(_MAGIC) + _SEAL_BYTES :]
        if not data.startswith(_MAGIC) or seal != self._seal(body):
            raise self._damaged("is damaged, was changed by hand, or belongs to another keyring")
        self._entries = pa.ipc.open_stream(body).read_all()
        self._timelines = _Timelines.of(self._entries)

    def _seal(self, body: bytes) -> bytes:
        message = pa.array([b"custos/consent/v1|" + body], pa.binary())
        return self._keyring.suppression.of_messages(message)[0].tobytes()

    def _damaged(self, how: str) -> EnvironmentFailed:
        remedy = "restore it from its backup, or remove it and run `custos run` on the source again; nobody is served"
        return EnvironmentFailed(f"the consent ledger {how}", where=str(self._path), remedy=remedy)


@dataclass(frozen=True)
class _Timelines:
    """Everybody's entries in order of time, one person and purpose after the other, and where each one's lie."""

    index: Segment
    at: Times
    grants: Flags

    @classmethod
    def of(cls, entries: pa.Table) -> _Timelines:
        ordered, count = entries.take(_in_order(entries)), entries.num_rows
        references = _references_of(ordered)
        first = np.ones(count, np.bool_)
        first[1:] = (references[1:] != references[:-1]).any(axis=1)
        starts = np.flatnonzero(first)
        spans = np.stack([starts, np.append(starts, count)[1:]], axis=1).astype("<u8")
        index = Segment.of(references[starts], spans.view(np.uint8).reshape(-1, 16))
        return cls(index, _times_of(ordered), ordered["granted"].to_numpy())

    def granted(self, references: Blocks, *limits: Times) -> Flags:
        """(n,) bool: whether the last entry up to each of the `limits` is there and grants."""
        spans, known = self.index.find(references)
        start, end = (spans.view("<u8").astype(np.int64)[:, side] for side in (0, 1))
        for limit in limits:
            last = self._last(start, end, limit)
            known = known & (last >= start)
            known[known] = self.grants[last[known]]
        return known

    def _last(self, start: Times, end: Times, limit: Times) -> Times:
        """(n,) the last entry of each span that isn't after its limit, `start - 1` for none: n searches at once."""
        low, high = start.copy(), end.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            later = np.zeros(len(low), np.bool_)
            later[open_] = self.at[middle[open_]] > limit[open_]
            low = np.where(open_ & ~later, middle + 1, low)
            high = np.where(open_ & later, middle, high)
        return low - 1


def _binary(blocks: Blocks) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(16), len(blocks), [None, pa.py_buffer(np.ascontiguousarray(blocks))])


def _references_of(entries: pa.Table) -> Blocks:
    return blocks_of(entries["reference"].to_pylist())


def _times_of(entries: pa.Table) -> Times:
    return entries["at"].cast(pa.int64()).to_numpy()


def _in_order(entries: pa.Table) -> pa.Array:
    """Places by person and purpose, then time; of one instant the withdrawal comes last, and so counts."""
    halves = _references_of(entries).view(">u8").reshape(-1, 2).astype(np.uint64)
    granted = entries["granted"].to_numpy()
    return pa.array(np.lexsort((~granted, _times_of(entries), halves[:, 1], halves[:, 0])))
