"""What every online database promises, on the real thing: SQLite, Redis and PostgreSQL."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from features.online import Batch, Damaged, PackedRows, rows_at
from features.packing import Layout
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from tests.postgres import Server as Postgres
from tests.redis import running

if TYPE_CHECKING:
    import redis

SPEND = Layout((("spend", "float"), ("tier", "text")))
ORDERS = Layout((("orders", "int"),))
KEYS = [f"key {at}".encode() for at in range(1200)]  # more than one block or pipeline
Opening = Callable[[], PackedRows]


def redis_at(url: str) -> redis.Redis:
    import redis  # an extra: only who has a server needs it

    return redis.Redis.from_url(url)


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
        redis_at(url).flushall()
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


def test_rows_whose_packing_nobody_knows_are_no_unknown_people(rows: PackedRows) -> None:
    put(rows, spend(KEYS[:2], 5))
    lost = Layout((("spend", "float"),))
    batch = Batch(
        "spend", lost, KEYS[1:2], [6], [b"12345678" + row[8:] for row in lost.pack(pa.table({"spend": [2.0]}))]
    )
    put(rows, batch)
    [found] = rows.read(KEYS[:2], ["spend"])
    with pytest.raises(Damaged, match="1 of 2 online rows can't be read"):
        list(rows.by_layout([(at, row[1]) for at, row in enumerate(found) if row]))


def test_who_was_erased_stays_refused_when_all_is_discarded(redis_url: str, postgres: Postgres) -> None:
    for client in (rows_at(redis_url, "discarded"), rows_at(postgres.url(postgres.database()), "discarded")):
        put(client, spend(KEYS[:2], 5))
        client.erase(KEYS[:1])
        client.discard()
        put(client, spend(KEYS[:2], 6))
        assert (client.of(KEYS[0]), client.people("spend")) == ([], 1)


@pytest.mark.parametrize("cut", [3, 20])
def test_a_row_that_is_cut_off_is_told_and_no_shorter_text(cut: int) -> None:
    [row] = SPEND.pack(pa.table({"spend": [1.0], "tier": ["a long name of a tier"]}))
    for read in (SPEND.lists, lambda rows: SPEND.texts(rows, 1)):
        with pytest.raises(CheckFailed, match="a row of the online store is damaged"):
            read([row[:-cut]])
        with pytest.raises(CheckFailed, match="a row of the online store is damaged"):
            read([row[:-1] + b"\xff"])


def _overwrite(client: redis.Redis, key: str, value: str) -> None:
    client.delete(key)
    client.set(key, value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client: _overwrite(client, "shop:row:" + KEYS[0].decode(), "x"),
        lambda client: client.hset("shop:row:" + KEYS[0].decode(), "spend", "x"),
        lambda client: _overwrite(client, "shop:runs", "x"),
        lambda client: _overwrite(client, "shop:views", "x"),
        lambda client: client.hset("shop:views", "spend", "x"),
        lambda client: _overwrite(client, "shop:layouts", "x"),
        lambda client: _overwrite(client, "shop:erased", "x"),
        lambda client: _overwrite(client, "shop:least", "x"),
    ],
    ids=["row", "value", "runs", "views", "newest", "layouts", "erased", "least"],
)
def test_what_others_wrote_under_our_keys_on_redis_is_told_and_written_anew(
    redis_url: str, spoil: Callable[[redis.Redis], object]
) -> None:
    server = redis_at(redis_url)
    server.flushall()
    put(rows_at(redis_url, "shop"), spend(KEYS[:3], 5))
    spoil(server)
    rows = rows_at(redis_url, "shop")

    def use() -> None:
        rows.newest("spend")
        rows.runs()
        [found] = rows.read(KEYS[:3], ["spend"])
        list(rows.by_layout([(at, row[1]) for at, row in enumerate(found) if row]))
        put(rows, spend(KEYS[:3], 6))

    with pytest.raises(Damaged) as told:
        use()
    assert "custos materialize" in str(told.value)
    assert "key 0" not in str(told.value)
    rows.discard()
    use()
    assert (rows.people("spend"), rows.newest("spend")) == (3, 6)


@pytest.mark.parametrize("left", [b"", b"x", b"\xff\xff"])
def test_a_value_that_is_cut_off_on_redis_is_replaced_by_the_next_write_of_all(redis_url: str, left: bytes) -> None:
    server, rows = redis_at(redis_url), rows_at(redis_url, "shop")
    server.flushall()
    put(rows, spend(KEYS[:3], 5))
    server.hset("shop:row:" + KEYS[0].decode(), "spend", left)
    with rows.writing() as writer:
        writer.drop_newer(20)
        writer.put(spend(KEYS[:3], 5, 2.0))
        writer.drop_others(20)
    assert [told(rows, key)["spend"] for key in KEYS[:3]] == [(5, [2.0, "gold"])] * 3
    assert rows.newest("spend") == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE {rows} DROP COLUMN written", "drop the tables named custos_"),
        ("ALTER TABLE {rows} ALTER COLUMN value TYPE text USING encode(value, 'hex')", "2 of 2 online rows"),
        ("DROP TABLE {layouts}; CREATE VIEW {layouts} AS SELECT 1 AS id", "drop the tables named custos_"),
        ("ALTER TABLE {rows} ADD COLUMN note text NOT NULL DEFAULT 'x'", ""),
    ],
)
def test_tables_of_another_shape_on_postgresql_are_told(postgres: Postgres, change: str, told: str) -> None:
    import psycopg
    from psycopg import sql

    url = postgres.url(postgres.database())
    put(rows_at(url, "custos"), spend(KEYS[:2], 5))
    names = {name: sql.Identifier(f"custos_{name}") for name in ("rows", "layouts")}
    with psycopg.connect(url, autocommit=True) as connection:
        for part in change.split(";"):
            connection.execute(sql.SQL(part).format(**names))
    client = rows_at(url, "custos")

    def use() -> None:
        [found] = client.read(KEYS[:2], ["spend"])
        for layout, mine in client.by_layout([(at, row[1]) for at, row in enumerate(found) if row]):
            assert layout.lists([row for _, row in mine]) == [[1.0, 1.0], ["gold", "gold"]]
        put(client, spend(KEYS[:2], 6))

    if told:
        with pytest.raises(EnvironmentFailed, match=told):
            use()
    else:
        use()


def test_a_role_that_may_only_read_reads_and_is_told_what_it_lacks(postgres: Postgres) -> None:
    import psycopg

    name = postgres.database()
    url = postgres.url(name)
    put(rows_at(url, "custos"), spend(KEYS[:2], 5))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE reader_{name} LOGIN; GRANT USAGE ON SCHEMA {name} TO reader_{name}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader_{name}")
    reader = rows_at(url.replace("custos@", f"reader_{name}@"), "custos")
    assert reader.people("spend") == 2
    with pytest.raises(EnvironmentFailed, match="let its role read and write"):
        put(reader, spend(KEYS[:2], 6))


def test_other_urls_and_names_are_refused() -> None:
    with pytest.raises(BadInput, match="an online store is at"):
        rows_at("mysql://host/db", "shop")
    with pytest.raises(BadInput, match="a project's name"):
        rows_at("sqlite:////tmp/x.db", "my shop; drop table")
