"""A home whose vault and key store are on PostgreSQL, as settings.yaml says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mlproject.cli import main
from tests.canaries import CANARIES, write_shop
from tests.postgres import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.mark.slow
def test_people_are_kept_there_and_erased_there(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, who = tmp_path / "home", str(CANARIES[0].customer_id)
    places = {name: server.url(server.database()) for name in ("database", "key_store")}
    home.mkdir()
    (home / "settings.yaml").write_text(yaml.safe_dump({"vault": places}))

    def custos(*arguments: str, expect: int = 0) -> str:
        capsys.readouterr()
        assert main([*arguments, "--home", str(home)]) == expect
        shown = capsys.readouterr()
        return shown.out if expect == 0 else shown.err

    custos("ingest", str(write_shop(tmp_path / "shop", customers=15)))
    assert sorted(path.name for path in (home / "vault").iterdir()) == ["vault.index"]
    before = people_of(custos("doctor", "--json"))
    receipt = json.loads(custos("subject", "erase", who, "--json"))
    assert [store["after"] for store in receipt["stores"] if store["name"] == "vault"] == [0]
    assert people_of(custos("doctor", "--json")) == before - 1

    (home / "settings.yaml").unlink()
    assert "the key store is missing" in custos("subject", "erase", who, expect=4)


def people_of(told: str) -> int:
    [vault] = [one for one in json.loads(told) if one["what"] == "vault"]
    assert vault["outcome"] == "ok"
    return int(vault["detail"].split()[0])
