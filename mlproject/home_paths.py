"""Where everything lies in a home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from privacy.durable import expanded

__all__ = ["HomePaths"]


@dataclass(frozen=True)
class HomePaths:
    """Every place under one home, as absolute paths.

    >>> HomePaths(Path("/srv/.custos")).vault.as_posix()
    '/srv/.custos/vault/vault.db'
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", expanded(self.root).absolute())

    def written(self) -> tuple[object, ...]:
        """Return what differs when keys, settings or policy were written, or the vault was replaced by another."""
        whole = (self.keyring, self.service_keyring, self.settings, self.policy)
        return (*(_stamp(file) for file in whole), *(_stamp(file)[:1] for file in (self.vault, self.key_store)))

    @property
    def passphrase(self) -> Path:
        return self.root / "keys" / "passphrase"

    @property
    def keyring(self) -> Path:
        return self.root / "keys" / "keyring.json"

    @property
    def service_passphrase(self) -> Path:
        return self.root / "keys" / "service.passphrase"

    @property
    def service_keyring(self) -> Path:
        return self.root / "keys" / "service.json"

    @property
    def vault(self) -> Path:
        return self.root / "vault" / "vault.db"

    @property
    def key_store(self) -> Path:
        return self.root / "vault" / "keystore.db"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def inference_flags(self) -> Path:
        return self.root / "inference"

    @property
    def protected(self) -> Path:
        return self.root / "protected"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def feast_registry(self) -> Path:
        return self.root / "feast" / "registry.db"

    @property
    def feast_online(self) -> Path:
        return self.root / "feast" / "online.db"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlflow" / "artifacts"

    @property
    def studies(self) -> Path:
        return self.root / "tuning" / "optuna.db"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def suppression(self) -> Path:
        return self.root / "suppression.json"

    @property
    def consents(self) -> Path:
        return self.root / "consents.ledger"

    @property
    def receipts(self) -> Path:
        return self.root / "receipts"

    @property
    def policy(self) -> Path:
        return self.root / "policy.yaml"

    @property
    def settings(self) -> Path:
        return self.root / "settings.yaml"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def budget(self) -> Path:
        return self.root / "budget.json"

    @property
    def quality(self) -> Path:
        return self.root / "quality.jsonl"

    @property
    def descriptors(self) -> Path:
        return self.root / "datasets"

    @property
    def bento(self) -> Path:
        return self.root / "bentoml"


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
