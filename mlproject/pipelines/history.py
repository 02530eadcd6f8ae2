"""Features of some customers as they were known at moments, row by row of the question, from a file or a frame."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.identify import read_tokens
from mlproject.pipelines.inference import require_service
from mlproject.pipelines.lookup import require_tokens
from mlproject.pipelines.score import check_out, write_parquet
from privacy.counted import counted
from privacy.durable import write_beside
from privacy.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from mlproject.wiring import House
    from privacy.policy import Principal

__all__ = [
    "MOMENT",
    "OK",
    "STATUS",
    "TOKEN",
    "UNKNOWN",
    "built_cutoffs",
    "features_then",
    "history_csv",
    "history_json",
    "history_of_file",
    "require_no_clash",
    "summary",
    "utc_moments",
]

TOKEN: Final = "customer_token"  # noqa: S105 - a column name
MOMENT: Final = "event_timestamp"
STATUS: Final = "status"
OK: Final = "ok"
UNKNOWN: Final = "unknown"
CSV: Final = ".csv"


def features_then(house: House, principal: Principal, service: str, entities: pa.Table) -> pa.Table:
    """Return `status` (`ok` or `unknown`) and the features, a row for each of `entities`, in order; audited.

    `entities` has customer_token of the principal's purpose and event_timestamp (without a zone it is UTC), each a
    moment that features were built at. Raises Refused, CheckFailed (the inference gate) or BadInput.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    house.gateway.require(principal, service, entities.num_rows)  # what may not be asked, whoever it is about
    require_service(house, service)
    moments = utc_moments(entities[MOMENT])
    tokens = entities[TOKEN].combine_chunks()
    require_tokens(tokens, str(principal.purpose))
    told = house.gateway.historical_own(principal, service, pa.table({TOKEN: tokens, MOMENT: moments}))
    status = pc.if_else(told["known"], OK, UNKNOWN)
    return told.set_column(0, STATUS, status)


def built_cutoffs(house: House) -> list[datetime]:
    """Return the moments that features were built at, in UTC and in order; BadInput where none were."""
    from features.point_in_time import in_order

    if house.state.as_of is None:
        raise BadInput("no features were built yet", where=str(house.paths.root), remedy="run `custos build` first")
    return in_order(house.stores.feature_store(house.state.dataset).manifest("cutoffs")["cutoffs"])


def utc_moments(given: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return moments in UTC, microseconds, rounded down; what names no zone is UTC, a date its midnight.

    Raises BadInput for what is no time, with the number of rows that have none.

    >>> import pyarrow as pa
    >>> [str(moment) for moment in utc_moments(pa.array(["2024-01-01", "2024-01-01T02:00:00+02:00"])).to_pylist()]
    ['2024-01-01 00:00:00+00:00', '2024-01-01 00:00:00+00:00']
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(given):  # an empty column has no type of its own
        return pa.array([], pa.timestamp("us", "UTC"))
    column = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    utc = pa.timestamp("us", "UTC")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = pc.unique(column).drop_null()
        times = pa.array([_moment(text) for text in texts.to_pylist()], utc)
        column = times.take(pc.index_in(column, value_set=texts))
    elif pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False)
    elif not (pa.types.is_timestamp(column.type) or pa.types.is_null(column.type)):
        raise BadInput(f"{MOMENT} is {column.type}, not a time", remedy="give times as ISO 8601 or timestamps")
    if column.null_count:
        raise BadInput(
            f"{column.null_count} of {counted(len(column), 'row has', 'rows have')} no {MOMENT}",
            remedy="fill it, or drop them",
        )
    if pa.types.is_timestamp(column.type):
        # Down, also before 1970: a moment is never answered with what was known later than it.
        column = pc.floor_temporal(column, unit="microsecond") if column.type.unit == "ns" else column
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column.cast(utc)


def history_of_file(house: House, service: str, purpose: str, source: Path, out: Path | None) -> pa.Table:
    """Return the rows of a csv or parquet file with `status` and features beside them, written to `out` if given.

    Raises BadInput for a file that can't be read, lacks a column or has one that would be overwritten.
    """
    if out is not None:
        check_out(house, out, source=source, formats=("", ".parquet", ".pq", CSV))
    rows = _read(source)
    told = features_then(house, house.operator(purpose), service, rows)
    require_no_clash(rows.column_names, told.column_names, source.name)
    for name in told.column_names:
        rows = rows.append_column(name, told[name])
    if out is not None and out.suffix.lower() == CSV:
        write_beside(out, history_csv(rows))
    elif out is not None:
        write_parquet(rows, out)
    return rows


def require_no_clash(given: Sequence[object], told: Sequence[str], where: str) -> None:
    """Raise BadInput where a column that was given is called like one of the answer."""
    if clash := [name for name in told if name in given]:
        remedy = "rename it in what you ask with"
        raise BadInput(f"column {clash[0]} would stand for two things", where=where, remedy=remedy)


def history_csv(rows: pa.Table) -> bytes:
    """Return rows as CSV with a header."""
    import pyarrow as pa
    import pyarrow.csv as pv

    sink = pa.BufferOutputStream()
    pv.write_csv(rows, sink, pv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().to_pybytes()


def history_json(rows: pa.Table) -> str:
    """Return rows as a JSON list of objects: null for what has no value, moments in ISO 8601."""
    return json.dumps([{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()], indent=2)


def summary(rows: pa.Table, service: str, out: Path) -> str:
    """Tell in a line what was written."""
    known = rows[STATUS].to_pylist().count(OK)
    told = counted(rows.num_rows, "row")
    return f"{out}: {told}, {known:,} with features of {service}, {rows.num_rows - known:,} unknown"


def _read(source: Path) -> pa.Table:
    """The rows of a file; a csv file's columns stay texts, as they are written."""
    import pyarrow as pa
    import pyarrow.csv as pv

    where, made = str(source), "give a csv or parquet file with customer_token and event_timestamp"
    if source.suffix == CSV:
        try:
            with source.open("rb") as file:
                names = pv.open_csv(file, pv.ReadOptions()).schema.names
            rows = pv.read_csv(source, convert_options=_as_text(names)) if len(set(names)) == len(names) else None
        except FileNotFoundError:
            raise BadInput("no such file", where=where, remedy=made) from None
        except (pa.ArrowException, OSError):
            raise BadInput("not a csv file in UTF-8 with a header", where=where, remedy=made) from None
        if rows is None:
            raise BadInput("a column name is there twice", where=where, remedy="name every column once")
    else:
        rows = read_tokens(source)
    for name in (TOKEN, MOMENT):
        if name not in rows.column_names:
            raise BadInput(f"no column {name}", where=where, remedy=made)
    return rows


def _as_text(names: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pv

    return pv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        what, remedy = f"a text in {MOMENT} is no time", "write it as 2017-12-31 or 2017-12-31T00:00:00+00:00"
        raise BadInput(what, remedy=remedy) from None


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value if _is_json(value) else str(value)


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
