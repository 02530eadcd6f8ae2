"""The root keyring: versioned keys behind handles, from which every other key is derived.

Every key is HKDF-SHA256 (RFC 5869) of a root, with length-prefixed tenant, purpose, attribute and version,
so two contexts can never spell the same input. Token keys follow the root keys' versions; keys of stored
indexes and seals come from the identity root, which rotation leaves alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from privacy.ciphers import Sealer, Signer
from privacy.classification import DOMAIN_CODES, FEATURE_STORE
from privacy.cmac import Mac
from privacy.durable import locked
from privacy.errors import BadInput
from privacy.keyfile import ROOT, SEALED, KeyFile, read_key_file, reopened, write_key_file
from privacy.keyset import (
    KeyInfo,
    KeyState,
    TokenKeys,
    derive,
    handle_of,
    new_payload,
    roots_of,
    rotated,
    with_state,
)
from privacy.kms import Kms
from privacy.sealed_keyring import KeyHolder, SealedKeyring
from privacy.secret_key_access import KEY_BYTES, SecretKey, release

__all__ = ["Keyring", "SealedKeyring"]


class Keyring(KeyHolder):
    """The root keyring; only ingest, identify, keys and rights open it."""

    def __init__(self, path: Path, file: KeyFile) -> None:
        self._path = path
        self.domains = frozenset(DOMAIN_CODES)
        self._take(file)

    def _take(self, file: KeyFile) -> None:
        self._file, payload = file, file.payload
        self.keyset_id = str(payload["keyset_id"])
        self.tenant = str(payload["tenant"])
        self._roots = roots_of(payload)
        self._identity = handle_of(payload["identity"])

    @classmethod
    def create(cls, path: Path, kms: Kms, *, tenant: str = "default") -> Keyring:
        """Make and store a keyring with one root key; BadInput when `path` exists already."""
        with locked(_lock_of(path)):
            if path.exists():
                raise BadInput("a keyring exists already", where=str(path), remedy="open it instead")
            payload = new_payload(tenant)
            write_key_file(path, KeyFile.new(ROOT, kms, secrets.token_bytes(KEY_BYTES), payload))
        return cls.open(path, kms)

    @classmethod
    def open(cls, path: Path, kms: Kms) -> Keyring:
        """The keyring at `path`; EnvironmentFailed when missing or damaged, BadInput when the passphrase is wrong."""
        return cls(path, read_key_file(path, kms, ROOT))

    @property
    def erasure_counter(self) -> int:
        """How many erasures began under this keyring; an older vault must replay them before it opens."""
        return int(self._file.payload["erasure_counter"])

    def count_erasure(self, at_least: int = 0) -> None:
        """Raise the stored counter by one, or only to `at_least` when given; other processes are heeded."""

        def counted(payload: Mapping[str, Any]) -> dict[str, Any]:
            before = int(payload["erasure_counter"])
            return {**payload, "erasure_counter": max(before, at_least) if at_least else before + 1}

        self._change(counted)

    @property
    def keys(self) -> tuple[KeyInfo, ...]:
        """Every key of the keyset, destroyed ones included, by version."""
        return tuple(root.info for root in self._roots)

    def rotate(self) -> KeyInfo:
        """Add a key and make it primary: new tokens are made by it, the others go on being read."""
        self._change(rotated)
        return next(info for info in self.keys if info.state is KeyState.PRIMARY)

    def set_state(self, key_id: str, state: KeyState) -> None:
        """Disable, enable again or destroy a key; what a destroyed key made can never be read again.

        BadInput for an unknown key, for the primary, and for destroying a key that isn't disabled.
        """
        self._change(lambda payload: with_state(payload, key_id, state))

    def rewrap(self, kms: Kms) -> None:
        """Put the keyring under another passphrase or key; the keys themselves stay as they are."""
        with locked(_lock_of(self._path)):
            current = reopened(self._path, self._file.data_key, ROOT)
            fresh = KeyFile.new(ROOT, kms, secrets.token_bytes(KEY_BYTES), current.payload)
            write_key_file(self._path, fresh)
            self._take(fresh)

    def _change(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Apply a change to the file as it is now, whoever wrote it last; the old file stays until it is whole."""
        with locked(_lock_of(self._path)):
            current = reopened(self._path, self._file.data_key, ROOT)
            payload = change(current.payload)
            if payload != current.payload:
                current = KeyFile(
                    ROOT, current.keyset_id, current.kms_id, current.wrapped_key, current.data_key, payload
                )
                write_key_file(self._path, current)
            self._take(current)

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

    def token_keys(self, domain: str, *, disabled: bool = False) -> TokenKeys:
        """The keys of a token domain; with `disabled` also those, which only erasure may look for."""
        self._check_domain(domain)
        by_id, primary = {}, ""
        for root in self._roots:
            if root.secret is not None and (root.usable or disabled):
                context = (self.tenant, f"token:{domain}", "handle", str(root.info.version))
                by_id[root.info.key_id] = derive(root.secret, context)
            if root.info.state is KeyState.PRIMARY:
                primary = root.info.key_id
        return TokenKeys(domain, primary, by_id)

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
    def inference(self) -> Sealer:
        """Seals who bought what must not be inferred, for the gate that attacks it."""
        return Sealer(self._derived("inference", "flags"))

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
        return derive(self._identity, (self.tenant, purpose, attribute, "1"))


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
