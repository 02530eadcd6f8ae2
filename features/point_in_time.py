"""Features as they were known at a moment: a point-in-time join of one row a question, in order."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.counted import counted
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed

from .build import EVENTS, FEATURES, cutoff_table
from .definitions import ENTITY
from .engine import DuckDb, Engine
from .gateway_types import ServiceInfo
from .profile import PROFILE, PROFILE_SERVICE
from .transforms.outcomes import outcomes

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from .storage import TableStore

__all__ = [
    "as_known",
    "day_text",
    "in_order",
    "latest_rows",
    "places",
    "population",
    "require_built",
    "spread",
    "steady",
]

UTC: Final = pa.timestamp("us", "UTC")
_MOMENT: Final = "event_timestamp"
_ROW, _PERSON, _KNOWN = "custos_row", "custos_person", "custos_known"
_ATTEMPTS: Final = 5
_NAMED: Final = 6
"""How many of the built cut-offs a refusal names."""


def as_known(
    store: TableStore, info: ServiceInfo, entities: pa.Table, ttl: dt.timedelta, engine: Engine | None = None
) -> pa.Table:
    """Return `entities` (customer_token, event_timestamp) with the features of `info`, null where unknown.

    What counts is a person's newest row that is neither later than the question nor older than it by more than `ttl`.
    Raises CheckFailed unless every row comes back once.
    """
    keys = entities.select([ENTITY, _MOMENT]).cast(pa.schema([(ENTITY, pa.string()), (_MOMENT, UTC)]))
    asked = keys.append_column(_ROW, pa.array(range(entities.num_rows), pa.int64()))
    with (engine or DuckDb()).connect() as connection:
        told = PROFILE if info.name == PROFILE_SERVICE else FEATURES
        rows = connection.read_parquet(store.files(told), "known")
        newest = _newest(connection.place(asked, "asked"), rows, ttl)
        found = connection.read(newest.select(_ROW, *info.features))
    if found.num_rows != pc.count_distinct(found[_ROW]).as_py():
        raise CheckFailed(f"{counted(entities.num_rows, 'row')} asked of {info.name}, some came back more than once")
    places = pc.index_in(asked[_ROW], value_set=found[_ROW].combine_chunks())
    answer = asked.drop_columns([_ROW])
    for name in info.features:
        kind = pa.string() if name in info.texts else pa.float64()
        answer = answer.append_column(name, found[name].cast(kind).take(places))
    return answer


def _newest(asked: ir.Table, rows: ir.Table, ttl: dt.timedelta) -> ir.Table:
    """Join each question with the row that answers it; one without such a row is left out.

    Which row answers is settled by keys alone: of millions of rows nothing else is held in memory.
    """
    keys = rows.select(**{_PERSON: ENTITY, _KNOWN: _MOMENT})
    past = asked.inner_join(keys, [asked[ENTITY] == keys[_PERSON], asked[_MOMENT] >= keys[_KNOWN]])
    latest = past.group_by(_ROW, _PERSON, _MOMENT).agg(**{_KNOWN: past[_KNOWN].max()})
    fresh = latest.filter(latest[_KNOWN] + ibis.interval(seconds=int(ttl.total_seconds())) >= latest[_MOMENT])
    answering = fresh.select(_ROW, _PERSON, _KNOWN)
    return answering.inner_join(rows, [answering[_PERSON] == rows[ENTITY], answering[_KNOWN] == rows[_MOMENT]])


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


def spread(asked: pa.Table, found: pa.Table) -> pa.Table:
    """Return the features `found` for each row `asked`, in order, null for none; a boolean `known` comes first."""
    told = found.drop_columns([ENTITY, _MOMENT]).take(places(asked, found))
    filled = [column.is_valid().to_numpy() for column in told.columns]
    known = np.any(filled, axis=0) if filled else np.zeros(asked.num_rows, np.bool_)
    return told.add_column(0, "known", pa.array(known))


def population(
    store: TableStore,
    cutoffs: Sequence[dt.datetime],
    horizon_days: int,
    active_within_days: int | None,
    engine: Engine | None = None,
) -> pa.Table:
    """Return who was a customer at each cut-off and the outcome in the next `horizon_days`, by moment and token.

    Columns: customer_token, event_timestamp, spend_in_horizon (float64, >= 0), orders_in_horizon (int64).
    """
    with store.reading(), (engine or DuckDb()).connect() as connection:
        happened = connection.read_parquet(store.files(EVENTS), "happened")
        counted = outcomes(
            happened,
            cutoff_table(connection, cutoffs),
            horizon_days=horizon_days,
            active_within_days=active_within_days,
        )
        rows = connection.read(counted)
    schema = pa.schema(
        [(ENTITY, pa.string()), (_MOMENT, UTC), ("spend_in_horizon", pa.float64()), ("orders_in_horizon", pa.int64())]
    )
    return rows.cast(schema).sort_by([(_MOMENT, "ascending"), (ENTITY, "ascending")])


def latest_rows(
    store: TableStore, table: str, as_of: dt.datetime, oldest: dt.datetime, files: Sequence[str] | None = None
) -> pa.Table:
    """Return each person's newest row of `table` between `oldest` and `as_of`, sorted by token; or of some `files`."""
    dated = pc.field(_MOMENT)
    among = (dated <= pa.scalar(as_of, UTC)) & (dated >= pa.scalar(oldest, UTC))
    rows = store.read(table, where=among, files=files).sort_by([(ENTITY, "ascending"), (_MOMENT, "descending")])
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


def require_built(moments: pa.Array | pa.ChunkedArray, cutoffs: Sequence[str], *, name_day: bool = False) -> None:
    """Refuse moments without features of their own: Feast would answer with older ones, and not say so.

    `cutoffs` are those that were built, in ISO 8601; `name_day` says that the remedy is to build for the missing day.
    """
    asked = set(pc.unique(moments).to_pylist())
    missing = sorted(asked - {None} - {dt.datetime.fromisoformat(text) for text in cutoffs})
    if None in asked:
        raise BadInput(f"{counted(moments.null_count, 'row has', 'rows have')} no event_timestamp")
    if missing:
        day = day_text(missing[0])
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        again = f"run `custos build --as-of {day}`" if name_day else _ask_of(cutoffs, missing[0])
        raise BadInput(f"no features were built at {day}{more}", remedy=again)


def day_text(moment: dt.datetime) -> str:
    """Return a moment in UTC as it may be asked with: a day for its midnight.

    >>> day_text(dt.datetime(2024, 3, 1, tzinfo=dt.UTC)), day_text(dt.datetime(2024, 3, 1, 8, tzinfo=dt.UTC))
    ('2024-03-01', '2024-03-01T08:00:00+00:00')
    """
    return moment.isoformat().removesuffix("T00:00:00+00:00")


def in_order(cutoffs: Sequence[str]) -> list[dt.datetime]:
    """Return the moments that features were built at, as a snapshot notes them, in UTC and in order."""
    return sorted(dt.datetime.fromisoformat(text).astimezone(dt.UTC) for text in cutoffs)


def _ask_of(cutoffs: Sequence[str], asked: dt.datetime) -> str:
    """All that were built, or of many those around what was asked."""
    built = in_order(cutoffs)
    if not built:
        return "run `custos build`"
    first = min(max(bisect_left(built, asked) - _NAMED // 2, 0), max(len(built) - _NAMED, 0))
    named = built[first : first + _NAMED]
    others = f", or one of {len(built) - len(named)} others" if len(built) > len(named) else ""
    return f"ask of {', '.join(map(day_text, named))}{others} (`custos features cutoffs` lists them)"
