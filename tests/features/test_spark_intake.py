"""Ingest on Spark gives what it gives here, and no executor is told a key."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from features import splits
from features.datasets.descriptor import Descriptor
from features.ingest import ingest
from features.ingest_report import IngestReport
from features.quality.history import QualityHistory
from privacy.treatment import Protector
from tests.packages import absent

from .conftest import NOW, Home
from .hard_shop import ERASED_AT, GONE, PEOPLE, RETURNED, hard_shop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        absent("needs pyspark, of the extra custos[spark], and the Debian package openjdk-17-jre-headless")
    from pyspark.sql import SparkSession

    scratch = tmp_path_factory.mktemp("spark")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.io.encryption.enabled", "true")
    for name, value in {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def ingested(home: Home, descriptor: Descriptor, spark: SparkSession | None = None) -> IngestReport:
    into = home.destinations(descriptor)
    history = QualityHistory(home.root / "quality.jsonl")
    into = type(into)(into.store, into.quarantine, into.flags, into.consents, history)
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


@pytest.fixture(scope="module")
def both(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The hard shop in two homes, read here and on Spark."""
    root = tmp_path_factory.mktemp("both")
    descriptor = hard_shop(root / "shop")
    homes = [erased(Home.create(root / name), RETURNED, GONE) for name in ("here", "there")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "SPLIT_ROWS", 100)
        reports = [ingested(homes[0], descriptor), ingested(homes[1], descriptor, spark)]
    yield descriptor, homes, reports
    for home in homes:
        home.vault.close()


def test_both_engines_tell_the_same(both: Any) -> None:
    _, _, (here, there) = both
    assert there.digest == here.digest
    for name, table in here.tables.items():
        assert asdict(there.tables[name]) == asdict(table), name
    assert there.quality.model_dump() == here.quality.model_dump()
    assert (there.first_event, there.last_event, there.people) == (here.first_event, here.last_event, here.people)
    assert there.unmatched == here.unmatched
    assert there.links.to_dict() == here.links.to_dict()
    lines = here.tables["transactions"]
    assert min(lines.tombstoned, lines.marked, len(lines.quarantined), here.links.joined) > 0


def test_both_engines_keep_the_same(both: Any) -> None:
    descriptor, (here, there), (report, _) = both
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
        [home.vault.record(handle.tobytes()).attributes for handle in home.vault.find(pa.array(who))[0]]
        for home in (here, there)
    ]
    assert records[0] == records[1]
