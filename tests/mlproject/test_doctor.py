"""A home that lost or broke any one of its stores: the doctor says which and what to do, and goes on looking."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.home import Home
from tests.shops import make_shop

Damage = Callable[[Path], object]
SHOP = "corner_shop"


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a champion, and a copy of it beside."""
    home = Home(tmp_path_factory.mktemp("doctor"))
    shop = make_shop(home.folder / "shop", customers=120, days=300)
    mean = ("mean", "--purpose", "value", "--high", "500", "--epsilon", "0.1")
    for command in (("ingest", str(shop)), ("build",), ("materialize",), ("train", "clv", "--trials", "1"), mean):
        home.custos(*command)
    home.let_go()
    shutil.copytree(home.path, home.folder / "kept", symlinks=True)
    return home


@pytest.fixture
def home(well: Home) -> Home:
    """The home as it was: it must stay at its place."""
    well.let_go()
    shutil.rmtree(well.path)
    shutil.copytree(well.folder / "kept", well.path, symlinks=True)
    return well


def gone(pattern: str) -> Damage:
    def damage(home: Path) -> None:
        for path in list(home.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def holds(pattern: str, content: bytes) -> Damage:
    def damage(home: Path) -> None:
        path = next(iter(home.glob(pattern)), home / pattern)
        for log in path.parent.glob(f"{path.name}-*"):  # SQLite could read it all from there
            log.unlink()
        path.write_bytes(content)

    return damage


def a_folder(place: str) -> Damage:
    def damage(home: Path) -> None:
        (home / place).unlink()
        (home / place).mkdir()

    return damage


def without_tables(place: str) -> Damage:
    def damage(home: Path) -> None:
        (home / place).unlink()
        with closing(sqlite3.connect(home / place)) as connection, connection:
            connection.execute("CREATE TABLE other (x)")

    return damage


NOISE = b"no such format " * 300
PARTS = f"{SHOP}/snapshots/*"
CASES: dict[str, tuple[tuple[Damage, str, str], ...]] = {
    "gone": (
        (gone("quarantine"), "quarantine", "custos ingest"),
        (gone(f"protected/{PARTS}/transactions/*.parquet"), "protected", "custos run"),
        (gone(f"features/{PARTS}/customer_features/*.parquet"), "features", "custos build"),
        (gone("datasets/*.yaml"), "dataset", "custos ingest"),
        (gone("feast/online.db"), "online", "custos materialize"),
        (gone("mlflow/mlflow.db"), "registry", "custos train clv"),
        (gone("vault/vault.db"), "vault", "backup"),
        (gone("audit"), "audit", "backup"),
    ),
    "damaged": (
        (holds(f"quarantine/{SHOP}/transactions.sealed", NOISE), "quarantine", "custos run"),
        (holds(f"protected/{PARTS}/transactions/*.parquet", NOISE), "protected", "custos run"),
        (holds("feast/registry.db", NOISE), "features", "custos build"),
        (holds("feast/online.db", NOISE), "online", "custos materialize"),
        (holds("mlflow/mlflow.db", NOISE), "registry", "train again"),
        (holds("tuning/optuna.db", NOISE), "tuning", "remove it"),
        (holds("vault/vault.db", NOISE), "vault", "backup"),
        (holds("suppression.json", b"5"), "suppression", "backup"),
        (holds("budget.json", b"[]"), "budget", "backup"),
        (holds("quality.jsonl", NOISE), "quality", "next ingest"),
    ),
    "of another kind": (
        (holds(f"features/{PARTS}/manifest.json", b"{}"), "features", "custos run"),
        (without_tables("feast/online.db"), "online", "custos materialize"),
        (holds("mlflow/mlflow.db", b""), "registry", "custos train clv"),
        (without_tables("vault/vault.db"), "vault", "backup"),
        (a_folder("audit/events.jsonl"), "audit", "backup"),
        (a_folder("report.json"), "report", "remove it"),
    ),
    "parts": (
        (gone("budget.json"), "budget", "backup"),
        (gone("feast/registry.db"), "features", "custos build"),
        (gone("mlflow/artifacts"), "registry", "custos train clv"),
        (without_tables("vault/keystore.db"), "vault", "backup"),
    ),
    "all of mlflow": ((gone("mlflow"), "registry", "custos train clv"),),
    "state a number": ((holds("state.json", b"5"), "state", "run"),),
    "state a folder": ((a_folder("state.json"), "state", "custos ingest"),),
    "state gone": ((gone("state.json"), "state", "custos ingest"),),
    "all tables gone": ((gone("protected"), "protected", "custos run"), (gone("features"), "features", "custos build")),
    "keyring": ((holds("keys/keyring.json", NOISE), "keys", "backup"),),
    "policy": ((holds("policy.yaml", NOISE), "policy", "write it as"),),
}


def test_a_home_that_is_well_has_no_bad_line(home: Home) -> None:
    told = json.loads(home.custos("doctor", "--json"))
    assert [finding for finding in told if finding["outcome"] == "bad"] == []
    assert {"vault", "budget", "quality", "quarantine", "protected", "features", "online", "registry"} <= {
        found["what"] for found in told
    }


@pytest.mark.parametrize("damages", CASES.values(), ids=CASES)
def test_whatever_is_lost_or_damaged_is_told_with_its_remedy(
    home: Home, damages: tuple[tuple[Damage, str, str], ...]
) -> None:
    for damage, _, _ in damages:
        damage(home.path)
    told = json.loads(home.custos("doctor", "--json", expect=1))
    bad = [finding for finding in told if finding["outcome"] == "bad"]
    assert all(finding["remedy"] for finding in bad), bad
    for _, what, remedy in damages:
        assert any(finding["what"] == what and remedy in finding["remedy"] for finding in bad), (what, bad)


@pytest.mark.slow
def test_a_lost_registry_is_told_by_status_and_report_and_begun_anew_by_train(home: Home) -> None:
    shutil.rmtree(home.path / "mlflow")
    assert "the registry lost clv version" in home.custos("status")
    assert "the champion can't be told: the registry lost clv version" in home.custos("report")
    assert json.loads(home.custos("report", "--json"))["models"]["clv"]["champion"] is None
    assert not (home.path / "mlflow").exists()
    assert "registry: begun anew, as the registry lost clv version" in home.custos("train", "clv", "--trials", "1")
    assert home.custos("doctor").count("bad  ") == 0
    assert "can't be told" not in home.custos("report")


@pytest.mark.parametrize("lost", ["audit/checkpoint", "audit"])
def test_nothing_is_done_that_the_audit_log_could_not_take(home: Home, lost: str) -> None:
    gone(lost)(home.path)
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file() and "audit" not in path.parts}
    shop = str(home.folder / "shop" / "shop.yaml")
    out = str(home.folder / "out.parquet")
    for command in (
        ("ingest", shop), ("build",), ("materialize",), ("subject", "erase", "c00001"), ("train", "clv"),
        ("promote", "clv"), ("score", "clv", "--purpose", "value", "--out", out),
        ("access", "grant", "--role", "analyst", "--purpose", "value", "--user", "ann"),
    ):  # fmt: skip
        home.custos(*command, expect=1)
        assert b"the audit log's checkpoint is missing" in home.spoken[-1]
    assert {path: path.read_bytes() for path in before} == before
    home.custos("report")
