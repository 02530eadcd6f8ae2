"""Who guards the keyring: the `Kms` protocol, and a passphrase on this machine as the default."""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from privacy.durable import read_bytes, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.secret_key_access import KEY_BYTES, Opaque

__all__ = ["RFC_9106_LOW_MEMORY", "Argon2Parameters", "Kms", "LocalKms"]


class Kms(Protocol):
    """Wraps key bytes so that only the same service, asked with the same context, unwraps them."""

    key_id: str

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key`, encrypted and bound to `context`."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` was given; BadInput for a wrong credential, context or changed bytes."""
        ...


@dataclass(frozen=True)
class Argon2Parameters:
    """Cost of one Argon2id derivation; memory in KiB."""

    passes: int
    memory_kib: int
    lanes: int


RFC_9106_LOW_MEMORY: Final = Argon2Parameters(passes=3, memory_kib=64 * 1024, lanes=4)
"""RFC 9106, section 4, second recommended option (64 MiB, t=3, p=4); about 0.2 s here."""

_LIMITS: Final = Argon2Parameters(passes=64, memory_kib=4 * 1024 * 1024, lanes=64)
"""A file that asks for more was tampered with, to exhaust this machine."""

_HEADER: Final = struct.Struct(">4sHIH16s12s")
_MAGIC: Final = b"CLK1"
_MIN_PASSPHRASE: Final = 8


class LocalKms(Opaque):
    """A passphrase stretched by Argon2id, sealing with AES-256-GCM-SIV (RFC 8452).

    The wrapped bytes are header (magic, cost, salt, nonce) and ciphertext; the header is authenticated.
    """

    __slots__ = ("_keks", "_parameters", "_passphrase", "_salt", "key_id")

    def __init__(self, *, passphrase: str | bytes, parameters: Argon2Parameters = RFC_9106_LOW_MEMORY) -> None:
        secret = passphrase.encode() if isinstance(passphrase, str) else bytes(passphrase)
        if len(secret) < _MIN_PASSPHRASE:
            raise BadInput("the passphrase is too short", remedy=f"use at least {_MIN_PASSPHRASE} bytes")
        self.key_id = "local-passphrase"
        self._passphrase = secret
        self._parameters = parameters
        self._salt = secrets.token_bytes(16)
        self._keks: dict[tuple[bytes, Argon2Parameters], AESGCMSIV] = {}

    @classmethod
    def from_file(
        cls, path: Path, *, create: bool = False, parameters: Argon2Parameters = RFC_9106_LOW_MEMORY
    ) -> LocalKms:
        """The passphrase in the first line of `path`; with `create`, a missing file is made (256 bits, 0600).

        Raises BadInput when the file is missing, empty, or readable by group or others.
        """
        data = read_bytes(path, "the passphrase")
        if data is None and create:
            write_beside(path, secrets.token_urlsafe(KEY_BYTES).encode() + b"\n", mode=0o600)
            data = read_bytes(path, "the passphrase")
        if data is None:
            raise BadInput("the passphrase file is missing", where=str(path), remedy="restore it from its backup")
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise BadInput("the passphrase file is readable by others", where=str(path), remedy="chmod 600 the file")
        lines = data.splitlines()
        if not lines or len(lines[0].strip()) < _MIN_PASSPHRASE:
            raise BadInput(
                "the passphrase file is empty or too short",
                where=str(path),
                remedy="restore it from its backup",
            )
        return cls(passphrase=lines[0].strip(), parameters=parameters)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` sealed under this passphrase, bound to `context`."""
        cost, nonce = self._parameters, secrets.token_bytes(12)
        header = _HEADER.pack(_MAGIC, cost.passes, cost.memory_kib, cost.lanes, self._salt, nonce)
        return header + self._kek(self._salt, cost).encrypt(nonce, key, header + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` sealed; BadInput when passphrase, context or bytes differ."""
        if len(wrapped) < _HEADER.size + 16:
            raise BadInput("the wrapped key is truncated", remedy="restore the key file from its backup")
        header = wrapped[: _HEADER.size]
        magic, passes, memory_kib, lanes, salt, nonce = _HEADER.unpack(header)
        cost = Argon2Parameters(passes=passes, memory_kib=memory_kib, lanes=lanes)
        if magic != _MAGIC or not _plausible(cost):
            raise BadInput("the wrapped key is damaged", remedy="restore the key file from its backup")
        try:
            return self._kek(salt, cost).decrypt(nonce, wrapped[_HEADER.size :], header + context)
        except InvalidTag:
            raise BadInput(
                "wrong passphrase, or the key file was changed",
                remedy="give the passphrase it was made with, or restore the file from its backup",
            ) from None

    def _kek(self, salt: bytes, cost: Argon2Parameters) -> AESGCMSIV:
        kek = self._keks.get((salt, cost))
        if kek is None:
            try:
                raw = hash_secret_raw(
                    self._passphrase, salt, cost.passes, cost.memory_kib, cost.lanes, KEY_BYTES, Type.ID
                )
            except HashingError:
                raise EnvironmentFailed(
                    f"Argon2id could not get {cost.memory_kib} KiB of memory",
                    remedy="free memory, then rerun",
                ) from None
            kek = self._keks[salt, cost] = AESGCMSIV(raw)
        return kek


def _plausible(cost: Argon2Parameters) -> bool:
    return (
        1 <= cost.passes <= _LIMITS.passes
        and 1 <= cost.lanes <= _LIMITS.lanes
        and 8 * cost.lanes <= cost.memory_kib <= _LIMITS.memory_kib
    )
