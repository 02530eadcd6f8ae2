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
    shop = make_shop(home.folder / "shop", customers=120)
    for command in (("ingest", str(shop)), ("build",), ("materialize",), ("train", "clv", "--trials", "1")):
        home.custos(*command)
    shutil.copytree(home.path, home.folder / "kept", symlinks=True)
    return home


@pytest.fixture
def home(well: Home) -> Home:
    """The home as it was: it must stay at its place."""
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
CASES: tuple[tuple[str, Damage, str, str], ...] = (
    ("quarantine gone", gone("quarantine"), "quarantine", "custos ingest"),
    ("quarantine damaged", holds(f"quarantine/{SHOP}/transactions.sealed", NOISE), "quarantine", "custos ingest"),
    ("protected file gone", gone(f"protected/{PARTS}/transactions/*.parquet"), "protected", "custos run"),
    ("protected file damaged", holds(f"protected/{PARTS}/transactions/*.parquet", NOISE), "protected", "custos run"),
    ("features gone", gone(f"features/{PARTS}/customer_features/*.parquet"), "features", "custos build"),
    ("features' manifest empty", holds(f"features/{PARTS}/manifest.json", b"{}"), "features", "custos build"),
    ("descriptor gone", gone("datasets/*.yaml"), "dataset", "custos ingest"),
    ("feature registry gone", gone("feast/registry.db"), "features", "custos build"),
    ("feature registry damaged", holds("feast/registry.db", NOISE), "features", "custos build"),
    ("online store gone", gone("feast/online.db"), "online", "custos materialize"),
    ("online store damaged", holds("feast/online.db", NOISE), "online", "custos materialize"),
    ("registry gone", gone("mlflow/mlflow.db"), "registry", "custos train clv"),
    ("registry empty", holds("mlflow/mlflow.db", b""), "registry", "custos train clv"),
    ("registry damaged", holds("mlflow/mlflow.db", NOISE), "registry", "train again"),
    ("all of MLflow gone", gone("mlflow"), "registry", "custos train clv"),
    ("models gone", gone("mlflow/artifacts"), "registry", "custos train clv"),
    ("trials damaged", holds("tuning/optuna.db", NOISE), "tuning", "remove it"),
    ("vault without tables", without_tables("vault/vault.db"), "vault", "backup"),
    ("vault gone", gone("vault/vault.db"), "vault", "backup"),
    ("key store without tables", without_tables("vault/keystore.db"), "vault", "backup"),
    ("state a number", holds("state.json", b"5"), "state", "run"),
    ("state a folder", a_folder("state.json"), "state", "custos ingest"),
    ("report a folder", a_folder("report.json"), "report", "remove it"),
    ("audit log gone", gone("audit"), "audit", "backup"),
    ("events a folder", a_folder("audit/events.jsonl"), "audit", "backup"),
    ("keyring damaged", holds("keys/keyring.json", NOISE), "keys", "backup"),
    ("suppression list damaged", holds("suppression.json", b"5"), "suppression", "backup"),
    ("policy damaged", holds("policy.yaml", NOISE), "policy", "write it as"),
)


def test_a_home_that_is_well_has_no_bad_line(home: Home) -> None:
    told = json.loads(home.custos("doctor", "--json"))
    assert [finding for finding in told if finding["outcome"] == "bad"] == []
    assert {"vault", "quarantine", "protected", "features", "online", "registry"} <= {found["what"] for found in told}


@pytest.mark.parametrize(("damage", "what", "remedy"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_lost_or_damaged_is_told_with_its_remedy(home: Home, damage: Damage, what: str, remedy: str) -> None:
    damage(home.path)
    told = json.loads(home.custos("doctor", "--json", expect=1))
    bad = [finding for finding in told if finding["outcome"] == "bad"]
    assert what in {finding["what"] for finding in bad}, told
    assert remedy in next(finding["remedy"] for finding in bad if finding["what"] == what)
    assert all(finding["remedy"] for finding in bad)


def test_a_lost_registry_is_told_by_status_and_report_and_begun_anew_by_train(home: Home) -> None:
    shutil.rmtree(home.path / "mlflow")
    assert "the registry lost clv version" in home.custos("status")
    assert "the champion can't be told: the registry lost clv version" in home.custos("report")
    assert json.loads(home.custos("report", "--json"))["models"]["clv"]["champion"] is None
    assert not (home.path / "mlflow").exists()
    assert "registry: begun anew, as the registry lost clv version" in home.custos("train", "clv", "--trials", "1")
    assert home.custos("doctor").count("bad ") == 0
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
