"""A view of 43 features of many people for Feast, and stores on it: packed online rows, or Feast's own SQLite."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String

from features.definitions import repo_config

__all__ = ["COLUMNS", "JOIN_KEY", "MOMENT", "VIEW", "opened", "quietly", "tokens_of", "write_features"]

JOIN_KEY, VIEW = "customer_token", "rfm"
MOMENT = dt.datetime(2024, 2, 6, 12, 30, 15, tzinfo=dt.UTC)
FLOATS, INTEGERS = 35, 8
COLUMNS = tuple(f"f{at:02d}" for at in range(FLOATS + INTEGERS))
NULLS = {"f01", "f17", "f36", "f42"}
UTC = pa.timestamp("us", "UTC")


def write_features(file: Path, people: int, *, texts: bool = False) -> pa.Table:
    """Write one row a person, a twentieth of four columns null; with `texts` a column of words, some Chinese."""
    drawn = np.random.default_rng(people)
    columns = {}
    for at, name in enumerate(COLUMNS):
        values = drawn.normal(size=people) if at < FLOATS else drawn.integers(-(2**40), 2**40, people)
        columns[name] = pa.array(values, mask=drawn.random(people) < 0.05 if name in NULLS else None)
    if texts:
        words = np.array(["gold", "", "高价值", None], object)
        columns["tier"] = pa.array(words[drawn.integers(0, 4, people)], pa.string())
    moments = pa.array([MOMENT] * people, UTC)
    table = pa.table({JOIN_KEY: tokens_of(people), "event_timestamp": moments, "created_timestamp": moments, **columns})
    pq.write_table(table, file)
    return table


def tokens_of(people: int) -> list[str]:
    """As many tokens as people, of the length that Custos's own have, in no order."""
    drawn = np.random.default_rng(0).integers(0, 256, (people, 17), np.uint8)
    return ["fs_aa" + row.tobytes().hex() for row in drawn]


def opened(folder: Path, file: Path, *, packed: bool) -> tuple[FeatureStore, FeatureService]:
    """A Feast store in `folder` on `file`, whose service holds every feature; nothing is online yet."""
    folder.mkdir(parents=True, exist_ok=True)
    entity = Entity(name=JOIN_KEY, join_keys=[JOIN_KEY], value_type=ValueType.STRING)
    source = FileSource(path=str(file), timestamp_field="event_timestamp", created_timestamp_column="created_timestamp")
    kinds = {"double": Float64, "int64": Int64, "string": String}
    schema = pq.read_schema(file)
    fields = [Field(name=name, dtype=kinds[str(schema.field(name).type)]) for name in schema.names[3:]]
    view = FeatureView(
        name=VIEW, entities=[entity], ttl=dt.timedelta(days=35), schema=fields, source=source, online=True
    )
    service = FeatureService(name="everything", features=[view])
    store = FeatureStore(config=_config(folder, packed=packed))
    store.apply([entity, source, view, service])
    return store, service


def _config(folder: Path, *, packed: bool) -> RepoConfig:
    ours = repo_config(folder / "registry.db", f"sqlite:///{folder}/online.db")
    if packed:
        return ours
    return RepoConfig(
        project=ours.project,
        provider="local",
        registry={"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep Feast's progress off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
