"""A home with stores to erase people from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from privacy.audit import AuditLog
from privacy.classification import Role
from privacy.durable import write_beside
from privacy.policy import Principal
from privacy.rights import Receipt, Rights, Subject
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens
from privacy.vault import Vault

from .conftest import Home

OFFICER = Principal("olga", Role.PRIVACY_OFFICER, None)
T0 = datetime(2025, 6, 1, tzinfo=UTC)
NOWHERE_BUT_IN_QUARANTINE = [("features", 0, 0), ("online", 0, 0), ("quarantine", 1, 0), ("vault", 0, 0)]


class RowFile:
    """A subject store in one JSON file: token -> number of rows; `stubborn` never lets go."""

    def __init__(self, path: Path, *, stubborn: bool = False) -> None:
        self.name, self._path, self._stubborn = path.stem, path, stubborn

    def rows(self) -> dict[str, int]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def put(self, token: str, rows: int) -> None:
        write_beside(self._path, json.dumps({**self.rows(), token: rows}).encode())

    def count(self, subject: Subject) -> int:
        return sum(self.rows().get(token, 0) for token in subject.tokens)

    def export(self, subject: Subject) -> list[dict[str, object]]:
        return [{"rows": self.count(subject)}]

    def erase(self, subject: Subject) -> int:
        before = self.count(subject)
        if not self._stubborn:
            write_beside(
                self._path, json.dumps({t: n for t, n in self.rows().items() if t not in subject.tokens}).encode()
            )
        return before

    def verify(self, subject: Subject) -> int:
        return self.count(subject)


class IndexedRows(RowFile):
    """A store that knows people by identity index only, as the quarantine does."""

    def count(self, subject: Subject) -> int:
        return sum(self.rows().get(index.hex(), 0) for index in subject.indexes)

    def erase(self, subject: Subject) -> int:
        before = self.count(subject)
        gone = {index.hex() for index in subject.indexes}
        write_beside(self._path, json.dumps({i: n for i, n in self.rows().items() if i not in gone}).encode())
        return before


class Shop:
    """Everything of one home that an erasure touches, opened as a process would."""

    def __init__(self, home: Home, *, stubborn: bool = False, now: datetime = T0) -> None:
        self.home = home
        self.keyring = home.open_keyring()
        self.vault: Vault = home.open_vault(self.keyring)
        self.audit = AuditLog(home.root / "audit", self.keyring)
        self.suppression = SuppressionList(home.root / "suppression.json", self.keyring)
        self.stores = [RowFile(home.root / "features.json", stubborn=stubborn), RowFile(home.root / "online.json")]
        self.bad_rows = IndexedRows(home.root / "quarantine.json")
        self.receipts = home.root / "receipts"
        stores = [*self.stores, self.bad_rows]
        self.rights = Rights(self.vault, self.keyring, self.audit, self.suppression, stores, self.receipts, lambda: now)

    def customer(self, name: str, rows: int = 3) -> str:
        handle = self.vault.register(pa.array([name]), [{"name": f"CANARY {name}"}])
        token = handles_to_tokens(self.keyring, handle, "features")[0].as_py()
        for store in self.stores:
            store.put(token, rows)
        return token

    def bad_row(self, name: str, rows: int = 1) -> None:
        self.bad_rows.put(self.keyring.index.of_ids(pa.array([name]))[0].tobytes().hex(), rows)

    def erase(self, name: str = "ann") -> Receipt:
        return self.rights.erase(name, OFFICER, "she asked", "erasure")

    def suppressed(self, *tokens: str) -> list[bool]:
        return self.suppression.contains(pa.array(tokens)).tolist()
