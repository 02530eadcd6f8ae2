"""A person's rights: erasure in every store, resumable, ending in one signed receipt.

Order: the tombstone and the suppression first, so that nothing serves or re-imports the person; then every
store; the vault (key, record, identities) last, because it alone still knows who is meant; then the receipt.
A sealed journal beside the receipts remembers what was done, so a killed erasure goes on where it stopped.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from privacy.audit import AuditLog, new_event_id
from privacy.classification import FEATURE_STORE
from privacy.counted import counted
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.json_files import parse_object
from privacy.keyring import Keyring
from privacy.policy import Principal
from privacy.receipts import Receipt, StoreResult, read_receipt, write_receipt
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens, stored_tokens
from privacy.vault import Vault

__all__ = ["Receipt", "Rights", "StoreResult", "Subject", "SubjectStore"]


@dataclass(frozen=True, repr=False)
class Subject:
    """The person an erasure is about; its repr hides all.

    `tokens` are the feature store's, of the handle and of `former` ones that links have led to it, under every key
    that a store may have been written under; the handle's under the primary key comes first.
    """

    tokens: tuple[str, ...]
    handle: bytes
    indexes: tuple[bytes, ...]
    former: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return "<Subject>"


class SubjectStore(Protocol):
    """Whatever keeps rows about people; implemented above, handed in by the composition root."""

    @property
    def name(self) -> str:
        """As the receipt calls it."""
        ...

    def count(self, subject: Subject) -> int:
        """Rows about the person now."""
        ...

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """Those rows, for an access request."""
        ...

    def erase(self, subject: Subject) -> int:
        """Delete them, repeatably; how many were deleted this time."""
        ...

    def verify(self, subject: Subject) -> int:
        """Rows that remain, looked for independently of `erase`."""
        ...


class Rights:
    """Carries out requests on all stores; `now` is the real time, for tombstones and receipts."""

    def __init__(
        self,
        vault: Vault,
        keyring: Keyring,
        audit: AuditLog,
        suppression: SuppressionList,
        stores: Sequence[SubjectStore],
        receipts: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._vault, self._keyring, self._audit, self._suppression = vault, keyring, audit, suppression
        self._stores, self._receipts, self._now = tuple(stores), receipts, now

    def erase(self, customer_id: str, principal: Principal, reason: str, rule: str = "") -> Receipt:
        """Erase a person everywhere, or finish an erasure that was interrupted; `rule` permitted it.

        Somebody whom the vault doesn't know is erased from the stores that hold rows under the id's index.
        Erasing again gives the last receipt while no store holds anything; a customer who came back, and rows
        that did, are erased anew. Raises BadInput without a reason and for somebody of whom nothing is held,
        CheckFailed when a store still holds rows afterwards (run it again).
        """
        if not reason.strip():
            raise BadInput("a reason is required", remedy="say why this person is erased")
        try:
            who = pa.array([customer_id], pa.string())
        except UnicodeEncodeError:  # an argument that wasn't UTF-8
            raise BadInput("the customer id is no text", remedy="give it as the source spells it, in UTF-8") from None
        with locked(self._receipts / ".erasure.lock"):
            stone = self._vault.tombstone_of(who)
            journal = None if stone is None else self._journal(stone.receipt)
            done = None if journal is None else self._finish(journal, principal, reason, rule)
            unfinished = stone.receipt if stone and not stone.severed and done is None else None
            handles, known = self._vault.find(who)
            if known[0]:
                handle = handles[0].tobytes()
                subject = self._subject(self._vault.members(handle), self._vault.indexes_of(handle))
            else:
                subject = self._stranger(who)
            before = {store.name: store.count(subject) for store in self._stores}
            if known[0] or unfinished or any(before.values()):
                journal = self._begin(subject, before, unfinished, known=bool(known[0]))
                self._vault.bury(who, datetime.fromisoformat(journal["requested_at"]), str(journal["receipt"]))
                return self._finish(journal, principal, reason, rule)
            self._taken_up(subject, known=False, forget=True)
            if stone is None:
                raise BadInput("nobody with this customer id is known", remedy="check the id as the source spells it")
            return done or read_receipt(self._receipt_path(stone.receipt), self._keyring.audit_public_key)

    def _stranger(self, who: pa.Array) -> Subject:
        """Somebody the vault doesn't know: stores can only find rows under the index, by a token nobody has."""
        handle = secrets.token_bytes(16)
        return self._subject([handle], [self._keyring.index.of_ids(who)[0].tobytes()])

    def _subject(self, members: Sequence[bytes], indexes: Sequence[bytes]) -> Subject:
        """The person of these handles, the one that counts first."""
        tokens = [token for handle in members for token in stored_tokens(self._keyring, handle, FEATURE_STORE)]
        return Subject(tuple(tokens), members[0], tuple(indexes), tuple(members[1:]))

    def _begin(
        self, subject: Subject, before: Mapping[str, int], unfinished: str | None, *, known: bool
    ) -> dict[str, Any]:
        """Note what is about to happen; a note left by an attempt killed before the burial is taken up."""
        journal = self._taken_up(subject, known=known)
        if journal is None:
            receipt = unfinished or f"er_{secrets.token_hex(10)}"
            journal = {
                "receipt": receipt,
                "event": new_event_id(),
                "requested_at": self._now().isoformat(timespec="microseconds"),
                "known": known,
                "handle": subject.handle.hex(),
                "former": [handle.hex() for handle in subject.former],
                "indexes": [index.hex() for index in subject.indexes],
                "reference": self._vault.audit_references(_one(subject.handle))[0],
                "before": dict(before),
            }
            sealed = self._keyring.journal.seal(json.dumps(journal).encode(), receipt.encode())
            write_beside(self._journal_path(receipt), sealed)
        return journal

    def _taken_up(self, subject: Subject, *, known: bool, forget: bool = False) -> dict[str, Any] | None:
        """The journal of a killed attempt on the same person; one that no longer fits is removed.

        It doesn't fit when the person was met or lost since, or when nothing is held any more (`forget`).
        """
        found = None
        indexes = {index.hex() for index in subject.indexes}
        for path in sorted(self._receipts.glob(".er_*.journal")):
            journal = self._journal(path.name.removeprefix(".").removesuffix(".journal"))
            if journal is None or not indexes & set(journal["indexes"]):
                continue
            same = journal["handle"] == subject.handle.hex() if known else not journal["known"]
            if same and not forget:
                found = journal
            else:
                path.unlink(missing_ok=True)
        return found

    def _finish(self, journal: Mapping[str, Any], principal: Principal, reason: str, rule: str) -> Receipt:
        """Every step may have been done already; doing it again changes nothing."""
        name, known = str(journal["receipt"]), bool(journal["known"])
        if (path := self._receipt_path(name)).exists():
            self._journal_path(name).unlink(missing_ok=True)
            return read_receipt(path, self._keyring.audit_public_key)
        handle, *former = [bytes.fromhex(text) for text in (journal["handle"], *journal["former"])]
        subject = self._subject([handle, *former], [bytes.fromhex(index) for index in journal["indexes"]])
        for member in (handle, *former) if known else ():
            self._suppression.add(handles_to_tokens(self._keyring, _one(member), FEATURE_STORE)[0].as_py())
        results = self._emptied(subject, journal["before"])
        self._vault.sever(handle, name)
        gone = self._vault.record(handle) is None
        event = self._audit.append(
            id=str(journal["event"]),
            action="erase",
            principal=principal,
            resource="vault",
            outcome="allow",
            rule=rule,
            count=1,
            reference=journal["reference"] or None,
            detail={"receipt": name, "reason": reason},
        )
        bare = Receipt(
            id=name,
            requested_at=str(journal["requested_at"]),
            completed_at=self._now().isoformat(timespec="microseconds"),
            stores=(*results, StoreResult("vault", int(known), 0 if gone else 1)),
            audit_event=event,
            keyset_id=self._keyring.keyset_id,
        )
        receipt = write_receipt(path, bare, self._keyring.audit_signer)
        self._journal_path(name).unlink(missing_ok=True)
        return receipt

    def _emptied(self, subject: Subject, before: Mapping[str, int]) -> list[StoreResult]:
        """Erase in every store and look again; CheckFailed when rows are left."""
        results = []
        for store in self._stores:
            store.erase(subject)
            results.append(StoreResult(store.name, int(before.get(store.name, 0)), store.verify(subject)))
        left = [result for result in results if result.after]
        if left:
            raise CheckFailed(
                f"{counted(left[0].after, 'row remains', 'rows remain')} in store {left[0].name} after erasure",
                where=f"{len(left)} of {len(results)} stores",
                remedy="the person is refused everywhere meanwhile; run the erasure again",
            )
        return results

    def _journal(self, receipt: str) -> dict[str, Any] | None:
        sealed = read_bytes(self._journal_path(receipt), "the erasure journal")
        if sealed is None:
            return None
        try:
            return parse_object(self._keyring.journal.open(sealed, receipt.encode()))
        except (CheckFailed, ValueError):
            remedy = "restore it from its backup; without it an erasure that was interrupted can't be finished"
            where = str(self._journal_path(receipt))
            raise EnvironmentFailed("the erasure journal is damaged", where=where, remedy=remedy) from None

    def _receipt_path(self, receipt: str) -> Path:
        return self._receipts / f"{receipt}.json"

    def _journal_path(self, receipt: str) -> Path:
        return self._receipts / f".{receipt}.journal"


def _one(handle: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(handle, np.uint8).reshape(1, 16)
