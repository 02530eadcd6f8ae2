"""Snapshots that grow: rows added in files of their own, equal to what one full write gives."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import buckets, snapshot_writer
from features.newest import missing
from features.snapshot_writer import MOST_FILES
from features.storage import TableStore

from .test_storage import rows, subject, token

TOKEN = "customer_token"


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "store")


def publish(store: TableStore, table: pa.Table, k: int | None = None) -> None:
    with store.writer() as writer:
        writer.add("lines", table.to_batches(), k=k)
        writer.add("others", rows(people=3).to_batches())
        writer.commit({"note": 1})


def amend(store: TableStore, fresh: pa.Table, gone: pc.Expression | None = None) -> None:
    people = pc.unique(fresh[TOKEN]).to_pylist()
    with store.writer() as writer:
        entries = store.manifest()["tables"]
        writer.amend("lines", entries["lines"], fresh, store.of("lines", people), gone)
        writer.carry("others", entries["others"])
        writer.commit({"note": 2})


def digest(store: TableStore) -> str:
    return str(store.manifest()["tables"]["lines"]["digest"])


def full_digest(folder: Path, table: pa.Table) -> str:
    whole = TableStore(folder)
    publish(whole, table)
    return digest(whole)


def inodes(store: TableStore, table: str) -> set[int]:
    return {file.stat().st_ino for file in store.files(table)}


@pytest.mark.parametrize("bucket_rows", [16, 10_000])
def test_rows_added_bit_by_bit_are_those_of_one_full_write(
    store: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_rows: int
) -> None:
    monkeypatch.setattr(buckets, "BUCKET_ROWS", bucket_rows)
    everything = rows()
    publish(store, everything.slice(0, 60))
    for at in range(60, 120, 6):
        amend(store, everything.slice(at, 6))
    assert digest(store) == full_digest(tmp_path / "full", everything)
    assert store.manifest()["tables"]["lines"]["rows"] == 120
    order = [(name, "ascending") for name in everything.column_names]
    assert store.read("lines").sort_by(order).equals(everything.sort_by(order))
    assert store.of("lines", [token(7)]).num_rows == store.count(subject(7)) == 3


def test_what_was_there_is_linked_not_written(store: TableStore) -> None:
    publish(store, rows(people=30), k=2)
    before = {name: inodes(store, name) for name in ("lines", "others")}
    amend(store, rows(people=40).filter(pc.field("order_token") == f"{390:032x}"))
    after = {name: inodes(store, name) for name in ("lines", "others")}
    assert before["others"] == after["others"]
    assert before["lines"] < after["lines"]
    assert len(after["lines"]) == len(before["lines"]) + 1
    assert store.manifest()["tables"]["lines"]["k"] == 2


def test_many_small_increments_are_joined_in_a_new_snapshot(store: TableStore, tmp_path: Path) -> None:
    everything = rows(people=60)
    publish(store, everything.slice(0, 140))
    [base] = inodes(store, "lines")
    most = 0
    for at in range(140, 180):
        kept = store.directory()
        held = {file.name: file.stat().st_size for file in kept.rglob("*.parquet")}
        amend(store, everything.slice(at, 1))
        assert {file.name: file.stat().st_size for file in kept.rglob("*.parquet")} == held  # nothing in place
        most = max(most, len(store.files("lines")))
    assert most <= MOST_FILES + 3
    assert base in inodes(store, "lines")
    assert digest(store) == full_digest(tmp_path / "full", everything)


def test_a_table_that_outgrows_its_buckets_is_written_anew(
    store: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = rows()
    monkeypatch.setattr(buckets, "BUCKET_ROWS", 40)
    publish(store, everything.slice(0, 39))
    assert store.manifest()["tables"]["lines"]["buckets"] == 1
    fresh = everything.slice(39).append_column("later", pa.array([1.5] * 81))
    amend(store, fresh)
    assert store.manifest()["tables"]["lines"]["buckets"] == 4
    empty = everything.slice(0, 39).append_column("later", pa.nulls(39, pa.float64()))
    assert digest(store) == full_digest(tmp_path / "full", pa.concat_tables([empty, fresh]))


def test_a_column_that_files_lack_is_null_there_and_changes_no_digest(store: TableStore, tmp_path: Path) -> None:
    everything = rows()
    publish(store, everything.slice(0, 100))
    moments = pa.array([dt.datetime(2024, 3, 1, tzinfo=dt.UTC)] * 20, pa.timestamp("us", "UTC"))
    amend(store, everything.slice(100).append_column("created", moments))
    read = store.read("lines")
    assert (read.num_rows, read["created"].null_count) == (120, 100)
    nulls = pa.nulls(100, pa.timestamp("us", "UTC"))
    whole = pa.concat_tables(
        [
            everything.slice(0, 100).append_column("created", nulls),
            everything.slice(100).append_column("created", moments),
        ]
    )
    assert digest(store) == full_digest(tmp_path / "full", whole)
    assert store.erase(subject(7)) == 3
    assert digest(store) == full_digest(tmp_path / "less", whole.filter(pc.field(TOKEN) != token(7)))


def test_rows_can_take_the_place_of_others_of_the_same_people(store: TableStore, tmp_path: Path) -> None:
    everything = rows()
    publish(store, everything)
    mine = everything.filter(pc.field(TOKEN) == token(5))
    instead = mine.set_column(mine.schema.get_field_index("amount"), "amount", pa.array([100.0, 200.0, 300.0]))
    amend(store, instead, pc.field("amount") < 100)
    assert sorted(store.of("lines", [token(5)])["amount"].to_pylist()) == [100.0, 200.0, 300.0]
    others = everything.filter(pc.field(TOKEN) != token(5))
    assert digest(store) == full_digest(tmp_path / "full", pa.concat_tables([others, instead]))


def test_a_table_is_carried_over_in_part(store: TableStore, tmp_path: Path) -> None:
    everything = rows()
    early = pc.field("ordered_at") < dt.datetime(2024, 1, 6, tzinfo=dt.UTC)
    publish(store, everything.filter(early))
    with store.writer() as writer:
        writer.carry("lines", store.manifest()["tables"]["lines"])
        assert writer.add("lines", everything.filter(~early).to_batches()) == 120
        writer.commit({})
    assert digest(store) == full_digest(tmp_path / "full", everything)
    old = inodes(store, "lines")
    with store.writer() as writer:
        kept = writer.carry("lines", store.manifest()["tables"]["lines"], early)
        writer.commit({})
    assert kept == everything.filter(early).num_rows
    assert inodes(store, "lines") < old  # the file of the later rows isn't there, the other is the same
    with store.writer() as writer:
        assert writer.carry("lines", store.manifest()["tables"]["lines"], pc.field("amount") < 3) == 9
        assert writer.carry("lines", store.manifest()["tables"]["lines"], pc.field("amount") < -1) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4)), st.lists(st.integers(0, 4)))
def test_missing_rows_are_those_of_a_multiset(held: list[int], pushed: list[int]) -> None:
    found = missing(pa.table({"n": pa.array(held, pa.int64())}), pa.table({"n": pa.array(pushed, pa.int64())}))
    wanted = [n for n in range(5) for _ in range(max(0, pushed.count(n) - held.count(n)))]
    assert sorted(found["n"].to_pylist()) == wanted


def test_columns_that_do_not_count_tell_no_rows_apart() -> None:
    held = pa.table({"n": [1], "created": pa.nulls(1, pa.int64())})
    assert missing(held, pa.table({"n": [1], "created": [5]}), but=["created"]).num_rows == 0
    assert missing(held, pa.table({"n": [1], "created": [5]})).num_rows == 1


def test_joined_files_hold_what_was_in_them(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_writer, "MOST_FILES", 2)
    everything = rows(people=20)
    order = list(range(60))
    random.Random(5).shuffle(order)
    publish(store, everything.take(order[:1]))
    for at in order[1:]:
        amend(store, everything.take([at]))
    assert store.read("lines").num_rows == 60
    assert sorted(store.read("lines")["order_token"].to_pylist()) == sorted(everything["order_token"].to_pylist())
