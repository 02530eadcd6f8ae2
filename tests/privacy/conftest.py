"""A home with real keys and databases: SQLite files in a temporary folder, or databases of a PostgreSQL server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from privacy.keyring import Keyring
from privacy.kms import Argon2Parameters, LocalKms
from privacy.vault import Vault
from tests.postgres import Server

from .audited import Trail

CHEAP = Argon2Parameters(passes=1, memory_kib=8, lanes=1)
"""So that a test doesn't spend its time in Argon2; the real parameters have a test of their own."""


@dataclass
class Home:
    """`server` is None for SQLite."""

    root: Path
    server: Server | None = None
    databases: dict[str, str] = field(default_factory=dict)

    @property
    def key_file(self) -> Path:
        return self.root / "keys" / "keyring.json"

    @property
    def index(self) -> Path:
        return self.root / "vault" / "vault.index"

    @property
    def vault_url(self) -> str:
        return self.url("vault")

    def url(self, name: str) -> str:
        if self.server is None:
            return f"sqlite:///{self.root / 'vault' / name}.db"
        if name not in self.databases:
            self.databases[name] = self.server.database()
        return self.server.url(self.databases[name])

    def kms(self, passphrase: str = "correct horse battery") -> LocalKms:
        return LocalKms(passphrase=passphrase, parameters=CHEAP)

    def open_keyring(self) -> Keyring:
        return Keyring.open(self.key_file, self.kms())

    def open_vault(self, keyring: Keyring | None = None, **options: Any) -> Vault:
        options = {"index": self.index, **options}
        return Vault.open(self.vault_url, keyring or self.open_keyring(), self.url("keystore"), **options)

    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        """Ask a database behind the vault's back."""
        url = sa.make_url(self.url(name)).set(drivername="sqlite" if self.server is None else "postgresql+psycopg")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            answer = connection.exec_driver_sql(query)
            found = [tuple(row) for row in answer] if answer.returns_rows else []
        engine.dispose()
        return found

    def backup(self, name: str) -> None:
        """Copy a database, which nobody holds open."""
        if self.server is None:
            shutil.copy(self.root / "vault" / f"{name}.db", self.root / f"{name}.backup")
        else:
            self.databases[f"{name}.backup"] = self.server.database(self.databases[name])

    def restore(self, name: str) -> None:
        """Put the copy in the database's place."""
        self.lose(name)
        if self.server is None:
            shutil.copy(self.root / f"{name}.backup", self.root / "vault" / f"{name}.db")
        else:
            self.databases[name] = self.server.database(self.databases[f"{name}.backup"])

    def lose(self, name: str) -> None:
        """Delete a database; on a server an empty one stands in its place."""
        if self.server is None:
            for path in (self.root / "vault").glob(f"{name}.db*"):
                path.unlink()
        else:
            self.server.drop(self.databases.pop(name))

    def files(self) -> bytes:
        """Everything in the vault's folder."""
        return b"".join(path.read_bytes() for path in sorted((self.root / "vault").rglob("*")) if path.is_file())


@pytest.fixture
def server() -> Server | None:
    """No server, so SQLite; a module that holds for PostgreSQL too has a parametrised fixture in its place."""
    return None


def on_both(request: pytest.FixtureRequest) -> Server | None:
    """The server that a parametrised `server` fixture asks for."""
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


@pytest.fixture
def home(tmp_path: Path, server: Server | None) -> Home:
    made = Home(tmp_path, server)
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
