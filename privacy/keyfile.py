"""The keyring's file: a JSON envelope whose payload only the Kms can open."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from privacy.ciphers import Sealer
from privacy.durable import read_bytes, write_beside
from privacy.errors import BadInput, CheckFailed
from privacy.kms import Kms
from privacy.secret_key_access import KEY_BYTES, SecretKey, seal_in_handle

__all__ = ["ROOT", "SEALED", "KeyFile", "read_key_file", "reopened", "write_key_file"]

ROOT: Final = "root"
SEALED: Final = "sealed"
_FORMAT: Final = "custos-keyring"
_VERSION: Final = 1
_FIELDS: Final = frozenset({"format", "version", "kind", "keyset_id", "kms", "wrapped_key", "payload"})


@dataclass(frozen=True, repr=False)
class KeyFile:
    """An opened key file: what it says, and the data key it is sealed under (to write it again)."""

    kind: str
    keyset_id: str
    kms_id: str
    wrapped_key: bytes
    data_key: SecretKey
    payload: Mapping[str, Any]

    @classmethod
    def new(cls, kind: str, kms: Kms, data_key: bytes, payload: Mapping[str, Any]) -> KeyFile:
        """A file not yet written, its data key wrapped by `kms`."""
        keyset_id = str(payload["keyset_id"])
        wrapped = kms.wrap(data_key, _context(kind, keyset_id))
        return cls(kind, keyset_id, kms.key_id, wrapped, seal_in_handle(data_key), payload)


def write_key_file(path: Path, file: KeyFile) -> None:
    """Seal, open again, then put in place: the old file stays until the new one has been read back from disk."""
    context = _context(file.kind, file.keyset_id)
    plain = json.dumps(file.payload, sort_keys=True).encode()
    box = Sealer(file.data_key)
    sealed = box.seal(plain, context)
    envelope = {
        "format": _FORMAT,
        "version": _VERSION,
        "kind": file.kind,
        "keyset_id": file.keyset_id,
        "kms": file.kms_id,
        "wrapped_key": base64.b64encode(file.wrapped_key).decode(),
        "payload": base64.b64encode(sealed).decode(),
    }
    data = json.dumps(envelope, indent=1).encode() + b"\n"
    if box.open(_decoded(_parsed(data, path), "payload", path), context) != plain:
        raise CheckFailed("the new keyring does not read back; the old one was kept", where=str(path))
    write_beside(path, data, read_back=True)


def read_key_file(path: Path, kms: Kms, kind: str) -> KeyFile:
    """Open the key file at `path`.

    Raises BadInput when it is missing, truncated, changed, of another kind, or the passphrase is wrong;
    nothing is ever written here.
    """
    data = read_bytes(path, "the keyring")
    if data is None:
        raise BadInput("the keyring is missing", where=str(path), remedy="create it, or restore its backup")
    envelope = _parsed(data, path)
    if envelope["kind"] != kind:
        raise BadInput(f"this is a {envelope['kind']} keyring, not a {kind} one", where=str(path))
    keyset_id = str(envelope["keyset_id"])
    if envelope["kms"] != kms.key_id:
        raise BadInput(
            f"this keyring opens with a {envelope['kms']}, not with a {kms.key_id}",
            where=str(path),
            remedy="set `kms` in the settings as it was when the keyring was made",
        )
    context = _context(kind, keyset_id)
    wrapped = _decoded(envelope, "wrapped_key", path)
    try:
        data_key = kms.unwrap(wrapped, context)
    except BadInput as error:
        raise BadInput(error.what, where=str(path), remedy=error.remedy) from None
    if len(data_key) != KEY_BYTES:
        raise _damaged(path)
    return reopened(path, seal_in_handle(data_key), kind)


def reopened(path: Path, data_key: SecretKey, kind: str) -> KeyFile:
    """Read the file again with the data key already known; BadInput when it was changed."""
    data = read_bytes(path, "the keyring")
    if data is None:
        raise BadInput("the keyring is missing", where=str(path), remedy="restore its backup")
    envelope = _parsed(data, path)
    keyset_id = str(envelope["keyset_id"])
    try:
        plain = Sealer(data_key).open(_decoded(envelope, "payload", path), _context(kind, keyset_id))
        payload = json.loads(plain)
    except (CheckFailed, ValueError):
        raise _damaged(path) from None
    if not isinstance(payload, dict) or payload.get("keyset_id") != keyset_id:
        raise _damaged(path)
    wrapped = _decoded(envelope, "wrapped_key", path)
    return KeyFile(kind, keyset_id, str(envelope["kms"]), wrapped, data_key, payload)


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    try:
        envelope = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(envelope, dict) or set(envelope) != _FIELDS or envelope["format"] != _FORMAT:
        raise _damaged(path)
    if envelope["version"] != _VERSION:
        raise BadInput(
            "the keyring was written by another version", where=str(path), remedy="use the Custos that wrote it"
        )
    return envelope


def _decoded(envelope: Mapping[str, Any], field: str, path: Path) -> bytes:
    try:
        return base64.b64decode(envelope[field], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> BadInput:
    return BadInput(
        "the keyring is truncated or was changed",
        where=str(path),
        remedy="restore it from its backup; nothing was overwritten",
    )


def _context(kind: str, keyset_id: str) -> bytes:
    return f"{_FORMAT}|{_VERSION}|{kind}|{keyset_id}".encode()
