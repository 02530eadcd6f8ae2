"""Features on Spark are those on DuckDB, and nothing of anybody is left on a disk or told in a message."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.assembly import Beside, Folded, cutoff_table, told_features
from features.damage import damage_told
from features.engine import Connection, DuckDb, Engine
from features.engine_spark import Spark
from features.transforms.feature import windows_for
from features.transforms.outcomes import outcomes
from features.transforms.vocabulary import KINDS
from privacy.errors import EnvironmentFailed
from tests.packages import module_of

pytestmark = pytest.mark.slow

UTC = pa.timestamp("us", "UTC")
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
CUTOFFS = [START + dt.timedelta(days=days) for days in (70, 140)]
PEOPLE = [f"person-{number}" for number in range(12)]


@pytest.fixture(params=["duckdb", "spark"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    engine: Engine = DuckDb() if request.param == "duckdb" else request.getfixturevalue("spark")
    with engine.connect() as opened:
        yield opened


def order_lines() -> pa.Table:
    """Lines on whole days and off them, with returns, ties, and for some people lines that came late."""
    draw, rows = random.Random(3), []
    for person in PEOPLE:
        for order in range(draw.randint(1, 9)):
            at = START + dt.timedelta(days=draw.randint(0, 135), microseconds=draw.choice((0, 0, 18_000_000_001)))
            late = dt.timedelta(days=draw.choice((0, 20))) if person in PEOPLE[:3] else None
            rows += [
                {
                    "customer_token": person,
                    "order_token": f"{person}-{order}",
                    "ordered_at": at,
                    "amount": draw.choice((1, 1, 1, -1)) * round(draw.uniform(1, 50), 2),
                    "category": draw.choice(("bakery", "dairy", None)),
                    "discount": round(draw.random(), 2),
                    "created": None if late is None else at + late,
                }
                for _ in range(draw.randint(1, 3))
            ]
    kinds = {"ordered_at": UTC, "created": UTC, "amount": pa.float64(), "discount": pa.float64()}
    return pa.Table.from_pylist(rows, pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]]))


def interactions() -> pa.Table:
    draw = random.Random(4)
    who = PEOPLE[:8] * 3
    when = [START + dt.timedelta(days=draw.randint(0, 130)) for _ in who]
    met = [draw.choice(list(KINDS)) for _ in who]
    return pa.table({"customer_token": who, "happened_at": pa.array(when, UTC), "kind": met})


def everything(engine: Engine, lines: pa.Table, moments: list[dt.datetime]) -> dict[str, pa.Table]:
    """Features with bands and engagement, events, and what everybody did after each cut-off."""
    windows = windows_for(False)
    people = pa.table({"customer_token": PEOPLE, "audit_reference": ["reference"] * len(PEOPLE)})
    with engine.connect() as connection:
        folded = Folded.of(connection, connection.place(lines, "lines"), windows)
        cutoffs = cutoff_table(connection, moments)
        numbers = folded.numbers(cutoffs)
        beside = Beside(connection.place(people, "people"), connection.place(interactions(), "interactions"))
        features = connection.read(told_features(numbers, cutoffs, beside, windows))
        events = pa.Table.from_batches(folded.events())
        happened = connection.place(events, "happened")
        found = outcomes(happened, cutoffs, horizon_days=28, active_within_days=56)
        return {"features": features, "events": events, "outcomes": connection.read(found)}


def assert_equal(mine: pa.Table, other: pa.Table) -> None:
    """To 1e-9 of each number, and else exactly; rows in any order."""
    assert set(mine.column_names) == set(other.column_names)
    exact = [name for name in mine.column_names if not pa.types.is_floating(mine.schema.field(name).type)]
    order = [(name, "ascending") for name in [*exact, *(set(mine.column_names) - set(exact))]]
    mine, other = mine.select([name for name, _ in order]).sort_by(order), other.select([name for name, _ in order])
    other = other.sort_by(order)
    assert mine.num_rows == other.num_rows > 0
    for name in mine.column_names:
        expected = other[name].to_pylist()
        if name not in exact:
            expected = [None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9) for value in expected]
        assert mine[name].to_pylist() == expected, name


def test_every_family_is_as_on_duckdb(spark: Spark) -> None:
    mine, other = (everything(engine, order_lines(), CUTOFFS) for engine in (spark, DuckDb()))
    for name, table in mine.items():
        assert_equal(table, other[name])
    told = mine["features"]
    assert {"coupon_response", "value_tier", "gap_median_days", "category_entropy"} <= set(told.column_names)
    assert [name for name in told.column_names if told[name].null_count == told.num_rows] == ["coupon_share"]
    assert mine["events"]["known"].null_count < mine["events"].num_rows


def test_a_connection_is_one_on_every_engine(connection: Connection, tmp_path: Path) -> None:
    moment = pa.array([dt.datetime(2024, 5, 1, 1, 2, 3, 4, tzinfo=dt.UTC), None], UTC)
    pq.write_table(pa.table({"at": moment, "n": pa.array([1, None])}), tmp_path / "a b.parquet")
    pq.write_table(pa.table({"at": moment}), tmp_path / "c.parquet")
    read = connection.read_parquet([tmp_path / "a b.parquet", tmp_path / "c.parquet"], "stored")
    found = connection.read(read.order_by([read.n.isnull(), read.at.isnull()]))
    assert found["n"].to_pylist() == [1, None, None, None]
    assert found.schema == pa.schema([("at", UTC), ("n", pa.int64())])
    assert found["at"].to_pylist()[0] == moment[0].as_py()
    assert connection.read(connection.place(found.slice(0, 0), "none")).num_rows == 0
    first = connection.freeze(connection.place(found, "some").filter(ibis._.n.notnull()), "frozen")
    assert connection.read(first.count().as_table()).num_rows == 1
    second = connection.freeze(connection.place(found, "some").select("at"), "frozen")
    batches = list(connection.stream(second, 3))
    assert batches[0].schema.names == ["at"]
    assert sum(batch.num_rows for batch in batches) == 4


def test_nothing_readable_is_on_the_disk(spark: Spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    canary = b"fs_canary"
    with spark.connect() as connection:
        rows = connection.place(pa.table({"token": [canary.decode()] * 5_000, "n": list(range(5_000))}), "rows")
        counted = connection.freeze(rows.group_by("token", "n").agg(rows=rows.count()), "counted")
        assert connection.read(counted).num_rows == 5_000
        scratch = Path(spark.session().sparkContext.getConf().get("spark.local.dir"))
        files = [path for path in scratch.rglob("*") if path.is_file()]
        assert any(path.name.startswith("shuffle") for path in files)
        assert not [path.name for path in files if canary in path.read_bytes()]
        assert scratch.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_a_failure_is_one_line_that_quotes_nobody(spark: Spark, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with spark.connect() as connection:
            rows = connection.place(pa.table({"name": ["Mei Lin"]}), "rows")
            connection.read(rows.select(number=rows.name.cast("int64")))

    with pytest.raises(EnvironmentFailed, match=r"^Spark failed: CAST_INVALID_INPUT \(local\[2\]\); ") as told:
        fail()
    assert "Mei" not in str(told.value)
    assert told.value.__suppress_context__
    assert "Mei" not in "".join(capfd.readouterr())


def test_a_damaged_file_is_named(spark: Spark, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1" + bytes(100) + b"PAR1")

    def read() -> None:
        with damage_told("tables", tmp_path, "mend it", lambda: [broken]), spark.connect() as connection:
            connection.read(connection.read_parquet([broken], "stored"))

    with pytest.raises(EnvironmentFailed, match=r"a file of the tables is damaged \(.*broken\.parquet\); mend it"):
        read()


def test_a_cluster_is_reached_by_encrypted_messages_and_this_machine_by_none(tmp_path: Path) -> None:
    chosen = {"spark.executor.memory": "4g", "spark.io.encryption.enabled": "false"}
    there, here = (Spark(master, chosen).settings(tmp_path) for master in ("spark://host:7077", "local[2]"))
    assert there["spark.authenticate"] == there["spark.network.crypto.enabled"] == "true"
    assert "spark.driver.host" not in there
    assert here["spark.driver.host"] == here["spark.driver.bindAddress"] == "127.0.0.1"
    for told in (there, here):
        assert told["spark.io.encryption.enabled"] == "true"
        assert told["spark.executor.memory"] == "4g"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    module_of("pyspark", "spark")
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o700)
    script = f"""
import sys
from features.engine_spark import Spark
from privacy.errors import EnvironmentFailed
for java in ("/nowhere/java", {str(old)!r}, None):
    if java is None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyspark"]:
            del sys.modules[name]
        sys.modules["pyspark"] = None
    try:
        Spark(java=java or "java").session()
    except EnvironmentFailed as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    assert ran.stdout.splitlines() == [
        "Spark needs Java 17, and there is none (/nowhere/java); install Java 17, or set JAVA_HOME to it",
        f"Spark needs Java 17, this is Java 11 ({old}); install Java 17, or set JAVA_HOME to it",
        "Spark isn't installed; pip install custos[spark]",
    ]


def test_too_little_memory_is_told_by_sparks_own_name_for_it() -> None:
    module_of("pyspark", "spark")
    script = """
from features.engine_spark import Spark
from privacy.errors import EnvironmentFailed
try:
    Spark("local[1]", {"spark.driver.memory": "300m"}).session()
except EnvironmentFailed as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    assert ran.stdout.startswith(
        "Spark didn't start: INVALID_DRIVER_MEMORY.SYSTEM_MEMORY (local[1]); see docs/scale.md"
    )
