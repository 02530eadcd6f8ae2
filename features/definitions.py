"""Feast's side of the feature table: the entity, one view a family, and services bound to purposes.

Everything is made by factories: importing this file defines nothing, so that Feast's own command line
finds no half-configured object in it. `FeatureGateway.apply` registers what they make.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_source import DataSource
from feast.types import Float64, String

from features.build import FEATURES
from features.engine import DuckDb, Engine
from features.packed_views import ENTITY, PERSON, PROJECT
from features.profile import PROFILE, PROFILE_SERVICE, ProfileView
from features.services import DEVELOPERS, SERVICES, tags_of
from features.transforms.registry import Feature, families, require_coarse, require_purposes
from privacy.classification import Purpose, Sensitivity
from privacy.errors import BadInput

if __name__ == "definitions":  # Feast's own command line imports it under this name
    raise BadInput("`feast apply` would empty the registry", remedy="run `custos build`, which applies it")

__all__ = ["ENTITY", "PERSON", "PROJECT", "TEXT", "Definitions", "define", "repo_config"]

TEXT: Final = String
"""The type of features that are texts."""


@dataclass(frozen=True)
class Definitions:
    """The Feast objects of one shop, in the order Feast wants to be given them."""

    entity: Entity
    sources: tuple[DataSource, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]

    def objects(self) -> list[Any]:
        """List everything for `FeatureStore.apply`."""
        return [self.entity, *self.sources, *self.views, *self.services]


def define(
    dataset: str,
    features_root: Path,
    listed: Sequence[Feature],
    *,
    ttl_days: int,
    profile: ProfileView | None = None,
    engine: Engine | None = None,
) -> Definitions:
    """Make the Feast objects of `dataset`, of the features `listed`; their snapshots live below `features_root`.

    With a `profile` there is a view of it, and a service bound to research; `engine` is what Feast's own offline store
    runs on, None for DuckDB. Raises Refused for a service that profiles
    people more finely than by departments, or that is for a purpose which one of its features may not serve.
    """
    for service in SERVICES:
        require_coarse(service.name, service.holds(listed), service.purposes)
        require_purposes(service.name, service.holds(listed), service.purposes)
    entity = Entity(
        name=ENTITY,
        join_keys=[ENTITY],
        value_type=ValueType.STRING,
        description="one customer, as the feature store's own token",
    )
    source_of = SOURCES[(engine or DuckDb()).name]
    source = source_of(features_root, FEATURES)
    ttl, behavioural = dt.timedelta(days=ttl_days), {"sensitivity": Sensitivity.BEHAVIOURAL.value, "dataset": dataset}
    views = {
        family: FeatureView(
            name=family,
            entities=[entity],
            ttl=ttl,
            schema=[_field(feature) for feature in members],
            source=source,
            online=True,
            tags={"family": family, **behavioural},
        )
        for family, members in families(listed).items()
    }
    person = FeatureView(
        name=PERSON,
        entities=[entity],
        ttl=ttl,
        schema=[Field(name="audit_reference", dtype=String)],
        source=source,
        online=True,
        tags={"family": PERSON, "sensitivity": Sensitivity.QUASI_IDENTIFIER.value, "dataset": dataset},
    )
    services = tuple(
        FeatureService(
            name=service.name,
            features=[*(views[family] for family in families(held)), person],
            tags=tags_of(service.purposes, service.roles, service.k, dataset),
        )
        for service in SERVICES
        if (held := service.holds(listed))
    )
    every = (*views.values(), person)
    if profile is None:
        return Definitions(entity, (source,), every, services)
    told_of = source_of(features_root, PROFILE)
    told = _profile(entity, told_of, profile, person)
    tags = tags_of([Purpose.RESEARCH], DEVELOPERS, profile.k, dataset)
    research = FeatureService(name=PROFILE_SERVICE, features=[told, person], tags=tags)
    return Definitions(entity, (source, told_of), (*every, told), (*services, research))


def _profile(entity: Entity, source: DataSource, profile: ProfileView, person: FeatureView) -> FeatureView:
    """The view of what is told of people, its k among the tags."""
    return FeatureView(
        name=PROFILE,
        entities=[entity],
        ttl=person.ttl,
        schema=[Field(name=name, dtype=TEXT) for name in profile.columns],
        source=source,
        online=True,
        tags={**person.tags, "family": PROFILE, "k": str(profile.k)},
    )


def _file_source(features_root: Path, table: str) -> DataSource:
    return FileSource(
        name=table,
        # DuckDB's offline store needs the suffix; a bare directory fails there.
        path=str(features_root / "current" / table / "*.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def _spark_source(features_root: Path, table: str) -> DataSource:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(
        name=table,
        path=f"file://{features_root}/current/{table}",
        file_format="parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


SOURCES: Final[Mapping[str, Callable[[Path, str], DataSource]]] = {"duckdb": _file_source, "spark": _spark_source}
"""How a stored table is a source of Feast's, by engine: its stores read none but their own kind."""


def _field(feature: Feature) -> Field:
    tags = {"unit": feature.unit, "window": feature.window, "use": feature.use.value}
    dtype = TEXT if feature.bands else Float64
    return Field(name=feature.name, dtype=dtype, description=feature.description, tags=tags)


def repo_config(registry: Path, online: str, engine: Engine | None = None) -> RepoConfig:
    """Return Feast's configuration: file registry, packed rows at a URL online; absolute paths only.

    Its own offline store, which the gateway does without, runs on `engine`, None for DuckDB.
    """
    return RepoConfig(
        project=PROJECT,
        provider="features.provider.PackedProvider",
        # 0 keeps the registry in memory for good: a request never reads it again.
        registry={"registry_type": "file", "path": str(registry), "cache_ttl_seconds": 0},
        offline_store=dict((engine or DuckDb()).offline_store(registry.parent)),
        online_store={"type": "features.online_store.PackedOnlineStore", "url": online},
        entity_key_serialization_version=3,
        repo_path=registry.parent,
    )
