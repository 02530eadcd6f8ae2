"""A home with real keys and databases, made in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from privacy.keyring import Keyring
from privacy.kms import Argon2Parameters, LocalKms
from privacy.vault import Vault

from .audited import Trail

CHEAP = Argon2Parameters(passes=1, memory_kib=8, lanes=1)
"""So that a test doesn't spend its time in Argon2; the real parameters have a test of their own."""


@dataclass
class Home:
    root: Path

    @property
    def key_file(self) -> Path:
        return self.root / "keys" / "keyring.json"

    @property
    def vault_url(self) -> str:
        return f"sqlite:///{self.root / 'vault' / 'vault.db'}"

    def kms(self, passphrase: str = "correct horse battery") -> LocalKms:
        return LocalKms(passphrase=passphrase, parameters=CHEAP)

    def open_keyring(self) -> Keyring:
        return Keyring.open(self.key_file, self.kms())

    def open_vault(self, keyring: Keyring | None = None) -> Vault:
        return Vault.open(self.vault_url, keyring or self.open_keyring())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    Keyring.create(made.key_file, made.kms())
    return made


@pytest.fixture
def keyring(home: Home) -> Keyring:
    return home.open_keyring()


@pytest.fixture
def vault(home: Home, keyring: Keyring) -> Iterator[Vault]:
    opened = home.open_vault(keyring)
    yield opened
    opened.close()


@pytest.fixture
def trail(home: Home, keyring: Keyring) -> Trail:
    return Trail(home.root / "audit", keyring)
