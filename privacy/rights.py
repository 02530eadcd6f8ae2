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
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from privacy.audit import AuditLog
from privacy.ciphers import verify_signature
from privacy.classification import FEATURE_STORE
from privacy.durable import locked, read_bytes, write_beside
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.policy import Principal
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens
from privacy.vault import Vault

__all__ = ["Receipt", "Rights", "StoreResult", "Subject", "SubjectStore"]

_CONTEXT: Final = b"custos/receipt/v1|"


@dataclass(frozen=True, repr=False)
class Subject:
    """The person an erasure is about: feature store token, handle, identity indexes. Its repr hides all."""

    token: str
    handle: bytes
    indexes: tuple[bytes, ...]

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


@dataclass(frozen=True)
class StoreResult:
    """Rows about the person in one store before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Receipt:
    """What was erased when, signed with the audit key; it holds nothing of the person."""

    id: str
    requested_at: str
    completed_at: str
    stores: tuple[StoreResult, ...]
    audit_event: str
    keyset_id: str
    signature: str = ""

    def to_dict(self) -> dict[str, object]:
        """As stored: JSON types only."""
        return {
            "id": self.id,
            "requested_at": self.requested_at,
            "completed_at": self.completed_at,
            "stores": [{"name": s.name, "before": s.before, "after": s.after} for s in self.stores],
            "audit_event": self.audit_event,
            "keyset_id": self.keyset_id,
            "signature": self.signature,
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Receipt:
        """The receipt that `to_dict` wrote."""
        stores = tuple(StoreResult(str(s["name"]), int(s["before"]), int(s["after"])) for s in body["stores"])
        texts = {name: str(body[name]) for name in _TEXT_FIELDS}
        return cls(stores=stores, **texts)

    def text(self) -> str:
        """A few lines to show or print."""
        rows = "\n".join(f"  {s.name}: {s.before} before, {s.after} after" for s in self.stores)
        return (
            f"Erasure receipt {self.id}\n"
            f"requested {self.requested_at}, completed {self.completed_at}\n{rows}\n"
            f"audit event {self.audit_event}, keyset {self.keyset_id}\nsignature {self.signature}"
        )

    def message(self) -> bytes:
        """The bytes that are signed."""
        body = {name: value for name, value in self.to_dict().items() if name != "signature"}
        return _CONTEXT + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    def is_genuine(self, audit_public_key: bytes) -> bool:
        """Whether this home's audit key signed it as it stands."""
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError:
            return False
        return verify_signature(audit_public_key, signature, self.message())


_TEXT_FIELDS: Final = ("id", "requested_at", "completed_at", "audit_event", "keyset_id", "signature")


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

    def erase(self, customer_id: str, principal: Principal, reason: str) -> Receipt:
        """Erase a person everywhere, or finish an erasure that was interrupted.

        Erasing again gives the first receipt; a customer who came back is erased anew. Raises BadInput for
        somebody never seen or without a reason, CheckFailed when a store still holds rows afterwards (run it
        again).
        """
        if not reason.strip():
            raise BadInput("a reason is required", remedy="say why this person is erased")
        who = pa.array([customer_id], pa.string())
        with locked(self._receipts / ".erasure.lock"):
            stone = self._vault.tombstone_of(who)
            journal = None if stone is None else self._journal(stone.receipt)
            done = None if journal is None else self._finish(journal, principal, reason)
            handles, known = self._vault.find(who)
            if not known[0]:
                if done is not None:
                    return done
                if stone is not None:
                    return self._receipt(stone.receipt)
                raise BadInput("nobody with this customer id is known", remedy="check the id as the source spells it")
            unfinished = None if stone is None or stone.severed or done is not None else stone.receipt
            return self._finish(self._begin(who, handles[0].tobytes(), unfinished), principal, reason)

    def _begin(self, who: pa.Array, handle: bytes, unfinished: str | None) -> dict[str, Any]:
        """Note what is about to happen, then bury the id; a note left by a killed attempt is taken up."""
        journal = self._left_behind(handle)
        if journal is None:
            subject = self._subject(handle)
            receipt = unfinished or f"er_{secrets.token_hex(10)}"
            journal = {
                "receipt": receipt,
                "requested_at": self._now().isoformat(timespec="microseconds"),
                "handle": handle.hex(),
                "indexes": [index.hex() for index in subject.indexes],
                "reference": self._vault.audit_references(_one(handle))[0],
                "before": {store.name: store.count(subject) for store in self._stores},
            }
            sealed = self._keyring.journal.seal(json.dumps(journal).encode(), receipt.encode())
            write_beside(self._journal_path(receipt), sealed)
        self._vault.bury(who, datetime.fromisoformat(journal["requested_at"]), str(journal["receipt"]))
        return journal

    def _left_behind(self, handle: bytes) -> dict[str, Any] | None:
        """The journal of an attempt on the same person that was killed before the tombstone was set."""
        for path in sorted(self._receipts.glob(".er_*.journal")):
            journal = self._journal(path.name.removeprefix(".").removesuffix(".journal"))
            if journal is not None and journal["handle"] == handle.hex():
                return journal
        return None

    def _finish(self, journal: Mapping[str, Any], principal: Principal, reason: str) -> Receipt:
        """Every step may have been done already; doing it again changes nothing."""
        receipt_id = str(journal["receipt"])
        if (path := self._receipt_path(receipt_id)).exists():
            self._journal_path(receipt_id).unlink(missing_ok=True)
            return self._receipt(receipt_id)
        handle = bytes.fromhex(journal["handle"])
        subject = Subject(self._token(handle), handle, tuple(bytes.fromhex(index) for index in journal["indexes"]))
        self._suppression.add(subject.token)
        results = []
        for store in self._stores:
            store.erase(subject)
            results.append(StoreResult(store.name, int(journal["before"].get(store.name, 0)), store.verify(subject)))
        left = [result for result in results if result.after]
        if left:
            raise CheckFailed(
                f"{left[0].after} rows remain in store {left[0].name} after erasure",
                where=f"{len(left)} of {len(results)} stores",
                remedy="the person is suppressed; run the erasure again",
            )
        self._vault.sever(handle, receipt_id)
        gone = self._vault.record(handle) is None
        results.append(StoreResult("vault", 1, 0 if gone else 1))
        event = self._audit.append(
            action="erase",
            principal=principal,
            resource="vault",
            outcome="allow",
            count=1,
            reference=journal["reference"] or None,
            detail={"receipt": receipt_id, "reason": reason},
        )
        receipt = self._signed(receipt_id, str(journal["requested_at"]), tuple(results), event)
        write_beside(path, json.dumps(receipt.to_dict(), indent=1).encode() + b"\n")
        self._journal_path(receipt_id).unlink(missing_ok=True)
        return receipt

    def _signed(self, name: str, requested: str, stores: tuple[StoreResult, ...], event: str) -> Receipt:
        completed = self._now().isoformat(timespec="seconds")
        bare = Receipt(name, requested, completed, stores, event, self._keyring.keyset_id)
        signature = self._keyring.audit_signer.sign(bare.message()).hex()
        return Receipt(name, requested, completed, stores, event, self._keyring.keyset_id, signature)

    def _subject(self, handle: bytes) -> Subject:
        return Subject(self._token(handle), handle, self._vault.indexes_of(handle))

    def _token(self, handle: bytes) -> str:
        return str(handles_to_tokens(self._keyring, _one(handle), FEATURE_STORE)[0].as_py())

    def _journal(self, receipt: str) -> dict[str, Any] | None:
        sealed = read_bytes(self._journal_path(receipt), "the erasure journal")
        if sealed is None:
            return None
        journal: dict[str, Any] = json.loads(self._keyring.journal.open(sealed, receipt.encode()))
        return journal

    def _receipt(self, receipt: str) -> Receipt:
        path = self._receipt_path(receipt)
        data = read_bytes(path, "the receipt")
        if data is None:
            raise EnvironmentFailed(
                "this person was erased, but the receipt is gone", where=str(path), remedy="restore it from its backup"
            )
        try:
            found = Receipt.from_dict(json.loads(data))
        except (KeyError, TypeError, ValueError):
            raise EnvironmentFailed("the receipt is unreadable", where=str(path)) from None
        if not found.is_genuine(self._keyring.audit_public_key):
            raise CheckFailed("the receipt was changed", where=str(path), remedy="restore it from its backup")
        return found

    def _receipt_path(self, receipt: str) -> Path:
        return self._receipts / f"{receipt}.json"

    def _journal_path(self, receipt: str) -> Path:
        return self._receipts / f".{receipt}.journal"


def _one(handle: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(handle, np.uint8).reshape(1, 16)
