"""Databases that frameworks make: whole or absent, made anew when a killed process left half of one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from privacy.errors import EnvironmentFailed
from training.databases import ensure_whole, file_of, is_whole, reason_of
from training.registry import Registry
from training.tracking import EXPERIMENT_TABLE, Tracker, store_client


def made(url: str) -> None:
    with closing(sqlite3.connect(str(file_of(url)))) as connection, connection:
        connection.execute("CREATE TABLE done (at TEXT)")
        connection.execute("INSERT INTO done VALUES ('now')")


def half(url: str) -> None:
    with closing(sqlite3.connect(str(file_of(url)))) as connection, connection:
        connection.execute("CREATE TABLE other (at TEXT)")


def full_disk(url: str) -> None:
    half(url)
    full = sqlite3.OperationalError("database or disk is full")
    raise OperationalError("INSERT", {}, full) from full


@pytest.mark.parametrize("left", [None, b"", half], ids=["nothing", "an empty file", "some tables"])
def test_what_is_not_whole_is_made_anew(left: object, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "own.db"
    url = f"sqlite:///{file}"
    if left is not None:
        file.parent.mkdir()
        file.write_bytes(b"")
    if left is half:
        half(url)
    assert not is_whole(file, "done")
    ensure_whole(url, "done", made)
    assert is_whole(file, "done")
    assert file.stat().st_mode & 0o777 == 0o600
    ensure_whole(url, "done", full_disk)  # a whole one is left alone
    assert sorted(path.name for path in file.parent.iterdir()) == [".own.db.lock", "own.db"]


def test_a_full_disk_leaves_nothing_that_is_half(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    with pytest.raises(OperationalError) as caught:
        ensure_whole(url, "done", full_disk)
    assert reason_of(caught.value) == "database or disk is full"
    assert not (tmp_path / "own.db").exists()


def test_a_journal_of_the_unfinished_one_is_not_played_into_the_new(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    half(url)
    with closing(sqlite3.connect(tmp_path / "own.db", isolation_level=None)) as killed:
        killed.execute("BEGIN IMMEDIATE")
        killed.execute("INSERT INTO other VALUES ('x')")
        shutil.copytree(tmp_path, tmp_path / "copy")  # as a killed process leaves it
    copy = tmp_path / "copy"
    assert (copy / "own.db-journal").exists()
    ensure_whole(f"sqlite:///{copy}/own.db", "done", made)
    with closing(sqlite3.connect(copy / "own.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("done",)]


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(b"no database" * 500), Path.mkdir], ids=["text", "dir"]
)
def test_what_is_no_database_is_told_and_left(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    spoil(tmp_path / "own.db")
    for ask in (
        lambda: is_whole(tmp_path / "own.db", "done"),
        lambda: ensure_whole(f"sqlite:///{tmp_path}/own.db", "done", made),
    ):
        with pytest.raises(EnvironmentFailed, match=r"the database can't be read.*own\.db.*custos train churn"):
            ask()


def test_mlflows_own_half_made_database_is_made_anew_and_shows_no_default_experiment(
    empty_mlflow: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(empty_mlflow, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        # Killed in the middle of the migrations: MLflow itself refuses this file for ever.
        connection.execute("DELETE FROM experiments")
        connection.execute("UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
        connection.execute("DROP TABLE trace_tags")
    client = store_client(f"sqlite:///{file}")
    assert client.search_experiments() == []
    assert is_whole(file, EXPERIMENT_TABLE)
    with Tracker(f"sqlite:///{file}", tmp_path / "artifacts").run("clv", "test", {}) as run:
        assert client.get_run(run.run_id).info.status == "RUNNING"
    assert [found.name for found in client.search_experiments()] == ["clv"]


def test_asking_a_registry_makes_no_database_and_follows_one_that_was_replaced(
    empty_mlflow: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mlflow.db"
    registry = Registry(f"sqlite:///{file}")
    assert registry.champion("clv") is None
    assert not file.exists()
    shutil.copy(empty_mlflow, file)
    assert registry.champion("clv") is None
    other = tmp_path / "other.db"
    shutil.copy(empty_mlflow, other)
    client = MlflowClient(f"sqlite:///{other}")
    client.create_registered_model("clv")
    client.create_model_version("clv", source=tmp_path.as_uri(), run_id=None)
    client.set_registered_model_alias("clv", "champion", "1")
    file.unlink()
    other.rename(file)
    champion = registry.champion("clv")
    assert champion is not None
    assert champion.version == 1


def test_a_run_that_was_killed_is_shown_as_killed(empty_mlflow: Path, tmp_path: Path) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    client = store_client(tracker.tracking_uri)
    experiment = client.create_experiment("clv")
    killed = client.create_run(experiment).info.run_id
    with tracker.run("clv", "test", {}):
        assert client.get_run(killed).info.status == "KILLED"
