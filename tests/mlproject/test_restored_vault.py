"""A vault put back from an older backup: whoever was erased since stays erased, and the log says it was put back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.canaries import CANARIES, write_shop


@pytest.mark.slow
def test_whoever_was_erased_since_the_backup_stays_erased(tmp_path: Path) -> None:
    home, who = tmp_path / "home", str(CANARIES[0].customer_id)

    def custos(*arguments: str, expect: int = 0) -> str:
        # A process each, as in life: none holds the databases open while they are replaced.
        command = [sys.executable, "-m", "mlproject", *arguments, "--home", str(home)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == expect, done.stderr
        return done.stdout if expect == 0 else done.stderr

    custos("ingest", str(write_shop(tmp_path / "shop", customers=15)))
    backup = {name: tmp_path / name for name in ("vault.db", "keystore.db")}
    for name, copy in backup.items():
        shutil.copyfile(home / "vault" / name, copy)
    receipt = json.loads(custos("subject", "erase", who, "--json"))

    def restore(name: str) -> None:
        for leftover in (home / "vault").glob(f"{name}-*"):  # SQLite's log belongs to the file it was written for
            leftover.unlink()
        shutil.copyfile(backup[name], home / "vault" / name)

    restore("vault.db")
    assert json.loads(custos("subject", "erase", who, "--json"))["id"] == receipt["id"]
    [event] = [e for e in json.loads(custos("audit", "show", "--json")) if e["action"] == "replay"]
    assert event["count"] == 1
    custos("audit", "verify")

    restore("vault.db")
    restore("keystore.db")
    told = custos("subject", "erase", who, expect=4)
    assert "1 erasures are in neither" in told
    assert "newest backup of the key store" in told
