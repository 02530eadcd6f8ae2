"""Order lines by hand, and the features they give."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from features.build import FAMILIES, cutoff_table
from features.engine import DuckDb
from features.transforms import orders
from features.transforms.feature import windows_for
from features.transforms.insight import insight
from features.transforms.outcomes import outcomes

Line = tuple[str, str, str, float]
"""customer, order, time (ISO, UTC), amount"""


def open_to_others(root: Path) -> list[str]:
    """List what below `root` anybody but its owner may touch."""
    found = [root, *root.rglob("*")]
    return [path.name for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]


def entities(tokens: list[str], moments: list[dt.datetime | None]) -> pa.Table:
    return pa.table({"customer_token": tokens, "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC"))})


def last_event(audit: Path) -> dict[str, Any]:
    """Return the newest event of an audit log."""
    [log] = audit.glob("*.jsonl")
    event: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return event


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def lines_table(lines: Sequence[Line], **extra: Sequence[object]) -> pa.Table:
    customers, numbers, times, amounts = zip(*lines, strict=True)
    return pa.table(
        {
            "customer_token": pa.array(customers),
            "order_token": pa.array(numbers),
            "ordered_at": pa.array([utc(time) for time in times], pa.timestamp("us", "UTC")),
            "amount": pa.array(amounts, pa.float64()),
            **{name: pa.array(values) for name, values in extra.items()},
        }
    )


Found = dict[tuple[str, str], dict[str, float | str | None]]
"""{(customer, cut-off): {feature: value}}"""


class Queries:
    """The queries of a build, compiled once for the columns of some lines, then run on any lines that have them."""

    def __init__(self, table: pa.Table, slow: bool) -> None:
        windows = windows_for(slow)
        self._closing = ExitStack()
        self._connection = self._closing.enter_context(DuckDb(threads=1).connect())
        self._made: list[tuple[str, str]] = []
        self._place(table, ["2024-01-01"])
        lines, cutoffs = (self._connection.backend.table(name) for name in ("lines", "cutoffs"))
        if orders.come_late(lines):
            paired = orders.as_known(lines, cutoffs, longest_days=windows.longest)
        else:
            happened = self._frozen("happened", orders.events(lines))
            paired = orders.snapshots(happened, orders.categories(lines), cutoffs, longest_days=windows.longest)
        past = orders.Snapshots(self._frozen("past", paired.events), paired.categories)
        known, *others = (self._frozen(family.__name__, family(past, windows)) for family in FAMILIES)
        for other in others:
            known = known.inner_join(other, list(orders.KEYS))
        known = self._frozen("known", known)
        self._found = self._connection.backend.compile(known.inner_join(insight(known, windows), list(orders.KEYS)))

    def run(self, table: pa.Table, cutoffs: Sequence[str]) -> Found:
        self._place(table, cutoffs)
        for name, query in self._made:
            self._connection.backend.raw_sql(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
        rows: Found = {}
        for row in self._connection.backend.con.sql(self._found).to_arrow_table().to_pylist():
            moment = row.pop("event_timestamp").replace(tzinfo=None).isoformat(" ")
            rows[row.pop("customer_token"), moment] = row
        return rows

    def _place(self, table: pa.Table, cutoffs: Sequence[str]) -> None:
        self._connection.place(table, "lines")
        cutoff_table(self._connection, [utc(cutoff) for cutoff in cutoffs])

    def _frozen(self, name: str, expression: ir.Table) -> ir.Table:
        self._made.append((name, self._connection.backend.compile(expression)))
        return self._connection.freeze(expression, name)


@cache
def _queries(schema: pa.Schema, slow: bool) -> Queries:
    return Queries(schema.empty_table(), slow)


def features_of(table: pa.Table, cutoffs: Sequence[str], *, slow: bool = False) -> Found:
    """Return {(customer, cut-off): {feature: value}}; insight as it is before small bands are joined."""
    return _queries(table.schema, slow).run(table, cutoffs)


def outcomes_of(
    table: pa.Table, cutoffs: Sequence[str], horizon_days: int, active_within_days: int | None = None
) -> dict[str, tuple[float, int]]:
    """Return {customer: (spend, orders)} at the only cut-off."""
    with DuckDb(threads=1).connect() as connection:
        happened = orders.events(connection.place(table, "lines"))
        moments = cutoff_table(connection, [utc(cutoff) for cutoff in cutoffs])
        found = outcomes(happened, moments, horizon_days=horizon_days, active_within_days=active_within_days)
        return {
            row["customer_token"]: (row["spend_in_horizon"], row["orders_in_horizon"])
            for row in found.to_pyarrow().to_pylist()
        }
