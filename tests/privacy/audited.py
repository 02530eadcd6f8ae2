"""An audit log as a test handles it: files to damage, events to add, other processes to open it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from privacy.audit import AuditLog
from privacy.audit_files import LogFiles
from privacy.classification import Purpose, Role
from privacy.keyring import Keyring
from privacy.policy import Principal

ANN = Principal("ann", Role.ANALYST, Purpose.RETENTION)


class Trail(LogFiles):
    """The log of one home."""

    def __init__(self, directory: Path, keyring: Keyring) -> None:
        super().__init__(directory)
        self.keyring = keyring
        self.log = AuditLog(directory, keyring)

    def add(self, count: int = 1, log: AuditLog | None = None) -> list[str]:
        """Append that many events one by one."""
        return [
            (log or self.log).append(
                action="predict", principal=ANN, resource="model:churn", outcome="allow", rule="r", count=n
            )
            for n in range(count)
        ]

    def add_many(self, count: int) -> list[str]:
        """Append that many events as one group."""
        return self.log.append_many(
            [{"action": "build", "principal": ANN, "resource": "dataset:x", "outcome": "allow"} for _ in range(count)]
        )

    def again(self, *, must_exist: bool = True) -> AuditLog:
        """The log as another process opens it."""
        return AuditLog(self.directory, self.keyring, must_exist=must_exist)

    def events_stored(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]

    def change(self, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
        """Rewrite the lines as somebody with an editor would; what stands there now."""
        self.events.write_bytes(b"".join(line + b"\n" for line in change(list(self.lines()))))
        return self.events.read_bytes()

    def forget_derived(self) -> None:
        """Delete everything that isn't the log itself."""
        for path in self.directory.iterdir():
            if path not in (self.events, self.checkpoint):
                path.unlink()

    def saved(self, folder: Path) -> Path:
        """A copy of the whole directory."""
        return shutil.copytree(self.directory, folder)

    def put_back(self, folder: Path) -> None:
        """Replace the whole directory by a copy."""
        shutil.rmtree(self.directory)
        shutil.copytree(folder, self.directory)
