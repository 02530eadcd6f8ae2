"""Feast on packed rows: its own calls give what its SQLite store gives, and what that one gets wrong is right."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureService, FeatureStore

from features.online import rows_at
from privacy.errors import BadInput
from tests.feast_stores import COLUMNS, JOIN_KEY, MOMENT, VIEW, opened, quietly, tokens_of, write_features

PEOPLE = 300
DAY = dt.timedelta(days=1)
ASKED = [{JOIN_KEY: token} for token in [*tokens_of(PEOPLE)[:120], "fs_nobody", tokens_of(PEOPLE)[0]]]
Opened = tuple[FeatureStore, FeatureService]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Opened, Opened]:
    """Packed rows and Feast's SQLite store, materialised from one file."""
    folder = tmp_path_factory.mktemp("feast")
    write_features(folder / "rows.parquet", PEOPLE, texts=True)
    both = tuple(opened(folder / name, folder / "rows.parquet", packed=name == "packed") for name in ("packed", "own"))
    with quietly():
        for store, _ in both:
            store.materialize(MOMENT - DAY, MOMENT + DAY)
    return both[0], both[1]


@pytest.fixture
def packed(tmp_path: Path) -> Opened:
    write_features(tmp_path / "rows.parquet", PEOPLE)
    store, service = opened(tmp_path / "feast", tmp_path / "rows.parquet", packed=True)
    with quietly():
        store.materialize(MOMENT - DAY, MOMENT + DAY)
    return store, service


def value(store: FeatureStore, token: str, name: str = "f00") -> object:
    return store.get_online_features([f"{VIEW}:{name}"], [{JOIN_KEY: token}]).to_dict()[name][0]


def push(store: FeatureStore, token: str, moment: dt.datetime, told: float) -> None:
    row = {name: [told if at < 35 else int(told)] for at, name in enumerate(COLUMNS)}
    moments = pd.to_datetime([moment])
    frame = pd.DataFrame({JOIN_KEY: [token], "event_timestamp": moments, "created_timestamp": moments, **row})
    store.write_to_online_store(VIEW, frame)


@pytest.mark.parametrize("full", [False, True])
def test_answers_equal_those_of_feasts_own_store(stores: tuple[Opened, Opened], full: bool) -> None:
    answers = [
        store.get_online_features(service, ASKED, full_feature_names=full)
        for store, service in stores
    ]  # fmt: skip
    mine, own = (answer.to_dict() for answer in answers)
    assert list(mine) == list(own)
    assert mine == own
    assert answers[0].to_dict(include_event_timestamps=True) == answers[1].to_dict(include_event_timestamps=True)
    pd.testing.assert_frame_equal(answers[0].to_df(), answers[1].to_df())


@pytest.mark.parametrize("full", [False, True])
def test_the_message_equals_that_of_feasts_own_store(stores: tuple[Opened, Opened], full: bool) -> None:
    mine, own = (store.get_online_features(service, ASKED, full_feature_names=full).proto for store, service in stores)
    assert mine == own


def test_features_asked_by_name_in_another_order_and_by_lists_are_equal(stores: tuple[Opened, Opened]) -> None:
    names = [f"{VIEW}:{name}" for name in ("f42", "tier", "f00")]
    lists = {JOIN_KEY: [row[JOIN_KEY] for row in ASKED]}
    mine, own = (store.get_online_features(names, lists).to_dict() for store, _ in stores)
    assert mine == own


def test_every_value_is_the_one_of_the_file(stores: tuple[Opened, Opened], tmp_path: Path) -> None:
    table = write_features(tmp_path / "again.parquet", PEOPLE, texts=True)
    store, service = stores[0]
    told = store.get_online_features(service, {JOIN_KEY: table[JOIN_KEY].to_pylist()}).to_dict()
    for name in (*COLUMNS, "tier"):
        assert told[name] == table[name].to_pylist()
    assert all(isinstance(number, int) for number in told["f40"])


def test_an_older_event_is_ignored_and_a_newer_one_counts(packed: Opened) -> None:
    store, _ = packed
    token = tokens_of(PEOPLE)[3]
    before = value(store, token)
    push(store, token, MOMENT - DAY, 1.0)
    assert value(store, token) == before
    push(store, token, MOMENT + DAY, 2.0)
    assert value(store, token) == 2.0
    push(store, "fs_newcomer", MOMENT, 3.0)
    assert value(store, "fs_newcomer") == 3.0


def test_of_two_events_of_one_person_in_one_write_the_later_counts(packed: Opened) -> None:
    store, _ = packed
    token = tokens_of(PEOPLE)[4]
    rows = [{name: told if at < 35 else int(told) for at, name in enumerate(COLUMNS)} for told in (2.0, 1.0)]
    frame = pd.DataFrame(rows)
    frame.insert(0, JOIN_KEY, token)
    for name in ("event_timestamp", "created_timestamp"):
        frame[name] = pd.to_datetime([MOMENT + 2 * DAY, MOMENT + DAY])
    store.write_to_online_store(VIEW, frame)
    assert value(store, token) == 2.0


def test_a_row_past_its_ttl_is_not_answered(packed: Opened) -> None:
    store, service = packed
    old, new = tokens_of(PEOPLE)[:2]
    push(store, new, MOMENT + 36 * DAY, 2.0)
    fresh = rows_of(store)  # whose clock is new
    assert fresh.clock(VIEW) is not None
    store._provider = None  # opened anew, so that no clock is remembered
    told = store.get_online_features(service, [{JOIN_KEY: old}, {JOIN_KEY: new}]).to_dict()
    assert told["f00"] == [None, 2.0]


def test_the_erased_never_come_back_by_feast(packed: Opened) -> None:
    store, _ = packed
    token = tokens_of(PEOPLE)[5]
    rows = rows_of(store)
    key = next(key for key in [rows.any_key(VIEW)] if key is not None)
    prefix = key[: -len(token)]
    assert rows.erase([prefix + token.encode()]) == 1
    with quietly():
        store.materialize(MOMENT - DAY, MOMENT + DAY)
    push(store, token, MOMENT + DAY, 2.0)
    assert value(store, token) is None
    assert rows.people(VIEW) == PEOPLE - 1


def test_reads_go_on_while_everything_is_materialised(packed: Opened) -> None:
    """Feast refuses them; rows that are read by their keys, as the gateway does, are always the whole person's."""
    store, _ = packed
    rows, done = rows_of(store), threading.Event()
    key = rows.any_key(VIEW)
    assert key is not None
    [[before]] = rows.read([key], [VIEW])
    found: list[object] = []

    def read() -> None:
        while not done.is_set():
            found.extend(rows.read([key], [VIEW])[0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with quietly():
            for _ in range(3):
                store.materialize(MOMENT - DAY, MOMENT + DAY)
    finally:
        done.set()
        reader.join()
    assert found
    assert set(found) == {before}


def test_views_that_are_gone_take_their_rows_along(packed: Opened) -> None:
    store, _ = packed
    rows = rows_of(store)
    assert rows.people(VIEW) == PEOPLE
    store.teardown()
    assert rows.people(VIEW) == 0


def test_what_cannot_be_packed_is_refused_by_name(tmp_path: Path) -> None:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Array, Float32

    write_features(tmp_path / "rows.parquet", 3)
    store, _ = opened(tmp_path / "feast", tmp_path / "rows.parquet", packed=True)
    entity = Entity(name=JOIN_KEY, join_keys=[JOIN_KEY], value_type=ValueType.STRING)
    source = FileSource(path=str(tmp_path / "rows.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(name="vectors", entities=[entity], schema=[Field(name="v", dtype=Array(Float32))], source=source)
    with pytest.raises(BadInput, match="feature v of view vectors is of type Array"):
        store.apply([entity, source, view])


def rows_of(store: FeatureStore):  # type: ignore[no-untyped-def]
    """Another client of the store's rows."""
    return rows_at(store.config.online_store.url, store.config.project)
