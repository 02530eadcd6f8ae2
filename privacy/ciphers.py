"""What a key handle can do: seal records, sign events. The raw bytes stay inside."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from privacy.errors import CheckFailed
from privacy.secret_key_access import KEY_BYTES, Opaque, SecretKey, release

__all__ = ["SEAL_OVERHEAD", "Sealer", "Signer", "verify_signature"]

_NONCE: Final = 12
SEAL_OVERHEAD: Final = _NONCE + 16
"""Bytes that sealing adds: nonce and tag."""


class Sealer(Opaque):
    """AES-256-GCM-SIV (RFC 8452) with random nonces: a repeated nonce would only reveal equal plaintexts.

    >>> from privacy.secret_key_access import seal_in_handle
    >>> box = Sealer(seal_in_handle(bytes(32)))
    >>> box.open(box.seal(b"record", b"row 1"), b"row 1")
    b'record'
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: SecretKey) -> None:
        self._cipher = AESGCMSIV(release(key))

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """nonce || ciphertext || tag, bound to `context`."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plaintext, context)

    def seal_under_own_keys(
        self, plaintexts: Sequence[bytes], contexts: Sequence[bytes], key_contexts: Sequence[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        """Each plaintext sealed under a fresh key of its own, as that key's `Sealer` would, and the sealed keys.

        Keys and nonces come from one call to the system's random source each; no key leaves this module.
        """
        count, sealed, wrapped = len(plaintexts), list[bytes](), list[bytes]()
        drawn = zip(*(_random(count, size) for size in (KEY_BYTES, _NONCE, _NONCE)), strict=True)
        encrypt = self._cipher.encrypt
        rows = zip(drawn, plaintexts, contexts, key_contexts, strict=True)
        for (key, nonce, own), plain, context, key_context in rows:
            sealed.append(nonce + AESGCMSIV(key).encrypt(nonce, plain, context))
            wrapped.append(own + encrypt(own, key, key_context))
        return sealed, wrapped

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What `seal` was given; CheckFailed when key, context or a byte differs."""
        if len(sealed) < SEAL_OVERHEAD:
            raise CheckFailed("sealed data is truncated")
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
        except InvalidTag:
            raise CheckFailed("sealed data was changed, or belongs to another key or row") from None


class Signer(Opaque):
    """Ed25519 (RFC 8032) over a 32-byte seed; `public_key` is its raw 32-byte public key."""

    __slots__ = ("_private", "public_key")

    def __init__(self, seed: SecretKey) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(release(seed))
        self.public_key = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._private.sign(message)


def verify_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is `message` signed by the key pair of `public_key` (32 raw bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _random(count: int, size: int) -> list[bytes]:
    drawn = secrets.token_bytes(count * size)
    return [drawn[start : start + size] for start in range(0, len(drawn), size)]
