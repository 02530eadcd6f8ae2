"""Where the home is, and what its settings file may say."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.engine import DuckDb
from features.engine_spark import Spark
from mlproject.engine_setting import EnginePlace
from mlproject.home_paths import HomePaths
from mlproject.report_file import read_report
from mlproject.settings import Settings, find_home, load_settings, project_run, quiet_environment
from mlproject.state import HomeState, load_state, save_state, write_json
from privacy.classification import LawfulBasis, Role
from privacy.errors import BadInput, EnvironmentFailed


def test_home_is_the_given_one_first(tmp_path: Path) -> None:
    assert find_home(Path("here"), {"CUSTOS_HOME": "/elsewhere"}, tmp_path) == tmp_path / "here"


def test_home_is_the_environment_second(tmp_path: Path) -> None:
    (tmp_path / ".custos").mkdir()
    assert find_home(None, {"CUSTOS_HOME": "/elsewhere"}, tmp_path) == Path("/elsewhere")


def test_home_is_the_nearest_parent_third(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".custos").mkdir()
    (tmp_path / "a" / ".custos").mkdir()
    assert find_home(None, {}, inner) == tmp_path / "a" / ".custos"


def test_home_is_here_last(tmp_path: Path) -> None:
    assert find_home(None, {}, tmp_path).name == ".custos"


def test_every_path_is_below_the_home() -> None:
    paths = HomePaths(Path("/srv/home"))
    places = [getattr(paths, name) for name in dir(HomePaths) if isinstance(getattr(HomePaths, name), property)]
    assert len(places) > 15
    assert all(place.is_relative_to("/srv/home") for place in places)
    assert len(set(places)) == len(places)


def test_settings_default_to_an_admin_operator(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "settings.yaml").role is Role.ADMIN


def test_settings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("operator: mei\nrole: analyst\nlawful_bases: {retention: contract}\nbearer_days: 1\n")
    settings = load_settings(file)
    assert (settings.operator, settings.role, settings.bearer_days) == ("mei", Role.ANALYST, 1.0)
    assert settings.lawful_bases == {"retention": LawfulBasis.CONTRACT}


@pytest.mark.parametrize(
    "text",
    [
        "rolle: admin",
        "role: king",
        "lawful_bases: {retention: whim}",
        "bearer_days: 0",
        "bearer_days: x",
        "a: [b",
        "vault: postgresql://host/vault",
        "vault: {database: nowhere}",
        "vault: {database: 5}",
        "vault: {keystore: sqlite:///k.db}",
        "vault: {database: 'postgresql://custos:s3cret@host/vault'}",
        "bearer_days: 1e-9",
        "bearer_days: .inf",
        "bearer_days: .nan",
        "bearer_days: true",
        "fresh_days: 35.5",
        "fresh_days: .inf",
        "fresh_days: 2020-01-01",
        "operator: 2020-01-01",
        "operator: ' '",
        "operator: [a, b]",
        'operator: "a\\nb"',
        "role:",
        "lawful_bases: [retention]",
        "kms: passphrase",
        "kms: {kind: key_file, root: 7}",
        "kms: {kind: key_file, place: x}",
        "engine: polars",
        "engine: [spark]",
        "engine: {kind: spark}",
        "engine: {name: duckdb, master: local}",
        "engine: {master: 'local[2]'}",
        "engine: {name: spark, master: 7}",
        "engine: {name: spark, conf: {driver.memory: 4g}}",
        "engine: {name: spark, conf: {spark.driver.memory: [4g]}}",
        "engine: {name: spark, conf: {spark.io.encryption.enabled: false}}",
        "engine: {name: spark, conf: {spark.authenticate.secret: s3cret}}",
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=rf"{text.partition(':')[0]}.*settings\.yaml"):
        load_settings(file)


def test_an_engine_is_named_in_short_or_with_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("engine: spark")
    assert load_settings(file).engine == EnginePlace("spark")
    file.write_text("engine: {name: spark, master: 'local[2]', conf: {spark.speculation: true, spark.task.cpus: 2}}")
    place = load_settings(file).engine
    assert place == EnginePlace("spark", "local[2]", {"spark.speculation": "true", "spark.task.cpus": "2"})
    assert place.engine({"JAVA_HOME": "/jdk"}) == Spark("local[2]", place.conf, "/jdk/bin/java")
    assert Settings().engine.engine({}) == DuckDb()


@pytest.mark.parametrize("text", ["a: [b", "operator: 2020-13-45", "role: !!bool x", "[" * 100_000, "a: \0"])
def test_settings_that_are_no_yaml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"can't be read as YAML .*settings\.yaml"):
        load_settings(file)


def test_a_setting_given_twice_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("role: analyst\noperator: mei\nrole: admin\n")
    with pytest.raises(BadInput, match=r"has the key role twice .*settings\.yaml, line 3"):
        load_settings(file)


@pytest.mark.parametrize("text", ["", "lawful_bases:\nkms:\n", "fresh_days: 1\nbearer_days: 366\n"])
def test_settings_may_say_little(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    assert load_settings(file).kms == Settings().kms


def test_a_home_of_nobody_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no user of this name here"):
        find_home(Path("~no-such-user/home"))
    with pytest.raises(BadInput, match="there is no user of this name here"):
        find_home(None, {"CUSTOS_HOME": "~no-such-user"})


def test_telemetry_is_off_by_the_words_that_work() -> None:
    quiet = quiet_environment()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["BENTOML_DO_NOT_TRACK"] == "True"
    assert quiet["DO_NOT_TRACK"] == "true"


def test_telemetry_is_off_in_the_frameworks_own_eyes() -> None:
    quiet_environment()
    from bentoml._internal.utils.analytics.usage_stats import do_not_track
    from mlflow.telemetry.utils import is_telemetry_disabled

    do_not_track.cache_clear()
    assert do_not_track()
    assert is_telemetry_disabled()


def test_a_project_runs_own_store_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    assert project_run() == ("sqlite:///elsewhere.db", "abc")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert project_run() is None


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    moment = datetime(2017, 1, 1, tzinfo=UTC)
    state = HomeState(str(tmp_path), "shop", moment, moment)
    save_state(tmp_path / "state.json", state)
    assert load_state(tmp_path / "state.json") == state


def test_a_moved_home_is_refused(tmp_path: Path) -> None:
    moment = datetime(2017, 1, 1, tzinfo=UTC)
    save_state(tmp_path / "state.json", HomeState(str(tmp_path / "elsewhere"), "shop", moment, moment))
    with pytest.raises(BadInput, match="another place"):
        load_state(tmp_path / "state.json")


def test_no_state_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="custos run DATASET"):
        load_state(tmp_path / "state.json")


@pytest.mark.parametrize(
    "change",
    [
        {"first_event": "soon"},
        {"first_event": "2017-01-01"},
        {"last_event": "9999-12-31T00:00:00+00:00"},
        {"as_of": 5},
        {"dataset": "../x"},
        {"dataset": None},
        {"home": 1},
    ],
)
def test_a_state_of_other_values_is_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    moment = datetime(2017, 1, 1, tzinfo=UTC)
    state = HomeState(str(tmp_path), "shop", moment, moment)
    save_state(tmp_path / "state.json", state)
    assert load_state(tmp_path / "state.json") == state
    write_json(tmp_path / "state.json", {**state.to_dict(), **change})
    with pytest.raises(EnvironmentFailed, match=r"state is damaged .*state\.json"):
        load_state(tmp_path / "state.json")


def test_a_damaged_file_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"a": ')
    with pytest.raises(EnvironmentFailed, match=r"report\.json"):
        read_report(tmp_path / "report.json")


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_json(file, {"kept": 1})
    with pytest.raises(TypeError):
        write_json(file, {"bad": object()})
    assert json.loads(file.read_text()) == {"kept": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
