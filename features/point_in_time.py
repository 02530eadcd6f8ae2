"""Features as they were known at a moment: Feast's point-in-time join, held to one row a question, in order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput, CheckFailed, EnvironmentFailed

from . import engine
from .build import EVENTS, cutoff_table
from .definitions import ENTITY
from .gateway_types import ServiceInfo
from .transforms.outcomes import outcomes

if TYPE_CHECKING:
    import pandas as pd

    from .storage import TableStore

__all__ = ["as_known", "latest_rows", "places", "population", "require_built", "steady"]

UTC: Final = pa.timestamp("us", "UTC")
_MOMENT: Final = "event_timestamp"
_ROW: Final = "custos_row"
_ATTEMPTS: Final = 5


def as_known(feast: Any, service: Any, info: ServiceInfo, entities: pa.Table) -> pa.Table:
    """Return `entities` (customer_token, event_timestamp) with the features of `info`, null where unknown.

    `feast` is the store and `service` its feature service. Raises CheckFailed unless every row comes back once.
    """
    kinds = {name: pa.string() if name in info.texts else pa.float64() for name in info.features}
    columns: dict[str, Any] = {name: pa.array([], kind) for name, kind in kinds.items()}
    if entities.num_rows == 0:  # Feast can't join nothing
        return pa.table({ENTITY: entities[ENTITY], "event_timestamp": entities["event_timestamp"], **columns})
    frame = entities.to_pandas()
    frame[_ROW] = np.arange(len(frame))
    found: pd.DataFrame = feast.get_historical_features(frame, service).to_df()
    ordered = found.sort_values(_ROW)
    if len(ordered) != len(frame) or not np.array_equal(ordered[_ROW].to_numpy(), frame[_ROW].to_numpy()):
        raise CheckFailed(f"{len(frame)} rows asked of {info.name}, {len(found)} came back")
    columns = {
        name: pa.array(ordered[name].to_numpy(object if name in info.texts else np.float64), kind, from_pandas=True)
        for name, kind in kinds.items()
    }
    return pa.table({ENTITY: entities[ENTITY], "event_timestamp": entities["event_timestamp"], **columns})


def places(asked: pa.Table, found: pa.Table) -> pa.Array:
    """Return for each row of `asked` the row of `found` with its customer_token and event_timestamp, null for none.

    `found` has each pair once.

    >>> day = pa.array([0, 1], pa.timestamp("us", "UTC"))
    >>> found = pa.table({"customer_token": ["a", "b"], "event_timestamp": day})
    >>> asked = pa.table({"customer_token": ["b", "b", None], "event_timestamp": day.take([1, 0, 0])})
    >>> places(asked, found).to_pylist()
    [1, None, None]
    """
    pairs = []
    for rows in (asked, found):
        who, when = (
            pc.index_in(rows[key].combine_chunks(), value_set=pc.unique(found[key])).cast(pa.int64())
            for key in (ENTITY, _MOMENT)
        )
        pairs.append(pc.add(pc.multiply(who, max(found.num_rows, 1)), when))
    return pc.index_in(pairs[0], value_set=pairs[1])


def population(
    store: TableStore, cutoffs: Sequence[dt.datetime], horizon_days: int, active_within_days: int | None
) -> pa.Table:
    """Return who was a customer at each cut-off and the outcome in the next `horizon_days`, by moment and token.

    Columns: customer_token, event_timestamp, spend_in_horizon (float64, >= 0), orders_in_horizon (int64).
    """
    with store.reading(), engine.connect() as connection:
        happened = engine.read_parquet(connection, store.files(EVENTS), "happened")
        rows = outcomes(
            happened,
            cutoff_table(connection, cutoffs),
            horizon_days=horizon_days,
            active_within_days=active_within_days,
        ).to_pyarrow()
    schema = pa.schema(
        [(ENTITY, pa.string()), (_MOMENT, UTC), ("spend_in_horizon", pa.float64()), ("orders_in_horizon", pa.int64())]
    )
    return rows.cast(schema).sort_by([(_MOMENT, "ascending"), (ENTITY, "ascending")])


def latest_rows(store: TableStore, table: str, as_of: dt.datetime, oldest: dt.datetime) -> pa.Table:
    """Return each person's newest row of `table` between `oldest` and `as_of`, sorted by token."""
    dated = pc.field(_MOMENT)
    among = (dated <= pa.scalar(as_of, UTC)) & (dated >= pa.scalar(oldest, UTC))
    rows = store.read(table, where=among).sort_by([(ENTITY, "ascending"), (_MOMENT, "descending")])
    tokens = rows[ENTITY].combine_chunks()
    first = pc.fill_null(pc.not_equal(tokens.slice(1), tokens.slice(0, max(len(tokens) - 1, 0))), True)
    return rows.filter(pa.concat_arrays([pa.array([True] * min(len(tokens), 1), pa.bool_()), first]))


def steady(store: TableStore, read: Callable[[], pa.Table]) -> pa.Table:
    """Return what `read` reads of one snapshot of `store`: read again where another was published meanwhile.

    An erasure or a build beside would else mix rows of two snapshots, or take the files away under the reader.
    """
    for _ in range(_ATTEMPTS):
        before = store.snapshot()
        try:
            found = read()
        except EnvironmentFailed:
            if store.snapshot() == before:
                raise
        else:
            if store.snapshot() == before:
                return found
    what = f"the {store.name} were written anew {_ATTEMPTS} times while they were read"
    raise EnvironmentFailed(what, where=str(store.root), remedy="run it again when nothing else writes this home")


def require_built(moments: pa.ChunkedArray, cutoffs: Sequence[str], *, name_day: bool = False) -> None:
    """Refuse moments without features of their own: Feast would answer with older ones, and not say so.

    `cutoffs` are those that were built, in ISO 8601; `name_day` says that the remedy is to build for the missing day.
    """
    asked = set(pc.unique(moments).to_pylist())
    missing = sorted(asked - {None} - {dt.datetime.fromisoformat(text) for text in cutoffs})
    if None in asked:
        raise BadInput(f"{moments.null_count} rows have no event_timestamp")
    if missing:
        day = missing[0].isoformat().removesuffix("T00:00:00+00:00")
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        again = f"run `custos build --as-of {day}`" if name_day else "run `custos build` again"
        raise BadInput(f"no features were built at {day}{more}", remedy=again)
