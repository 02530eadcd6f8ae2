"""Versioned keys behind handles: the root keyring, and sealed ones that hold derived keys only.

Every key is HKDF-SHA256 (RFC 5869) of a root, with length-prefixed tenant, purpose, attribute and version,
so two contexts can never spell the same input. Token keys follow the root's versions; keys of stored
indexes and seals follow the keyring's `anchor` version, which rotation leaves alone.
"""

from __future__ import annotations

import secrets
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.ciphers import Sealer, Signer
from privacy.classification import DOMAIN_CODES, FEATURE_STORE
from privacy.cmac import Mac
from privacy.durable import locked
from privacy.errors import BadInput
from privacy.keyfile import ROOT, SEALED, KeyFile, read_key_file, reopened, write_key_file
from privacy.kms import Kms
from privacy.secret_key_access import KEY_BYTES, Opaque, SecretKey, release, seal_in_handle

__all__ = ["KeyState", "Keyring", "SealedKeyring", "TokenKeys", "derive"]

_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"


class KeyState(StrEnum):
    """Primary makes and reads, enabled reads, disabled and destroyed do nothing (as in Tink)."""

    PRIMARY = "primary"
    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True, repr=False)
class TokenKeys:
    """The keys of one domain: `primary` is the id of the one that makes new tokens."""

    domain: str
    primary: str
    by_id: Mapping[str, SecretKey]


@dataclass(frozen=True, repr=False)
class _Root:
    version: int
    key_id: str
    state: KeyState
    secret: SecretKey

    @property
    def usable(self) -> bool:
        return self.state in (KeyState.PRIMARY, KeyState.ENABLED)


class _KeyHolder(Opaque, ABC):
    """What root and sealed keyrings share."""

    keyset_id: str
    tenant: str
    domains: frozenset[str]

    @property
    @abstractmethod
    def audit_signer(self) -> Signer:
        """Signs the audit log."""

    @property
    @abstractmethod
    def suppression(self) -> Mac:
        """MACs the suppression list."""

    @abstractmethod
    def token_keys(self, domain: str) -> TokenKeys:
        """The keys of a token domain; BadInput for a domain that doesn't exist or isn't held here."""

    @property
    def audit_public_key(self) -> bytes:
        """32 raw bytes: whoever has them can verify the audit log."""
        return self.audit_signer.public_key

    def _check_domain(self, domain: str) -> None:
        if domain not in DOMAIN_CODES:
            raise BadInput("unknown token domain", remedy=f"use one of {', '.join(sorted(DOMAIN_CODES))}")
        if domain not in self.domains:
            raise BadInput(f"this keyring holds no key of domain {domain}", remedy="seal a keyring with that purpose")


class SealedKeyring(_KeyHolder):
    """Derived keys of chosen domains: never the root, nor the index, tombstone, vault or quarantine keys."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.keyset_id = payload["keyset_id"]
        self.tenant = payload["tenant"]
        self.bearer_public_key = bytes.fromhex(payload["bearer_public_key"])
        """32 raw bytes that verify bearer tokens."""
        self._tokens = {
            domain: TokenKeys(domain, keys["primary"], {key_id: _handle(text) for key_id, text in keys["keys"].items()})
            for domain, keys in payload["tokens"].items()
        }
        self.domains = frozenset(self._tokens)
        self._audit = Signer(_handle(payload["audit"]))
        self._suppression = Mac(_handle(payload["suppression"]))

    @classmethod
    def open(cls, path: Path, kms: Kms) -> SealedKeyring:
        """The sealed keyring at `path`; BadInput when missing, changed, or the passphrase is wrong."""
        return cls(read_key_file(path, kms, SEALED).payload)

    @property
    def audit_signer(self) -> Signer:
        return self._audit

    @property
    def suppression(self) -> Mac:
        return self._suppression

    def token_keys(self, domain: str) -> TokenKeys:
        self._check_domain(domain)
        return self._tokens[domain]


class Keyring(_KeyHolder):
    """The root keyring; only ingest, identify, keys and rights open it."""

    def __init__(self, path: Path, file: KeyFile) -> None:
        self._path, self._file = path, file
        payload = file.payload
        self.keyset_id = str(payload["keyset_id"])
        self.tenant = str(payload["tenant"])
        self.domains = frozenset(DOMAIN_CODES)
        self._roots = tuple(
            _Root(root["version"], root["id"], KeyState(root["state"]), _handle(root["secret"]))
            for root in payload["roots"]
            if root["state"] != KeyState.DESTROYED
        )
        self._anchor = next(root for root in self._roots if root.version == payload["anchor"])

    @classmethod
    def create(cls, path: Path, kms: Kms, *, tenant: str = "default") -> Keyring:
        """Make and store a keyring with one root key; BadInput when `path` exists already."""
        with locked(_lock_of(path)):
            if path.exists():
                raise BadInput("a keyring exists already", where=str(path), remedy="open it instead")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            root = {
                "version": 1,
                "id": "".join(secrets.choice(_ID_ALPHABET) for _ in range(2)),
                "state": KeyState.PRIMARY.value,
                "secret": secrets.token_bytes(KEY_BYTES).hex(),
                "created_at": created,
            }
            payload = {
                "keyset_id": f"ks_{secrets.token_hex(8)}",
                "tenant": tenant,
                "created_at": created,
                "anchor": 1,
                "erasure_counter": 0,
                "roots": [root],
            }
            write_key_file(path, KeyFile.new(ROOT, kms, secrets.token_bytes(KEY_BYTES), payload))
        return cls.open(path, kms)

    @classmethod
    def open(cls, path: Path, kms: Kms) -> Keyring:
        """The keyring at `path`; BadInput when missing, truncated, changed, or the passphrase is wrong."""
        return cls(path, read_key_file(path, kms, ROOT))

    @property
    def erasure_counter(self) -> int:
        """How many erasures began under this keyring; an older vault must replay them before it opens."""
        return int(self._file.payload["erasure_counter"])

    def count_erasure(self, at_least: int = 0) -> None:
        """Raise the stored counter by one, or only to `at_least` when given; other processes are heeded."""
        with locked(_lock_of(self._path)):
            current = reopened(self._path, self._file.data_key, ROOT)
            before = int(current.payload["erasure_counter"])
            after = max(before, at_least) if at_least else before + 1
            payload = {**current.payload, "erasure_counter": after}
            self._file = KeyFile(
                ROOT, current.keyset_id, current.kms_id, current.wrapped_key, current.data_key, payload
            )
            if after != before:
                write_key_file(self._path, self._file)

    def seal(self, path: Path, kms: Kms, domains: Iterable[str]) -> None:
        """Write a sealed keyring for `domains` and the feature store, replacing an older one at `path`."""
        chosen = sorted({str(domain) for domain in domains} | {FEATURE_STORE})
        tokens = {}
        for domain in chosen:
            keys = self.token_keys(domain)
            held = {key_id: release(key).hex() for key_id, key in keys.by_id.items()}
            tokens[domain] = {"primary": keys.primary, "keys": held}
        payload = {
            "keyset_id": self.keyset_id,
            "tenant": self.tenant,
            "tokens": tokens,
            "audit": release(self._derived("audit", "signer")).hex(),
            "suppression": release(self._derived("suppression", "mac")).hex(),
            "bearer_public_key": self.bearer_public_key.hex(),
        }
        write_key_file(path, KeyFile.new(SEALED, kms, secrets.token_bytes(KEY_BYTES), payload))

    def token_keys(self, domain: str) -> TokenKeys:
        self._check_domain(domain)
        purpose = f"token:{domain}"
        usable = [root for root in self._roots if root.usable]
        primary = next(root for root in usable if root.state is KeyState.PRIMARY)
        by_id = {r.key_id: derive(r.secret, (self.tenant, purpose, "handle", str(r.version))) for r in usable}
        return TokenKeys(domain, primary.key_id, by_id)

    @cached_property
    def index(self) -> Mac:
        """id -> identity index."""
        return Mac(self._derived("vault", "index"))

    @cached_property
    def tombstone(self) -> Mac:
        """id -> tombstone."""
        return Mac(self._derived("vault", "tombstone"))

    def attribute(self, name: str) -> Mac:
        """Keys that lead back to a source, such as order ids: one MAC key a column name."""
        return Mac(self._derived("attribute", name))

    @cached_property
    def key_store(self) -> Sealer:
        """Wraps each person's data key."""
        return Sealer(self._derived("vault", "key-store"))

    @cached_property
    def quarantine(self) -> Sealer:
        """Seals quarantined rows."""
        return Sealer(self._derived("quarantine", "rows"))

    @cached_property
    def journal(self) -> Sealer:
        """Seals the notes of an erasure under way."""
        return Sealer(self._derived("rights", "journal"))

    @cached_property
    def bearer_signer(self) -> Signer:
        """Signs bearer tokens."""
        return Signer(self._derived("bearer", "signer"))

    @property
    def bearer_public_key(self) -> bytes:
        """32 raw bytes that verify bearer tokens."""
        return self.bearer_signer.public_key

    @cached_property
    def audit_signer(self) -> Signer:
        return Signer(self._derived("audit", "signer"))

    @cached_property
    def suppression(self) -> Mac:
        return Mac(self._derived("suppression", "mac"))

    def _derived(self, purpose: str, attribute: str) -> SecretKey:
        version = str(self._anchor.version)
        return derive(self._anchor.secret, (self.tenant, purpose, attribute, version))


def derive(root: SecretKey, context: tuple[str, str, str, str]) -> SecretKey:
    """HKDF-SHA256 of `root` for (tenant, purpose, attribute, version), each length-prefixed (RFC 5869)."""
    info = b"".join(struct.pack(">I", len(part.encode())) + part.encode() for part in context)
    return seal_in_handle(HKDF(SHA256(), KEY_BYTES, salt=b"custos/keys/v1", info=info).derive(release(root)))


def _handle(text: str) -> SecretKey:
    return seal_in_handle(bytes.fromhex(text))


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
