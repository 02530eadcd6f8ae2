"""The packed online store as a Feast plug-in: what Feast's own commands and `get_online_features` read and write.

Feast finds it by name in its configuration; the gateway reads and writes the same rows without Feast in between.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _get_cached_request_context
from feast.value_type import ValueType

from features.online import Batch, Found, PackedRows, rows_at
from features.online_answer import Answer, Plan, asked_of, lists_of, plan_of
from features.packing import Kind, Layout
from privacy.errors import BadInput

__all__ = ["PackedOnlineStore", "PackedOnlineStoreConfig", "layout_of", "microseconds"]

KINDS: Final[Mapping[ValueType, tuple[Kind, str]]] = {
    ValueType.DOUBLE: ("float", "double_val"),
    ValueType.FLOAT: ("float", "float_val"),
    ValueType.INT64: ("int", "int64_val"),
    ValueType.INT32: ("int", "int32_val"),
    ValueType.STRING: ("text", "string_val"),
}
"""Feast's types that can be packed -> how, and the field of its protobuf value."""
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND: Final = dt.timedelta(microseconds=1)


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """Where the rows lie; `url` as `features.online.rows_at` takes it."""

    type: Literal["features.online_store.PackedOnlineStore"] = "features.online_store.PackedOnlineStore"
    url: str


class PackedOnlineStore(OnlineStore):
    """One row of bytes a person and view; the newest wins, a row past its view's TTL isn't answered.

    TTL is counted from the newest row of the view, which is what data time is online (Feast 0.67 ignores it).
    """

    def __init__(self) -> None:
        self._rows: PackedRows | None = None
        self._plans: dict[tuple[Any, bool], tuple[Any, Plan | None]] = {}
        self._lock = threading.Lock()

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], dt.datetime, dt.datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows as Feast hands them over; of two with one key the later counts, then the later created."""
        layout = layout_of(table)
        listed = sorted(data, key=lambda row: (microseconds(row[2]), microseconds(row[3]) if row[3] else 0))
        ordered = list({row[0].SerializeToString(deterministic=True): row for row in listed}.values())
        columns = {name: pa.array([_python(row[1].get(name)) for row in ordered]) for name in layout.names}
        keys = [serialize_entity_key(row[0], entity_key_serialization_version=3) for row in ordered]
        moments = [microseconds(row[2]) for row in ordered]
        with self.rows(config).writing() as writer:
            writer.put(Batch(table.name, layout, keys, moments, layout.pack(pa.table(columns)), _least(table)))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[dt.datetime | None, dict[str, Value] | None]]:
        """Return (moment, values) for each key; the values are None where the row is past its TTL."""
        rows = self.rows(config)
        keys = [serialize_entity_key(key, entity_key_serialization_version=3) for key in entity_keys]
        [found] = rows.read(keys, [table.name])
        oldest = self._oldest(rows, table)
        fields = {field.name: KINDS[field.dtype.to_value_type()][1] for field in table.features}
        wanted = requested_features or list(fields)
        return [_protos(rows, row, oldest, fields, wanted) for row in found]

    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: list[dict[str, Any]] | Mapping[str, Any],
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Answer as Feast does, without making a protobuf value unless somebody asks for `proto`."""

        def slowly() -> OnlineResponse:
            return super(PackedOnlineStore, self).get_online_features(
                config, features, entity_rows, registry, project, full_feature_names,
                include_feature_view_version_metadata,
            )  # fmt: skip

        plan = self._plan(registry, project, features, full_feature_names)
        asked = asked_of(entity_rows, plan.join_key) if plan else None
        if plan is None or asked is None or include_feature_view_version_metadata:
            return slowly()
        rows = self.rows(config)
        found = rows.read(plan.keys(asked), [view.table.name for view in plan.views])
        columns: dict[str, list[Any]] = {plan.join_key: asked}
        told: dict[str, Sequence[Found]] = {plan.join_key: [None] * len(asked)}
        for view, mine in zip(plan.views, found, strict=True):
            oldest = self._oldest(rows, view.table)
            for name, column in zip(view.answered, lists_of(rows, mine, oldest, view.columns), strict=True):
                columns[name], told[name] = column, mine
        return Answer(columns, told, slowly)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],  # noqa: ARG002 - Feast's signature
        entities_to_keep: Sequence[Entity],  # noqa: ARG002 - Feast's signature
        partial: bool,  # noqa: ARG002 - Feast's signature
    ) -> None:
        """Refuse views that can't be packed; remove the rows of those that are gone."""
        for table in tables_to_keep:
            layout_of(table)
        self.rows(config).drop({table.name for table in tables_to_delete})

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],  # noqa: ARG002 - Feast's signature
    ) -> None:
        """Remove the rows of these views."""
        self.rows(config).drop({table.name for table in tables})

    def rows(self, config: RepoConfig) -> PackedRows:
        """Return the rows that the configuration names."""
        with self._lock:
            if self._rows is None:
                self._rows = rows_at(config.online_store.url, config.project)
            return self._rows

    def _oldest(self, rows: PackedRows, table: FeatureView) -> int:
        """Return the earliest moment that is still answered."""
        if not table.ttl:
            return 0
        return (rows.clock(table.name) or 0) - table.ttl // MICROSECOND

    def _plan(self, registry: BaseRegistry, project: str, features: Any, full_names: bool) -> Plan | None:
        """Return how to read `features`, remembered as long as Feast's own resolution of them is."""
        context = _get_cached_request_context(registry, project, features, full_names)
        name = features.name if isinstance(features, FeatureService) else tuple(features)
        known = self._plans.get((name, full_names))
        if known is None or known[0] is not context:
            known = self._plans[name, full_names] = (context, plan_of(context, full_names))
        return known[1]


def layout_of(view: FeatureView) -> Layout:
    """Return how a view's rows are packed; BadInput for a type that can't be."""
    columns: list[tuple[str, Kind]] = []
    for field in view.features:
        kind = KINDS.get(field.dtype.to_value_type())
        if kind is None:
            what = f"feature {field.name} of view {view.name} is of type {field.dtype}, which can't be packed"
            raise BadInput(what, remedy="declare it as Float64, Float32, Int64, Int32 or String")
        columns.append((field.name, kind[0]))
    return Layout(tuple(columns))


def _least(view: FeatureView) -> int:
    return int(view.tags.get("k", 0))


def microseconds(moment: dt.datetime) -> int:
    """Return a moment as microseconds since 1970; one without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (aware - EPOCH) // MICROSECOND


def _python(value: Value | None) -> Any:
    kind = None if value is None else value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)


def _protos(
    rows: PackedRows, found: Found, oldest: int, fields: Mapping[str, str], wanted: Sequence[str]
) -> tuple[dt.datetime | None, dict[str, Value] | None]:
    """Return one row as Feast wants it: no values where it is too old, nothing at all where there is none."""
    if found is None:
        return None, None
    moment = EPOCH + found[0] * MICROSECOND
    layout = rows.layout_of(found[1]) if found[0] >= oldest else None
    if layout is None:
        return moment, None
    read = {name: column[0] for name, column in zip(layout.names, layout.lists([found[1]]), strict=True)}
    made = {
        name: Value() if read[name] is None else Value(**{fields[name]: read[name]}) for name in wanted if name in read
    }
    return moment, made
