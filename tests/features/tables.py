"""Order lines by hand, and the features they give."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from features import engine
from features.build import FAMILIES, cutoff_table
from features.transforms import orders
from features.transforms.outcomes import outcomes
from features.transforms.registry import windows_for

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


def features_of(
    table: pa.Table, cutoffs: Sequence[str], *, slow: bool = False
) -> dict[tuple[str, str], dict[str, float | None]]:
    """Return {(customer, cut-off): {feature: value}}."""
    windows = windows_for(slow)
    rows: dict[tuple[str, str], dict[str, float | None]] = {}
    with engine.connect(threads=1) as connection:
        lines = engine.place(connection, table, "lines")
        moments = cutoff_table(connection, [utc(cutoff) for cutoff in cutoffs])
        happened, sorts = engine.freeze(connection, orders.events(lines), "happened"), orders.categories(lines)
        paired = orders.snapshots(happened, sorts, moments, longest_days=windows.longest)
        past = orders.Snapshots(engine.freeze(connection, paired.events, "past"), paired.categories)
        for family in FAMILIES:
            for row in family(past, windows).to_pyarrow().to_pylist():
                moment = row.pop("event_timestamp").replace(tzinfo=None).isoformat(" ")
                rows.setdefault((row.pop("customer_token"), moment), {}).update(row)
    return rows


def outcomes_of(
    table: pa.Table, cutoffs: Sequence[str], horizon_days: int, active_within_days: int | None = None
) -> dict[str, tuple[float, int]]:
    """Return {customer: (spend, orders)} at the only cut-off."""
    with engine.connect(threads=1) as connection:
        happened = orders.events(engine.place(connection, table, "lines"))
        moments = cutoff_table(connection, [utc(cutoff) for cutoff in cutoffs])
        found = outcomes(happened, moments, horizon_days=horizon_days, active_within_days=active_within_days)
        return {
            row["customer_token"]: (row["spend_in_horizon"], row["orders_in_horizon"])
            for row in found.to_pyarrow().to_pylist()
        }
