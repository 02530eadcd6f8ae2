"""One declared column in SQL: what it is in the source, what it is wanted as, and the cast from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from privacy.errors import BadInput

from .datasets.tables import Table

__all__ = ["LOST", "RAW", "column_sql", "lost_sql", "quoted"]

RAW: Final = " raw"
"""A column's text, where it can't be cast, has this behind its name."""
LOST: Final = " lost"
"""Whether a computed column has no value, though every cell it reads is filled, has this behind its name."""
BLANKS: Final = " \t\r\n\u00a0\u3000"
DUCK_TYPES: Final = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
    "boolean": "BOOLEAN",
}
INTEGERS: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
)
FRACTIONS: Final = frozenset({"FLOAT", "DOUBLE", "DECIMAL"})
TIMES: Final = frozenset(
    {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}
)
MOMENTS: Final = frozenset({"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"})


def quoted(name: str) -> str:
    """Return `name` as SQL writes a column."""
    return '"' + name.replace('"', '""') + '"'


def column_sql(table: Table, name: str, expression: str, held: str) -> str:
    """Cast `expression`, which is `held` in the source, to what the column is; where it can fail, keep the text.

    Raises BadInput where no cast can help: bytes, a time that is none, an id that is a fraction.
    """
    wanted = _wanted(table, name, held)
    by_day = _is_day(table, name)
    if held == wanted and not by_day:
        return f"{expression} AS {quoted(name)}"
    cast = f"TRY_CAST({expression} AS {wanted})"
    if wanted == "BIGINT" and held in FRACTIONS:
        cast = f"CASE WHEN {expression} = trunc({expression}) THEN {cast} END"
    elif wanted == "BIGINT" and held == "VARCHAR":
        cast = rf"CASE WHEN regexp_full_match(trim({expression}), '[+-]?\d+') THEN {cast} END"
    elif wanted in MOMENTS | {"DATE"} and held not in TIMES | {"VARCHAR"}:
        raise BadInput(
            f"column '{table.name}.{name}' is no time in the source",
            remedy="write its sql so that it gives a timestamp",
        )
    elif wanted in MOMENTS and (held == "DATE" or by_day):
        cast = f"TRY_CAST(TRY_CAST(TRY_CAST({expression} AS DATE) AS TIMESTAMP) AS TIMESTAMPTZ)"
    elif wanted == "DOUBLE" and held == "VARCHAR":  # DuckDB reads 1_000, as it reads its own SQL
        cast = f"CASE WHEN NOT contains({expression}, '_') THEN {cast} END"
    if wanted in MOMENTS | {"DATE"} and held == "VARCHAR":
        # 'epoch', 'infinity' and the year 290000 are moments to DuckDB, and to nothing after it.
        fits = f"isfinite({cast}) AND year({cast}) BETWEEN 1 AND 9999"
        cast = rf"CASE WHEN regexp_matches({expression}, '^\s*\d') AND {fits} THEN {cast} END"
    text = f"CASE WHEN {expression} IS NOT NULL AND {cast} IS NULL THEN CAST({expression} AS VARCHAR) END"
    return f"{cast} AS {quoted(name)}, {text} AS {quoted(name + RAW)}"


def lost_sql(name: str, expression: str, read: Sequence[str]) -> str:
    """Say of each row whether `expression` gives nothing, though every column that it reads holds something there."""
    filled = (f"coalesce(trim(CAST({quoted(column)} AS VARCHAR), '{BLANKS}') <> '', false)" for column in read)
    return f"{' AND '.join((f'{expression} IS NULL', *filled))} AS {quoted(name + LOST)}"


def _wanted(table: Table, name: str, held: str) -> str:
    kind = table.kind_of(name)
    if held == "BLOB":
        raise BadInput(f"column '{table.name}.{name}' holds bytes", remedy="write its sql so that it gives a text")
    if kind is not None:
        wanted = DUCK_TYPES["timestamp" if _is_day(table, name) else kind]
    elif held in INTEGERS:
        wanted = "BIGINT"
    elif held in FRACTIONS:
        wanted = "DOUBLE"
    elif held in TIMES:
        wanted = "DATE" if held == "DATE" else "TIMESTAMPTZ"
    elif held == "BOOLEAN":
        wanted = held
    elif held in {"VARCHAR", "UUID", "ENUM"}:
        wanted = "VARCHAR"
    else:
        raise BadInput(f"column '{table.name}.{name}' has a type that can't be used", remedy="give it a type")
    if name == table.event_column and wanted not in MOMENTS | {"DATE"}:
        raise BadInput(f"column '{table.name}.{name}' dates the rows but is no time", remedy="add 'type: timestamp'")
    if table.role_of(name) != "attribute" and wanted not in {"BIGINT", "VARCHAR"}:
        raise BadInput(
            f"column '{table.name}.{name}' is an id but neither an integer nor a text",
            remedy="add 'type: int' or 'type: string'",
        )
    return "TIMESTAMP WITH TIME ZONE" if wanted == "TIMESTAMPTZ" and held == "TIMESTAMP WITH TIME ZONE" else wanted


def _is_day(table: Table, name: str) -> bool:
    """Say whether orders are dated by the day; features need instants."""
    return table.name == "transactions" and name == "ordered_at" and table.kind_of(name) == "date"
