"""Keyrings that hold derived keys of chosen domains only, for a process that must not identify anybody."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privacy.ciphers import Signer
from privacy.classification import DOMAIN_CODES
from privacy.cmac import Mac
from privacy.errors import BadInput
from privacy.keyfile import SEALED, read_key_file
from privacy.keyset import TokenKeys, handle_of
from privacy.kms import Kms
from privacy.secret_key_access import Opaque

__all__ = ["KeyHolder", "SealedKeyring"]


class KeyHolder(Opaque, ABC):
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


class SealedKeyring(KeyHolder):
    """Derived keys of chosen domains: never a root, nor the index, tombstone, vault or quarantine keys."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.keyset_id = payload["keyset_id"]
        self.tenant = payload["tenant"]
        self.bearer_public_key = bytes.fromhex(payload["bearer_public_key"])
        """32 raw bytes that verify bearer tokens."""
        self._tokens = {
            domain: TokenKeys(
                domain, keys["primary"], {key_id: handle_of(text) for key_id, text in keys["keys"].items()}
            )
            for domain, keys in payload["tokens"].items()
        }
        self.domains = frozenset(self._tokens)
        self._audit = Signer(handle_of(payload["audit"]))
        self._suppression = Mac(handle_of(payload["suppression"]))

    @classmethod
    def open(cls, path: Path, kms: Kms) -> SealedKeyring:
        """The sealed keyring at `path`; EnvironmentFailed if missing or damaged, BadInput for a wrong passphrase."""
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
