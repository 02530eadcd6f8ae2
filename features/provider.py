"""Feast's provider for the packed online store: a view is materialised in Arrow batches, never as protobuf values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.passthrough_provider import PassthroughProvider
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

from features.engine import DuckDbConnection
from features.online_store import PackedOnlineStore, layout_of
from features.packed_views import ROWS, Destination, put_batches

__all__ = ["PackedProvider"]


class PackedProvider(PassthroughProvider):
    """What Feast asks for `materialize`; everything else goes Feast's own way."""

    def materialize_single_feature_view(
        self,
        config: RepoConfig,
        feature_view: Any,
        start_date: dt.datetime,
        end_date: dt.datetime,
        registry: BaseRegistry,
        project: str,
        tqdm_builder: Callable[[Any], Any],
        disable_event_timestamp: bool = False,
    ) -> None:
        """Write everybody's newest row between the dates, all at once."""
        store = self.online_store
        if not (isinstance(store, PackedOnlineStore) and _is_plain(feature_view)) or disable_event_timestamp:
            super().materialize_single_feature_view(
                config, feature_view, start_date, end_date, registry, project, tqdm_builder, disable_event_timestamp
            )
            return
        source, layout = feature_view.batch_source, layout_of(feature_view)
        job = self.offline_store.pull_latest_from_table_or_query(
            config=config,
            data_source=source,
            join_key_columns=feature_view.join_keys,
            feature_name_columns=list(layout.names),
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
            start_date=start_date,
            end_date=end_date,
        )
        [join_key] = feature_view.join_keys
        with tqdm_builder(None) as bar, store.rows(config).writing() as writer:
            into = Destination(writer, feature_view.name, layout, int(feature_view.tags.get("k", 0)))
            put_batches(into, _sorted(job, join_key), join_key, source.timestamp_field, bar.update)


def _sorted(job: RetrievalJob, join_key: str) -> Iterable[pa.RecordBatch]:
    """Return the rows sorted by key, which cost SQLite half of what unsorted ones do.

    An Ibis job is sorted by its engine and comes piece by piece, so that no copy of all people is made here.
    """
    if isinstance(job, IbisRetrievalJob):
        return DuckDbConnection(job.table.get_backend()).stream(job.table.order_by(join_key), ROWS)
    return job.to_arrow().sort_by(join_key).to_batches(max_chunksize=ROWS)


def _is_plain(view: Any) -> bool:
    """Whether a view's rows are columns of its source, keyed by one text."""
    columns = getattr(view, "entity_columns", [])
    return (
        type(view) is FeatureView
        and len(columns) == 1
        and columns[0].dtype.to_value_type() == ValueType.STRING
        and not getattr(view.batch_source, "field_mapping", None)
    )
