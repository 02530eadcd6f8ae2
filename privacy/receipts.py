"""Erasure receipts: what was erased when, signed with the audit key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from privacy.ciphers import Signer, verify_signature
from privacy.durable import read_bytes, write_beside
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.json_files import parse_object

__all__ = ["Receipt", "StoreResult", "read_receipt", "write_receipt"]

_CONTEXT: Final = b"custos/receipt/v1|"


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


def write_receipt(path: Path, receipt: Receipt, signer: Signer) -> Receipt:
    """Sign the receipt and put it at `path`; as signed."""
    signed = replace(receipt, signature=signer.sign(receipt.message()).hex())
    write_beside(path, json.dumps(signed.to_dict(), indent=1).encode() + b"\n")
    return signed


def read_receipt(path: Path, audit_public_key: bytes) -> Receipt:
    """The receipt at `path`; EnvironmentFailed when missing or unreadable, CheckFailed when changed."""
    data = read_bytes(path, "the receipt")
    if data is None:
        raise EnvironmentFailed(
            "this person was erased, but the receipt is gone", where=str(path), remedy="restore it from its backup"
        )
    try:
        found = Receipt.from_dict(parse_object(data))
    except (KeyError, TypeError, ValueError):
        raise EnvironmentFailed(
            "the receipt is unreadable", where=str(path), remedy="restore it from its backup"
        ) from None
    if not found.is_genuine(audit_public_key):
        raise CheckFailed("the receipt was changed", where=str(path), remedy="restore it from its backup")
    return found
