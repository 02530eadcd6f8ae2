"""Queries as sources: SQLite by file and a real PostgreSQL; read-only, streamed, typed, and no password anywhere."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features import sources
from features.datasets.descriptor import Descriptor, load_descriptor, parse_descriptor
from privacy.errors import BadInput, CustosError, EnvironmentFailed
from tests.postgres import LOCKED, Server
from tests.shops import shop_document, write_descriptor

from .conftest import Home

SECRET = "hunter2-swordfish"
LINES = """
    CREATE TABLE lines (customer text, invoice text, ts text, quantity real, price real, stock integer,
                        department text, discount real);
    INSERT INTO lines VALUES ('007', 'i1', '2024-03-31 12:00:00', 1, 2.5, 9, 'dairy', 0),
                             ('8', 'i2', '2024-04-01T08:00:00+02:00', 2, 1, 9, NULL, NULL);
"""
TYPES = """
    SELECT 1::smallint AS small, 12345678901234567::bigint AS big, 12.34::numeric(10, 2) AS exact,
           0.1::numeric + 0.2 AS loose, 1.5::real AS half, DATE '2024-02-29' AS day,
           TIMESTAMP '2024-03-31 12:00' AS naive, TIMESTAMPTZ '2024-03-31 12:00+02' AS zoned, true AS yes,
           'é文' AS word, 'a'::char(3) AS padded, 'd1c4e6f0-0000-4000-8000-000000000000'::uuid AS token
"""


def database(folder: Path, script: str = LINES) -> Path:
    path = folder / "shop's.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def document(url: str, query: str, **more: Any) -> dict[str, Any]:
    made = shop_document()
    made["time_zone"] = "Europe/Berlin"
    lines = {**made["tables"]["transactions"], "source": {"url": url, "query": query, **more}}
    lines.pop("where")
    made["tables"] = {"transactions": lines}
    return made


def columns(descriptor: Descriptor, **environment: str) -> dict[str, pa.ChunkedArray]:
    """The query's own columns, as the reader of sources gets them."""
    descriptor._environment = environment
    table = descriptor.tables["transactions"]
    with sources.opened(descriptor, table) as source:
        read = source.connection.sql(f"SELECT * FROM {source.origin}").to_arrow_table()
    return dict(zip(read.column_names, read.columns, strict=True))


def everything(descriptor: Descriptor) -> list[pa.RecordBatch]:
    """All rows of the query, as a source reads them."""
    with sources.opened(descriptor, descriptor.tables["transactions"]) as source:
        source.selected = {"all": "*"}
        return list(source.batches())


def asking(url: str, query: str, **more: Any) -> Descriptor:
    return parse_descriptor(document(url, query, **more), Path(), "shop.yaml")


def test_a_shop_in_sqlite_goes_in(home: Home, tmp_path: Path) -> None:
    database(tmp_path)
    shop = load_descriptor(str(write_descriptor(tmp_path, document("sqlite:///shop's.db", "SELECT * FROM lines;"))))
    home.ingest(shop)
    kept = home.paths.protected_store("corner_shop").read("transactions")
    found = sorted(zip(kept["ordered_at"].to_pylist(), kept["amount"].to_pylist(), strict=True))
    assert [(moment.isoformat(), amount) for moment, amount in found] == [
        ("2024-03-31T10:00:00+00:00", 2.5),
        ("2024-04-01T06:00:00+00:00", 2.0),
    ]
    _, known = home.vault.find(pa.array(["007", "8", "7"]))
    assert known.tolist() == [True, True, False]


def test_sqlite_gives_numbers_and_texts(tmp_path: Path) -> None:
    path = database(tmp_path)
    query = "SELECT stock, price, CASE stock WHEN 9 THEN customer ELSE 1 END AS mixed, NULL AS empty FROM lines"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO lines (customer, stock, price) VALUES ('9', 9223372036854775807, 3)")
        connection.commit()
    found = columns(asking(f"sqlite:///{path}", query))
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "stock": [9, 9, 2**63 - 1],
        "price": [2.5, 1.0, 3.0],
        "mixed": ["007", "8", "1"],
        "empty": [None] * 3,
    }
    assert [found[name].type for name in ("stock", "price", "mixed")] == [pa.int64(), pa.float64(), pa.string()]


def test_postgres_types_come_out_as_in_parquet(postgres: Server) -> None:
    found = columns(asking(postgres.url(postgres.database()), TYPES))
    utc, berlin = dt.UTC, dt.timezone(dt.timedelta(hours=2))
    assert {name: column.to_pylist()[0] for name, column in found.items() if name not in {"loose", "exact"}} == {
        "small": 1,
        "big": 12345678901234567,
        "half": 1.5,
        "day": dt.date(2024, 2, 29),
        "naive": dt.datetime.fromisoformat("2024-03-31T12:00"),
        "zoned": dt.datetime(2024, 3, 31, 12, tzinfo=berlin).astimezone(utc),
        "yes": True,
        "word": "é文",
        "padded": "a  ",
        "token": "d1c4e6f0-0000-4000-8000-000000000000",
    }
    assert (str(found["exact"].to_pylist()[0]), float(found["loose"].to_pylist()[0])) == ("12.34", 0.3)
    assert found["exact"].type == pa.decimal128(10, 2)
    assert str(found["small"].type) == "int64"


def test_a_shop_in_postgres_is_the_same_shop(home: Home, postgres: Server, tmp_path: Path) -> None:
    url = postgres.url(postgres.database())
    with postgres._connected() as connection:
        connection.execute(f"SET search_path = {schema_of(url)}")
        connection.execute(
            "CREATE TABLE lines (customer text, invoice int, ts timestamp, quantity int, price numeric(8, 2),"
            " stock bigint, department text, discount numeric)"
        )
        connection.execute(
            "INSERT INTO lines VALUES ('007', 1, '2024-03-31 12:00', 1, 2.5, 9, 'dairy', 0),"
            " ('8', 2, '2024-04-01 08:00', 2, 1, 9, NULL, NULL)"
        )
    home.ingest(load_descriptor(str(write_descriptor(tmp_path, document(url, "SELECT * FROM lines")))))
    kept = home.paths.protected_store("corner_shop").read("transactions")
    assert sorted(kept["amount"].to_pylist()) == [2.0, 2.5]
    assert min(kept["ordered_at"].to_pylist()) == dt.datetime(2024, 3, 31, 10, tzinfo=dt.UTC)


def schema_of(url: str) -> str:
    return url.rpartition("%3D")[2]


def test_rows_are_streamed_and_never_held_by_the_client(postgres: Server) -> None:
    # A client that fetched everything first would need a hundred million rows' memory and minutes.
    query = "SELECT generate_series(1, 100000000) AS customer"
    shop = asking(postgres.url(postgres.database()), query)
    with sources.opened(shop, shop.tables["transactions"]) as source:
        reader = source.connection.sql(f"SELECT customer FROM {source.origin}").to_arrow_reader(1000)
        assert reader.read_next_batch().column(0)[0].as_py() == 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nextval('numbers')",
        "WITH gone AS (DELETE FROM kept RETURNING *) SELECT * FROM gone",
        "SELECT write_it()",
    ],
)
def test_a_query_can_write_nothing(postgres: Server, query: str) -> None:
    url = postgres.url(postgres.database())
    with postgres._connected() as connection:
        connection.execute(f"SET search_path = {schema_of(url)}")
        connection.execute("CREATE SEQUENCE numbers")
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        connection.execute("CREATE FUNCTION write_it() RETURNS int LANGUAGE sql AS 'DELETE FROM kept RETURNING a'")
    with pytest.raises(BadInput, match=r"its query would write|refuses its query"):
        columns(asking(url, query))
    with postgres._connected() as connection:
        assert connection.execute(f"SELECT count(*) FROM {schema_of(url)}.kept").fetchone() == (1,)


def test_a_sqlite_file_is_neither_made_nor_changed(tmp_path: Path) -> None:
    path = database(tmp_path)
    before = (path.read_bytes(), sorted(tmp_path.iterdir()))
    columns(asking(f"sqlite:///{path}", "SELECT customer FROM lines ORDER BY 1"))
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before
    with pytest.raises(BadInput, match=r"no file 'gone.db'"):
        columns(parse_descriptor(document("sqlite:///gone.db", "SELECT 1"), tmp_path, "shop.yaml"))
    assert not (tmp_path / "gone.db").exists()


PASSWORDS = [
    f"postgresql://custos:{SECRET}@localhost/shop",
    f"postgresql://custos@localhost/shop?password={SECRET}",
    f"postgresql://custos@localhost/shop?sslpassword={SECRET}",
    f"mysql://custos:{SECRET}@localhost/shop",
    f"not a url {SECRET}",
    f"postgresql://host:{SECRET}/shop",
]


@pytest.mark.parametrize("url", PASSWORDS)
def test_a_password_in_the_descriptor_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput) as raised:
        load_descriptor(str(write_descriptor(tmp_path, document(url, "SELECT 1"))))
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


SOURCES: list[tuple[str, str, dict[str, Any], str]] = [
    ("mysql://reader@localhost/shop", "SELECT 1", {}, "no other database is read"),
    ("postgresql+asyncpg://reader@localhost/shop", "SELECT 1", {}, "no other database is read"),
    ("sqlite://", "SELECT 1", {}, "name the file of the database"),
    ("sqlite:///file:x.db?mode=rwc&uri=true", "SELECT 1", {}, "name the file of the database"),
    ("sqlite:///x.db", "SELECT 1; DROP TABLE lines", {}, "write one SELECT without ';'"),
    ("sqlite:///x.db", "DELETE FROM lines", {}, "write one SELECT"),
    ("sqlite:///x.db", "PRAGMA table_info(lines)", {}, "write one SELECT"),
    ("sqlite:///x.db", "SELECT 1", {"password_env": "NOT A NAME"}, "password_env"),
    ("sqlite:///x.db", "SELECT 1", {"pasword": "x"}, "unknown key 'tables.transactions.source.pasword'"),
]


@pytest.mark.parametrize(("url", "query", "more", "told"), SOURCES, ids=[told for *_, told in SOURCES])
def test_what_cant_be_a_source_is_told_in_one_line(url: str, query: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        asking(url, query, **more)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_password_comes_from_a_variable(postgres: Server) -> None:
    url = postgres.url(postgres.database())
    with postgres._connected() as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'")
    shop = asking(url.replace("custos@", "reader@"), "SELECT current_user::text AS who", password_env="SHOP_PASSWORD")
    assert columns(shop, SHOP_PASSWORD=SECRET)["who"].to_pylist() == ["reader"]
    with pytest.raises(BadInput, match="the variable SHOP_PASSWORD is not set"):
        columns(shop)
    assert SECRET not in shop.model_dump_json()


@pytest.mark.parametrize("given", [{}, {"SHOP_PASSWORD": "another"}], ids=["none", "wrong"])
def test_a_server_that_refuses_the_login_is_told_from_one_that_is_away(
    postgres: Server, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.lock(SECRET)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    url = postgres.url(postgres.database()).replace("custos@", f"{LOCKED}@")
    shop = asking(url, "SELECT 1 AS a", **({"password_env": "SHOP_PASSWORD"} if given else {}))
    where = "the variable SHOP_PASSWORD" if given else "~/.pgpass"
    with pytest.raises(EnvironmentFailed, match=f"its database refuses the login.*password in {where}") as refusal:
        columns(shop, **given)
    assert "another" not in str(refusal.value)


FAILURES: list[tuple[str, type[CustosError], str]] = [
    ("SELECT * FROM nowhere", BadInput, r"refuses its query \(SQLSTATE 42P01\)"),
    ("SELECT 'x'::bytea AS b", BadInput, "column 'b' of the query holds bytes"),
    ("SELECT '{}'::json AS j", BadInput, "column 'j' of the query has a type that can't be used"),
    ('SELECT 1 AS a, 2 AS "A"', BadInput, "column 'a' of the query is there twice"),
    ("SELECT 'infinity'::timestamp AS t", BadInput, "gives a value that can't be used"),
    ("SELECT 'NaN'::numeric AS n", BadInput, "gives a value that can't be used"),
    ("SELECT '44 BC-03-15 12:00 BC'::timestamp AS t", BadInput, "gives a value that can't be used|refuses its query"),
    ("SELECT 7 / (g - 40000) AS n FROM generate_series(1, 50000) g", BadInput, "gives a value that can't be used"),
    ("SELECT pg_terminate_backend(pg_backend_pid()) AS gone", EnvironmentFailed, "its database can't be read"),
]


@pytest.mark.parametrize(("query", "kind", "told"), FAILURES, ids=[query[:40] for query, *_ in FAILURES])
def test_what_the_server_refuses_is_one_line(postgres: Server, query: str, kind: type[CustosError], told: str) -> None:
    shop = asking(postgres.url(postgres.database()), query)
    with pytest.raises(kind, match=told) as raised:
        everything(shop)
    assert "\n" not in str(raised.value)
    assert "44 BC" not in str(raised.value)


def test_a_server_that_isnt_there_is_the_environments_fault(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(EnvironmentFailed, match="its database can't be read"):
        columns(asking(f"postgresql://reader@/shop?host={tmp_path}", "SELECT 1 AS a"))


def test_sqlite_without_the_table_or_with_bytes_or_damaged(tmp_path: Path) -> None:
    path = database(tmp_path)
    cases: list[tuple[str, str]] = [
        ("SELECT * FROM nowhere", "refuses its query"),
        ("SELECT x'00ff' AS b FROM lines", "column 'b' of the query holds bytes"),
        ("SELECT CAST(x'ff' AS TEXT) AS t FROM lines", "can't be read|can't be used|refuses its query"),
    ]
    for query, told in cases:
        with pytest.raises(CustosError, match=told):
            everything(asking(f"sqlite:///{path}", query))
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(EnvironmentFailed, match="can't be read"):
        columns(asking(f"sqlite:///{path}", "SELECT * FROM lines"))
