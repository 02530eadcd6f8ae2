"""A vault or tables put back from an older backup: whoever was erased since stays erased, and the log says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from features.storage import TableStore
from mlproject.wiring import House
from privacy.tokens import handles_to_tokens
from tests.canaries import CANARIES, write_shop
from tests.home import Home


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


@pytest.mark.slow
def test_tables_from_before_an_erasure_lose_the_person_again_with_the_next_build(tmp_path: Path) -> None:
    home, (who, other) = Home(tmp_path), [str(canary.customer_id) for canary in CANARIES[:2]]
    home.custos("ingest", str(write_shop(tmp_path / "shop", customers=15)))
    house = House.open(home.path)
    handles, _ = house.vault.find(pa.array([other]))
    house.suppression.add(handles_to_tokens(house.keyring, handles, "features")[0].as_py())  # not served, but known
    del house
    home.custos("build")
    home.custos("materialize")
    names = ("protected", "features", "feast")
    for name in names:
        shutil.copytree(home.path / name, tmp_path / name, symlinks=True)
    home.custos("subject", "erase", who)

    def people(name: str, table: str) -> int:
        [store] = [TableStore(folder) for folder in (home.path / name).iterdir() if folder.is_dir()]
        return len(set(store.read(table, ["customer_token"])["customer_token"].to_pylist()))

    def outcome() -> str:
        [found] = [one for one in json.loads(home.custos("doctor", "--json", expect=1)) if one["what"] == "protected"]
        return str(found["outcome"])

    left = people("protected", "people")
    home.let_go()
    for name in names:
        shutil.rmtree(home.path / name)
        shutil.copytree(tmp_path / name, home.path / name, symlinks=True)
    assert people("protected", "people") == left + 1
    assert outcome() == "bad"
    assert "1 person who had been erased was in the tables" in home.custos("build", "--since", "2199-01-01")
    assert (people("protected", "people"), people("features", "customer_features")) == (left, left)
    home.custos("materialize")
    [online] = [one for one in json.loads(home.custos("doctor", "--json")) if one["what"] == "online"]
    assert online["detail"].startswith(f"{left - 1} people")
    events = json.loads(home.custos("audit", "show", "--json"))
    assert [event["count"] for event in events if event["action"] == "replay"] == [1]
    assert "had been erased" not in home.custos("build")
