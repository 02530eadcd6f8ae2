"""Snapshots: whole or absent, sorted, free of value statistics, erasable bucket by bucket."""

from __future__ import annotations

import datetime as dt
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import buckets, table_writer
from features.storage import TableStore
from privacy.errors import BadInput
from privacy.rights import Subject

from .tables import open_to_others


def token(number: int) -> str:
    return f"fs_ab{number % 256:02x}{number:032x}"


def subject(number: int) -> Subject:
    return Subject((token(number),), bytes(16), ())


def rows(people: int = 40, each: int = 3, seed: int = 0) -> pa.Table:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    made = [
        {
            "customer_token": token(person),
            "ordered_at": start + dt.timedelta(hours=7 * person + 30 * turn),
            "order_token": f"{person * 10 + turn:032x}",
            "amount": person + turn / 4,
            "category": "xyz"[turn],
        }
        for person in range(people)
        for turn in range(each)
    ]
    random.Random(seed).shuffle(made)
    return pa.Table.from_pylist(made)


def publish(store: TableStore, table: pa.Table) -> str:
    with store.writer() as writer:
        writer.add("lines", table.to_batches())
        return writer.commit({"note": 1})


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "store")


def test_rows_come_back_sorted_whatever_order_they_came_in(tmp_path: Path) -> None:
    stores = [TableStore(tmp_path / str(seed)) for seed in (1, 2)]
    for seed, one in enumerate(stores):
        publish(one, rows(seed=seed))
    first, second = (one.read("lines") for one in stores)
    assert first.equals(second)
    assert first["customer_token"].to_pylist() == sorted(first["customer_token"].to_pylist())
    assert first.num_rows == 120
    digests = {one.manifest()["tables"]["lines"]["digest"] for one in stores}
    assert len(digests) == 1


def test_the_digest_leaves_tokens_out_but_not_who_did_what(tmp_path: Path) -> None:
    table = rows()
    renamed = [f"fs_zz{text[5:7]}{int(text[7:], 16) * 77:032x}" for text in table["customer_token"].to_pylist()]
    swapped = [token(0) if text == token(1) else text for text in table["customer_token"].to_pylist()]
    digests = []
    for number, names in enumerate([None, renamed, swapped]):
        one = TableStore(tmp_path / str(number))
        publish(one, table if names is None else table.set_column(0, "customer_token", pa.array(names)))
        digests.append(one.manifest()["tables"]["lines"]["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_a_writer_that_dies_leaves_the_old_snapshot_and_is_swept(store: TableStore) -> None:
    publish(store, rows())
    with store.writer() as writer:
        writer.add("lines", rows(people=2).to_batches())
    assert store.read("lines").num_rows == 120
    # What a kill would leave: parts that nobody removed.
    part = store.root / "snapshots" / ".part-dead"
    (part / "lines").mkdir(parents=True)
    pq.write_table(rows(people=2), part / "lines" / "000-1.parquet")
    assert store.read("lines").num_rows == 120
    publish(store, rows(people=5))
    assert store.read("lines").num_rows == 15
    assert not part.exists()


def test_old_snapshots_go_but_the_last_one_stays_for_its_readers(store: TableStore) -> None:
    names = [publish(store, rows(people=number)) for number in (2, 3, 4)]
    assert names == sorted(names)
    assert {item.name for item in (store.root / "snapshots").iterdir()} == {names[1], names[2]}
    publish(store, rows(people=5))
    assert names[1] not in {item.name for item in (store.root / "snapshots").iterdir()}


def test_erasing_rewrites_one_bucket_and_every_trace_goes(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET_ROWS", 16)
    publish(store, rows())
    publish(store, rows())
    before = {file.name: file.stat().st_ino for file in store.files("lines")}
    assert len(before) == 8
    assert store.count(subject(7)) == 3
    assert {row["category"] for row in store.export(subject(7))} == {"x", "y", "z"}
    assert store.verify(subject(7)) == 6  # the last snapshot still holds the person

    assert store.erase(subject(7)) == 3
    assert (store.count(subject(7)), store.verify(subject(7))) == (0, 0)
    assert store.read("lines").num_rows == 117
    after = {file.name: file.stat().st_ino for file in store.files("lines")}
    kept = set(before) & set(after)
    assert len(kept) == 7
    assert all(before[name] == after[name] for name in kept)
    assert store.erase(subject(7)) == 0
    assert store.count(subject(8)) == 3


def test_erasing_where_nothing_was_published(store: TableStore) -> None:
    assert (store.count(subject(1)), store.erase(subject(1)), store.verify(subject(1))) == (0, 0, 0)


def test_exports_hold_no_token(store: TableStore) -> None:
    publish(store, rows())
    assert all(not key.endswith("_token") for row in store.export(subject(3)) for key in row)


def test_footers_tell_no_value_but_tokens(store: TableStore) -> None:
    publish(store, rows())
    for file in store.files("lines"):
        meta = pq.ParquetFile(file).metadata
        group = meta.row_group(0)
        told = {group.column(at).path_in_schema for at in range(meta.num_columns) if group.column(at).is_stats_set}
        assert told == {"customer_token"}
        assert meta.schema.column(1).logical_type.to_json().count("microseconds") == 1


def test_an_empty_table_keeps_its_columns(store: TableStore) -> None:
    with store.writer() as writer:
        writer.add("lines", [], rows().schema)
        writer.commit({})
    assert store.read("lines").column_names == rows().column_names
    with pytest.raises(BadInput, match="no rows"), store.writer() as writer:
        writer.add("lines", [])


def test_asking_before_anything_is_there(store: TableStore) -> None:
    with pytest.raises(BadInput, match="run the stage that writes them first"):
        store.read("lines")


def parts(table: pa.Table, size: int) -> list[pa.RecordBatch]:
    return table.to_batches(max_chunksize=size)


@pytest.mark.parametrize("keyed", [True, False])
def test_the_digest_of_many_runs_knows_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyed: bool) -> None:
    tables = [rows(seed=1), rows(seed=1), rows(seed=2)]
    digests = []
    for number, table in enumerate(tables):
        monkeypatch.setattr(table_writer, "BUCKET_ROWS", 10_000 if number == 0 else 32)
        one = TableStore(tmp_path / str(number))
        with one.writer() as writer:
            writer.add("lines", parts(table if keyed else table.drop(["customer_token"]), 10))
            writer.commit({})
        digests.append(one.manifest()["tables"]["lines"]["digest"])
        assert one.read("lines").num_rows == 120
    assert len(set(digests)) == 1


def test_after_an_erasure_the_digest_tells_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "BUCKET_ROWS", 32)
    first, second = TableStore(tmp_path / "first"), TableStore(tmp_path / "second")
    everybody = rows()
    for store, table in ((first, everybody), (second, everybody.filter(pc.field("customer_token") != token(7)))):
        with store.writer() as writer:
            writer.add("lines", parts(table, 10))
            writer.commit({"digest": "of the data as they came"})
    assert first.erase(subject(7)) == 3
    left, never = (store.manifest() for store in (first, second))
    assert left["tables"]["lines"]["digest"] == never["tables"]["lines"]["digest"]
    assert left["tables"]["lines"]["rows"] == 117
    assert left["digest"] is None
    assert first.erase(subject(8)) == 3
    assert first.manifest()["tables"]["lines"]["digest"] != left["tables"]["lines"]["digest"]


def test_only_the_owner_may_look(store: TableStore) -> None:
    before = os.umask(0)
    try:
        publish(store, rows())
        store.erase(subject(7))
    finally:
        os.umask(before)
    assert open_to_others(store.root) == []
