"""What the vault keeps of a person: one sealed, padded record under that person's own data key."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from privacy.ciphers import Sealer
from privacy.errors import CheckFailed
from privacy.secret_key_access import KEY_BYTES, SecretKey, release, seal_in_handle

__all__ = ["PersonRecord", "audit_reference", "new_data_key", "open_record", "seal_record", "unwrap", "wrap"]

_PAD: Final = 64
"""Records are padded to multiples of this, so that their length says little."""


@dataclass(frozen=True, repr=False)
class PersonRecord:
    """A person's source id (canonical text), whether the source held integers, and direct identifiers."""

    subject_id: str
    integer: bool
    attributes: Mapping[str, object] = field(default_factory=dict)

    def merged(self, attributes: Mapping[str, object]) -> PersonRecord:
        """The same person with newer attributes; those not given stay."""
        return PersonRecord(self.subject_id, self.integer, {**self.attributes, **attributes})


def new_data_key() -> SecretKey:
    """A fresh random key for one person."""
    return seal_in_handle(secrets.token_bytes(KEY_BYTES))


def wrap(key_store: Sealer, handle: bytes, data_key: SecretKey) -> bytes:
    """The data key as the key store holds it, bound to the person's handle."""
    return key_store.seal(release(data_key), b"custos/dek/v1|" + handle)


def unwrap(key_store: Sealer, handle: bytes, wrapped: bytes) -> SecretKey:
    """The person's data key; CheckFailed when the wrapped bytes were changed or are another person's."""
    return seal_in_handle(key_store.open(wrapped, b"custos/dek/v1|" + handle))


def seal_record(handle: bytes, data_key: SecretKey, record: PersonRecord) -> bytes:
    """AES-GCM-SIV of the padded JSON; the associated data names the row and the schema version."""
    document = {
        "id": record.subject_id,
        "type": "integer" if record.integer else "text",
        "attributes": {name: _plain(value) for name, value in record.attributes.items() if value is not None},
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    padded = text + b" " * (-len(text) % _PAD)  # JSON ignores trailing spaces
    return Sealer(data_key).seal(padded, _row(handle))


def open_record(handle: bytes, data_key: SecretKey, sealed: bytes) -> PersonRecord:
    """The record of this row; CheckFailed when it was changed or moved from another row."""
    try:
        document: dict[str, Any] = json.loads(Sealer(data_key).open(sealed, _row(handle)))
        return PersonRecord(document["id"], document["type"] == "integer", document["attributes"])
    except (KeyError, ValueError):
        raise CheckFailed("a vault record is not in the format of this version") from None


def audit_reference(handle: bytes, data_key: SecretKey) -> str:
    """32 hex digits naming the person in the audit log; nobody can compute them once the data key is gone."""
    own = hmac.digest(release(data_key), b"custos/audit-reference/v1", hashlib.sha256)
    return hmac.digest(own, handle, hashlib.sha256).hex()[:32]


def _row(handle: bytes) -> bytes:
    return b"custos/people/v1|" + handle


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool)) else str(value)
