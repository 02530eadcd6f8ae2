"""What every online database promises, on the real thing: SQLite, Redis and PostgreSQL."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from features.online import Batch, PackedRows, rows_at
from features.packing import Layout
from privacy.errors import BadInput
from tests.postgres import Server as Postgres
from tests.redis import running

SPEND = Layout((("spend", "float"), ("tier", "text")))
ORDERS = Layout((("orders", "int"),))
KEYS = [f"key {at}".encode() for at in range(1200)]  # more than one block or pipeline
Opening = Callable[[], PackedRows]


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """How another client of the same, at first empty, database is made."""
    if request.param == "sqlite":
        yield lambda: rows_at(f"sqlite:///{tmp_path}/online.db", "shop")
    elif request.param == "redis":
        url = request.getfixturevalue("redis_url")
        rows_at(url, "shop").discard()
        yield lambda: rows_at(url, "shop")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = server.database()
        yield lambda: rows_at(server.url(name), "shop")
        server.drop(name)


@pytest.fixture
def rows(opening: Opening) -> PackedRows:
    return opening()


def spend(keys: list[bytes], moment: int, value: float = 1.0, tier: str | None = "gold") -> Batch:
    table = pa.table({"spend": [value] * len(keys), "tier": pa.array([tier] * len(keys), pa.string())})
    return Batch("spend", SPEND, keys, [moment] * len(keys), SPEND.pack(table))


def orders(keys: list[bytes], moment: int, value: int = 3) -> Batch:
    packed = ORDERS.pack(pa.table({"orders": [value] * len(keys)}))
    return Batch("orders", ORDERS, keys, [moment] * len(keys), packed)


def put(rows: PackedRows, *batches: Batch) -> None:
    with rows.writing() as writer:
        for batch in batches:
            writer.put(batch)


def told(rows: PackedRows, key: bytes) -> dict[str, tuple[int, list[object]]]:
    return {
        view: (moment, [column[0] for column in (rows.layout_of(row) or ORDERS).lists([row])])
        for view, moment, row in rows.of(key)
    }


def test_nothing_is_there_before_the_first_write(rows: PackedRows) -> None:
    assert rows.of(KEYS[0]) == []
    assert (rows.people("spend"), rows.any_key("spend"), rows.newest("spend")) == (0, None, None)
    assert rows.erase(KEYS[:2]) == 0


def test_what_is_written_is_read_in_the_order_asked(rows: PackedRows, opening: Opening) -> None:
    put(rows, spend(KEYS, 5), orders(KEYS[:3], 7))
    for client in (rows, opening()):
        asked = [KEYS[2], b"nobody", KEYS[1199], KEYS[2]]
        found = client.read(asked, ["orders", "spend", "other"])
        assert [row and row[0] for row in found[0]] == [7, None, None, 7]
        assert [row and row[0] for row in found[1]] == [5, None, 5, 5]
        assert found[2] == [None] * 4
        [[one], [two]] = client.read([KEYS[0]], ["spend", "orders"])
        assert one is not None
        assert two is not None
        assert client.layout_of(one[1]) == SPEND
        assert SPEND.lists([one[1]]) == [[1.0], ["gold"]]
        assert ORDERS.lists([two[1]]) == [[3]]
        assert (client.people("spend"), client.newest("orders"), client.any_key("orders") in KEYS[:3]) == (
            1200,
            7,
            True,
        )
        assert len([row for row in client.read(KEYS, ["spend"])[0] if row]) == 1200


def test_an_older_write_never_replaces_a_newer_one(rows: PackedRows) -> None:
    put(rows, spend(KEYS[:1], 5, 1.0))
    put(rows, spend(KEYS[:1], 4, 2.0))
    assert told(rows, KEYS[0])["spend"] == (5, [1.0, "gold"])
    put(rows, spend(KEYS[:1], 5, 3.0))
    assert told(rows, KEYS[0])["spend"] == (5, [3.0, "gold"])
    put(rows, spend(KEYS[:1], -6, 4.0), spend(KEYS[:1], 9, 5.0, None))
    assert told(rows, KEYS[0])["spend"] == (9, [5.0, None])
    assert rows.newest("spend") == 9


def test_whoever_is_erased_never_comes_back(rows: PackedRows, opening: Opening) -> None:
    put(rows, spend(KEYS[:3], 5), orders(KEYS[:3], 5))
    assert rows.erase([KEYS[1], b"nobody"]) == 2
    assert rows.erase([KEYS[1]]) == 0
    for client in (rows, opening()):
        put(client, spend(KEYS[:3], 8), orders([KEYS[1]], 8))
        assert client.of(KEYS[1]) == []
        assert client.people("spend") == 2
        assert told(client, KEYS[2])["spend"][0] == 8


def test_rows_that_too_few_have_alike_go_with_the_erased(rows: PackedRows) -> None:
    def told(keys: list[bytes], tier: str) -> Batch:
        return dataclasses.replace(spend(keys, 5, 1.0, tier), least=3)

    put(rows, told(KEYS[:3], "gold"), told(KEYS[3:7], "tin"), orders(KEYS[:1], 5))
    assert rows.erase([KEYS[0], KEYS[3]]) == 3
    assert [row is not None for row in rows.read(KEYS[:7], ["spend"])[0]] == [False] * 4 + [True] * 3
    put(rows, dataclasses.replace(spend(KEYS[20:21], 9), least=0))
    rows.erase([KEYS[4]])  # two of tin are left, but nothing is held to a number any more
    assert rows.people("spend") == 3


def test_a_writer_of_everybody_leaves_the_newer_and_drops_the_rest(rows: PackedRows) -> None:
    put(rows, spend(KEYS[:4], 5), spend(KEYS[3:4], 9), spend(KEYS[4:5], 30))
    with rows.writing() as writer:
        writer.drop_newer(20)
        writer.put(spend(KEYS[:2], 6))
        writer.put(spend(KEYS[3:4], 6))
        writer.drop_others(8)
    found = [row and row[0] for row in rows.read(KEYS[:5], ["spend"])[0]]
    assert found == [6, 6, None, 9, None]
    assert (rows.newest("spend"), rows.people("spend")) == (9, 3)


def test_views_are_dropped_by_name_and_all_is_discarded(rows: PackedRows) -> None:
    put(rows, spend(KEYS[:2], 5), orders(KEYS[:2], 5))
    rows.drop({"spend"})
    assert (rows.people("spend"), rows.people("orders"), rows.newest("spend")) == (0, 2, None)
    rows.discard()
    assert rows.people("orders") == 0


def test_every_write_changes_the_stamp(rows: PackedRows, opening: Opening) -> None:
    put(rows, spend(KEYS[:1], 5))
    other = opening()
    for act in (lambda: put(other, spend(KEYS[:1], 6)), lambda: other.erase(KEYS[:1]), lambda: other.discard()):
        before = rows.stamp()
        act()
        assert rows.stamp() != before


def test_a_stamp_tells_of_a_write_only_once_its_rows_are_there(
    rows: PackedRows, opening: Opening, request: pytest.FixtureRequest
) -> None:
    whole = "redis" not in request.node.name  # whose readers look anew every second: it has no such transaction
    put(rows, spend(KEYS[:1], 5))
    other = opening()
    before = other.stamp()
    with rows.writing() as writer:
        writer.put(spend(KEYS[:1], 6))
        assert (other.stamp() == before) or not whole
        assert (other.newest("spend") == 5) or not whole
    assert other.stamp() != before
    assert other.newest("spend") == 6


def test_tables_of_feasts_own_store_go_with_the_first_write_or_erasure(tmp_path: Path) -> None:
    for act in (lambda rows: put(rows, spend(KEYS[:1], 5)), lambda rows: rows.erase(KEYS[:1])):
        file = tmp_path / "online.db"
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE shop_rfm (entity_key BLOB, feature_name TEXT, value BLOB, event_ts)")
            connection.execute("INSERT INTO shop_rfm VALUES (?, 'spend', 'what nobody may find', 1)", [KEYS[0]])
            connection.execute("CREATE TABLE shop_two_rows (entity_key BLOB, view TEXT)")
            connection.commit()
        act(rows_at(f"sqlite:///{file}", "shop"))
        with closing(sqlite3.connect(file)) as connection:
            left = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "shop_rfm" not in left
        assert "shop_two_rows" in left  # another project's
        assert b"what nobody may find" not in file.read_bytes()


def test_rows_of_an_earlier_layout_are_still_read(rows: PackedRows) -> None:
    later = Layout((("spend", "float"), ("tier", "text"), ("visits", "int")))
    put(rows, spend(KEYS[:1], 5))
    put(
        rows,
        Batch("spend", later, KEYS[1:2], [5], later.pack(pa.table({"spend": [2.0], "tier": ["x"], "visits": [4]}))),
    )
    found = rows.read(KEYS[:2], ["spend"])[0]
    parted = dict(rows.by_layout([(at, row[1]) for at, row in enumerate(found) if row]))
    assert {layout.names for layout in parted} == {("spend", "tier"), ("spend", "tier", "visits")}


def test_a_write_that_fails_midway_leaves_what_was_there(rows: PackedRows, request: pytest.FixtureRequest) -> None:
    put(rows, spend(KEYS[:2], 5))

    def fail() -> None:
        with rows.writing() as writer:
            writer.put(spend(KEYS[:1], 6))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    whole = "redis" not in request.node.name  # which has no transaction over many people
    assert [row and row[0] for row in rows.read(KEYS[:2], ["spend"])[0]] == [5 if whole else 6, 5]


def test_other_urls_and_names_are_refused() -> None:
    with pytest.raises(BadInput, match="an online store is at"):
        rows_at("mysql://host/db", "shop")
    with pytest.raises(BadInput, match="a project's name"):
        rows_at("sqlite:////tmp/x.db", "my shop; drop table")
