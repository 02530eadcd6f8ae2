"""Who guards the keyring: the `Kms` protocol, with a passphrase (the default) or a key file as key-encryption key."""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.durable import read_bytes, write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.secret_key_access import KEY_BYTES, Opaque

__all__ = ["RFC_9106_LOW_MEMORY", "Argon2Parameters", "FileKms", "Kms", "LocalKms"]


class Kms(Protocol):
    """Wraps key bytes so that only the same service, asked with the same context, unwraps them."""

    key_id: str

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key`, encrypted and bound to `context`."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` was given; BadInput for another credential or context, EnvironmentFailed for what it can't be."""
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
_MAGIC_FILE: Final = b"CFK1"
_MIN_PASSPHRASE: Final = 8


class LocalKms(Opaque):
    """A passphrase stretched by Argon2id, sealing with AES-256-GCM-SIV (RFC 8452).

    The wrapped bytes are header (magic, cost, salt, nonce) and ciphertext; the header is authenticated.
    """

    __slots__ = ("_keks", "_parameters", "_passphrase", "_salt", "key_id")

    def __init__(self, *, passphrase: str | bytes, parameters: Argon2Parameters = RFC_9106_LOW_MEMORY) -> None:
        # surrogateescape: a variable that isn't UTF-8 stands for the bytes that a passphrase file would hold
        secret = passphrase.encode("utf-8", "surrogateescape") if isinstance(passphrase, str) else bytes(passphrase)
        if len(secret) < _MIN_PASSPHRASE:
            raise BadInput("the passphrase is too short", remedy=f"use at least {_MIN_PASSPHRASE} bytes")
        self.key_id = "passphrase"
        self._passphrase = secret
        self._parameters = parameters
        self._salt = secrets.token_bytes(16)
        self._keks: dict[tuple[bytes, Argon2Parameters], AESGCMSIV] = {}

    @classmethod
    def from_environment(
        cls, variable: str, environment: Mapping[str, str], parameters: Argon2Parameters = RFC_9106_LOW_MEMORY
    ) -> LocalKms:
        """The passphrase in an environment variable; BadInput when it isn't set, empty or too short."""
        given = environment.get(variable, "").strip()
        if not given:
            raise BadInput(f"the environment variable {variable} is not set", remedy="set it to the passphrase")
        return cls(passphrase=given, parameters=parameters)

    @classmethod
    def from_file(
        cls, path: Path, *, create: bool = False, parameters: Argon2Parameters = RFC_9106_LOW_MEMORY
    ) -> LocalKms:
        """The passphrase in the first line of `path`; with `create`, a missing file is made (256 bits, 0600).

        Raises EnvironmentFailed when the file is missing, empty, or readable by group or others.
        """
        line = _secret_line(path, "passphrase", create=create)
        if len(line) < _MIN_PASSPHRASE:
            raise EnvironmentFailed(
                "the passphrase file is empty or too short", where=str(path), remedy="restore it from its backup"
            )
        return cls(passphrase=line, parameters=parameters)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` sealed under this passphrase, bound to `context`."""
        cost, nonce = self._parameters, secrets.token_bytes(12)
        header = _HEADER.pack(_MAGIC, cost.passes, cost.memory_kib, cost.lanes, self._salt, nonce)
        return header + self._kek(self._salt, cost).encrypt(nonce, key, header + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` sealed; BadInput when passphrase or context differ, EnvironmentFailed for damaged bytes."""
        if len(wrapped) < _HEADER.size + 16:
            raise EnvironmentFailed("the wrapped key is truncated", remedy="restore the key file from its backup")
        header = wrapped[: _HEADER.size]
        magic, passes, memory_kib, lanes, salt, nonce = _HEADER.unpack(header)
        cost = Argon2Parameters(passes=passes, memory_kib=memory_kib, lanes=lanes)
        if magic != _MAGIC or not _plausible(cost):
            raise EnvironmentFailed("the wrapped key is damaged", remedy="restore the key file from its backup")
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


class FileKms(Opaque):
    """A random 256-bit key in a file of its own, such as on a mounted secret: AES-256-GCM-SIV, nothing stretched."""

    __slots__ = ("_cipher", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise BadInput("the key has another length than 32 bytes", remedy="restore the key file from its backup")
        self.key_id = "key file"
        self._cipher = AESGCMSIV(HKDF(SHA256(), KEY_BYTES, salt=_MAGIC_FILE, info=b"custos/kek/v1").derive(key))

    @classmethod
    def from_file(cls, path: Path, *, create: bool = False) -> FileKms:
        """The key in the first line of `path`, 64 hex digits; with `create`, a missing file is made (0600).

        Raises EnvironmentFailed when the file is missing, damaged, or readable by group or others.
        """
        line = _secret_line(path, "key", create=create)
        try:
            key = bytes.fromhex(line.decode("ascii"))
        except ValueError:
            raise EnvironmentFailed(
                "the key file does not hold hex digits", where=str(path), remedy="restore it"
            ) from None
        if len(key) != KEY_BYTES:
            raise EnvironmentFailed("the key file does not hold 64 hex digits", where=str(path), remedy="restore it")
        return cls(key)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` sealed under the file's key, bound to `context`."""
        nonce = secrets.token_bytes(12)
        return _MAGIC_FILE + nonce + self._cipher.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` sealed; BadInput when key or context differ, EnvironmentFailed for damaged bytes."""
        magic, nonce, sealed = wrapped[:4], wrapped[4:16], wrapped[16:]
        if magic != _MAGIC_FILE or len(sealed) < 16:
            raise EnvironmentFailed("the wrapped key is damaged", remedy="restore the key file from its backup")
        try:
            return self._cipher.decrypt(nonce, sealed, context)
        except InvalidTag:
            raise BadInput(
                "another key file, or the keyring was changed",
                remedy="give the key file it was made with, or restore the keyring from its backup",
            ) from None


def _secret_line(path: Path, what: str, *, create: bool) -> bytes:
    """The first line of a file that only its owner may read; made from 256 random bits with `create`."""
    data = read_bytes(path, f"the {what} file")
    if data is None and create:
        fresh = secrets.token_hex(KEY_BYTES) if what == "key" else secrets.token_urlsafe(KEY_BYTES)
        write_beside(path, fresh.encode() + b"\n", read_back=True)
        data = read_bytes(path, f"the {what} file")
    if data is None:
        raise EnvironmentFailed(f"the {what} file is missing", where=str(path), remedy="restore it from its backup")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise EnvironmentFailed(f"the {what} file is readable by others", where=str(path), remedy="chmod 600 the file")
    return (data.splitlines() or [b""])[0].strip()


def _plausible(cost: Argon2Parameters) -> bool:
    return (
        1 <= cost.passes <= _LIMITS.passes
        and 1 <= cost.lanes <= _LIMITS.lanes
        and 8 * cost.lanes <= cost.memory_kib <= _LIMITS.memory_kib
    )
