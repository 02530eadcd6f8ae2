"""A tiny shop whose people have several ids, with orders few enough to count by hand."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .shops import write_descriptor

DOCUMENT: dict[str, Any] = {
    "name": "till_and_web",
    "subject": "customer_id",
    "currency": "CNY",
    "identity": {"region": "CN", "unique": ["customers.born"]},
    "tables": {
        "transactions": {
            "source": "lines.parquet",
            "columns": {
                "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
                "order_id": {"from": "order", "sensitivity": "behavioural"},
                "ordered_at": {"from": "at", "type": "timestamp", "sensitivity": "behavioural"},
                "amount": {"from": "amount", "type": "float", "sensitivity": "behavioural"},
            },
        },
        "customers": {
            "source": "people.parquet",
            "columns": {
                "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
                "email": {"from": "email", "sensitivity": "direct_identifier", "identifies": "email"},
                "phone": {"from": "phone", "sensitivity": "direct_identifier", "identifies": "phone"},
                "card": {"from": "card", "sensitivity": "direct_identifier", "identifies": "card"},
                "born": {"from": "born", "type": "date", "sensitivity": "quasi_identifier", "mask": "age_band"},
            },
        },
    },
    "targets": {"churn": {"horizon_days": 28, "active_within_days": 56}, "clv": {"horizon_days": 56}},
}
PEOPLE = pa.schema([(name, pa.string()) for name in ("customer", "email", "phone", "card")] + [("born", pa.date32())])

Row = Mapping[str, object]


def document() -> dict[str, Any]:
    """Return the descriptor as the YAML would hold it; change it as a test needs."""
    return copy.deepcopy(DOCUMENT)


def line(customer: str, order: str, day: dt.date, amount: float) -> Row:
    """Return one order line of noon."""
    return {"customer": customer, "order": order, "at": dt.datetime.combine(day, dt.time(12)), "amount": amount}


def write_identities(
    folder: Path, people: Sequence[Row], lines: Sequence[Row], descriptor: Mapping[str, Any] | None = None
) -> Path:
    """Write the shop's files into `folder`; return the YAML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in lines]), folder / "lines.parquet")
    pq.write_table(pa.Table.from_pylist([dict(row) for row in people], PEOPLE), folder / "people.parquet")
    return write_descriptor(folder, dict(descriptor or document()))
