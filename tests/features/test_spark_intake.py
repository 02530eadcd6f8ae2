"""Ingest on Spark gives what it gives here, and no executor is told a key."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml

from features import splits
from features.datasets.descriptor import Descriptor, load_descriptor
from features.engine_spark import Spark
from features.ingest import ingest
from features.ingest_report import IngestReport
from features.marking import Marking
from features.quality.history import QualityHistory
from features.spark_intake import SparkIntake
from features.spark_rows import on_executors
from privacy.errors import BadInput, EnvironmentFailed
from privacy.secret_key_access import release
from privacy.treatment import Protector
from tests.packages import command_of, module_of
from tests.shops import make_shop, write_descriptor

from .conftest import NOW, Home
from .hard_shop import ERASED_AT, GONE, PEOPLE, RETURNED, core_document, document, hard_shop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    module_of("pyspark", "spark")
    command_of("java", "openjdk-17-jre-headless")
    return Spark("local[2]", {"spark.sql.shuffle.partitions": "2"}).session()


def ingested(home: Home, descriptor: Descriptor, spark: SparkSession | None = None) -> IngestReport:
    into = home.destinations(descriptor)
    history = QualityHistory(home.root / "quality.jsonl")
    into = dataclasses.replace(into, history=history)
    return ingest(descriptor, protector=Protector(home.vault, home.keyring), into=into, now=NOW, spark=spark)


def erased(home: Home, *people: str) -> Home:
    for who in people:
        home.vault.bury(pa.array([who]), ERASED_AT, "r-1")
        home.vault.sever(bytes(16), "r-1")
    return home


def rows_of(home: Home, descriptor: Descriptor, table: str) -> list[tuple[Any, ...]]:
    """Everything that a protected table says, but for tokens, sorted."""
    kept = home.paths.protected_store(descriptor.name).read(table)
    names = [name for name in kept.column_names if not name.endswith("_token") and name != "audit_reference"]
    return sorted(map(repr, zip(*(kept[name].to_pylist() for name in names), strict=True)))


@pytest.fixture(scope="module", params=[core_document, pytest.param(document, marks=pytest.mark.slow)])
def both(request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The hard shop in two homes, read here and on Spark; and every function that was shipped."""
    from pyspark.sql import DataFrame

    shipped: list[Callable[..., Any]] = []
    ship = type(spark.range(1)).mapInArrow

    def recorded(frame: DataFrame, function: Callable[..., Any], schema: Any) -> DataFrame:
        shipped.append(function)
        return ship(frame, function, schema)

    root = tmp_path_factory.mktemp("both")
    descriptor = hard_shop(root / "shop", request.param())
    homes = [erased(Home.create(root / name), RETURNED, GONE) for name in ("here", "there")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "SPLIT_ROWS", 100)
        patch.setattr(type(spark.range(1)), "mapInArrow", recorded)
        reports = [ingested(homes[0], descriptor), ingested(homes[1], descriptor, spark)]
    yield descriptor, homes, reports, shipped
    for home in homes:
        home.vault.close()


def test_both_engines_tell_the_same(both: Any) -> None:
    _, _, (here, there), _ = both
    assert there.digest == here.digest
    for name, table in here.tables.items():
        assert dataclasses.asdict(there.tables[name]) == dataclasses.asdict(table), name
    assert there.quality.model_dump() == here.quality.model_dump()
    assert (there.first_event, there.last_event, there.people) == (here.first_event, here.last_event, here.people)
    assert there.unmatched == here.unmatched
    assert there.links == here.links
    if "products" in here.tables:
        assert here.links.joined == 1
    lines = here.tables["transactions"]
    assert min(lines.tombstoned, lines.marked, len(lines.quarantined)) > 0


def test_both_engines_keep_the_same(both: Any) -> None:
    descriptor, (here, there), (report, _), _ = both
    for name in report.tables:
        if name != "consents":
            assert rows_of(there, descriptor, name) == rows_of(here, descriptor, name)
    for name in ("transactions", "customers"):
        sealed = [home.quarantine.read(descriptor.name, name).drop(["custos subject index"]) for home in (here, there)]
        assert sealed[0].to_pylist() == sealed[1].to_pylist()
    for home in (here, there):
        assert not home.vault.find(pa.array([GONE]))[1].any()
    who = [who for who in PEOPLE if who != GONE]
    records = [
        {
            one.subject_id: one.attributes
            for handle in home.vault.find(pa.array(who))[0]
            for one in home.vault.record(handle.tobytes()).identities
        }
        for home in (here, there)
    ]
    assert records[0] == records[1]


def test_no_executor_is_told_a_key_or_somebody_elses_id(both: Any) -> None:
    from pyspark import cloudpickle

    _, (_, there), _, shipped = both
    assert len(shipped) >= 8
    told = b"".join(cloudpickle.dumps(function) for function in shipped)
    domains = ("features", "retention", "value", "marketing")
    keys = [release(key) for domain in domains for key in there.keyring.token_keys(domain).by_id.values()]
    assert keys
    assert not [key for key in keys if key in told or key.hex().encode() in told]
    assert b"member-" not in told
    for holder in (Protector(there.vault, there.keyring).protect, there.keyring.index.of_ids, there.vault.find):
        with pytest.raises((TypeError, EnvironmentFailed, cloudpickle.pickle.PicklingError)):
            cloudpickle.dumps(on_executors(holder))  # type: ignore[arg-type]


def test_what_spark_wrote_to_disk_tells_nothing(both: Any, spark: SparkSession) -> None:
    folder = Path(str(spark.sparkContext.getConf().get("spark.local.dir")))
    written = [path for path in folder.rglob("shuffle_*.data") if path.stat().st_size]
    assert written
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not [word for word in (b"member-", b"example.", "王芳".encode()) if word in everything]


def intake_of(home: Home, descriptor: Descriptor, session: SparkSession) -> SparkIntake:
    protector = Protector(home.vault, home.keyring)
    return SparkIntake(session, descriptor, protector, Marking.of(descriptor), NOW, lambda _name, _rows: None)


def test_a_failure_is_told_without_a_value(home: Home, tmp_path: Path, spark: SparkSession) -> None:
    descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=3)))
    elsewhere = spark.newSession()
    elsewhere.conf.set("spark.sql.session.timeZone", "Asia/Shanghai")
    with pytest.raises(EnvironmentFailed, match=r"spark\.sql\.session\.timeZone=UTC"):
        intake_of(home, descriptor, elsewhere)
    (tmp_path / "shop" / "people.csv").write_bytes(b"customer,name\nmember-001,Ann\nmember-002,\xff\xfe\n")
    changed = yaml.safe_load((tmp_path / "shop" / "shop.yaml").read_text())
    columns = changed["tables"]["customers"]["columns"]
    kept = {name: columns[name] for name in ("customer_id", "name")}
    changed["tables"]["customers"] = {"source": "people.csv", "columns": kept}
    broken = load_descriptor(str(write_descriptor(tmp_path / "shop", changed)))
    told = []
    for engine in (None, spark):
        with pytest.raises(BadInput) as failed:
            ingested(home, broken, engine)
        told.append(str(failed.value))
    assert told[0] == told[1]
    assert "member-" not in told[0]
    assert len(home.vault) == 0


def test_a_file_that_changes_between_the_passes_stops_the_ingest(
    home: Home, tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=3)))
    tokens = SparkIntake._tokens

    def meanwhile(*given: Any) -> Any:
        (tmp_path / "shop" / "people.parquet").touch()
        (tmp_path / "shop" / "lines.parquet").touch()
        return tokens(*given)

    monkeypatch.setattr(SparkIntake, "_tokens", meanwhile)
    with pytest.raises(EnvironmentFailed, match="the files of table 'transactions' changed"):
        ingested(home, descriptor, spark)
    assert len(home.vault) == 0


def test_the_command_ingests_on_spark(tmp_path: Path, spark: SparkSession) -> None:
    folder = make_shop(tmp_path / "shop", customers=8)
    digests = []
    for engine in ("duckdb", "spark"):
        home = tmp_path / engine
        home.mkdir()
        (home / "settings.yaml").write_text(f"engine: {engine}\n")
        command = [sys.executable, "-m", "mlproject", "ingest", str(folder), "--home", str(home)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        [manifest] = (home / "protected").rglob("manifest.json")
        digests.append(yaml.safe_load(manifest.read_text())["digest"])
    assert digests[0] == digests[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["duckdb", "shop", "spark"]
