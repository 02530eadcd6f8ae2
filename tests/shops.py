"""Tiny synthetic shops: real parquet and YAML files that any test can ingest in a second."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

START = dt.datetime(2023, 1, 1, 8, tzinfo=dt.UTC)
CATEGORIES = ("bakery", "dairy", "produce", "household")


def shop_document(name: str = "corner_shop") -> dict[str, Any]:
    """Return the descriptor of a shop as the YAML would hold it; change it as a test needs."""
    return {
        "name": name,
        "subject": "customer_id",
        "time_zone": "UTC",
        "currency": "GBP",
        "tables": {
            "transactions": {
                "source": "lines.parquet",
                "where": "customer is not null",
                "columns": {
                    "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
                    "order_id": {"from": "invoice", "sensitivity": "behavioural"},
                    "ordered_at": {"from": "ts", "type": "timestamp", "sensitivity": "behavioural"},
                    "amount": {"sql": "quantity * price", "type": "float", "sensitivity": "behavioural"},
                    "quantity": {"from": "quantity", "type": "float", "sensitivity": "behavioural"},
                    "product_id": {"from": "stock", "sensitivity": "non_personal"},
                    "category": {"from": "department", "sensitivity": "behavioural"},
                    "discount": {"from": "discount", "type": "float", "sensitivity": "behavioural"},
                },
            },
            "customers": {
                "source": "people.parquet",
                "columns": {
                    "customer_id": {"from": "customer", "sensitivity": "direct_identifier"},
                    "name": {"from": "name", "sensitivity": "direct_identifier"},
                    "email": {"from": "email", "sensitivity": "direct_identifier"},
                    "phone": {"from": "phone", "sensitivity": "direct_identifier"},
                    "birth_date": {"from": "born", "type": "date", "sensitivity": "quasi_identifier"},
                },
            },
        },
        "targets": {
            "churn": {"horizon_days": 28, "active_within_days": 56},
            "clv": {"horizon_days": 56},
        },
    }


def make_shop(directory: Path, customers: int = 60, seed: int = 0, *, days: int = 400, **changes: Any) -> Path:
    """Write `lines.parquet`, `people.parquet` and `shop.yaml` into `directory`; return the YAML's path.

    Customers c00001.. buy at their own pace over `days` days from 2023-01-01, some stop for good; one
    order in twenty-five is a return. `changes` replace top-level keys of the descriptor.
    """
    directory.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    people = [f"c{number:05d}" for number in range(1, customers + 1)]
    rows = [row for person in people for row in _orders(draw, person, days)]
    draw.shuffle(rows)
    pq.write_table(pa.Table.from_pylist(rows), directory / "lines.parquet")
    pq.write_table(pa.Table.from_pylist([_person(draw, person) for person in people]), directory / "people.parquet")
    return write_descriptor(directory, {**shop_document(), **changes})


def write_descriptor(directory: Path, document: dict[str, Any]) -> Path:
    """Write `document` as `shop.yaml`; return its path."""
    path = directory / "shop.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _orders(draw: random.Random, person: str, days: int) -> list[dict[str, Any]]:
    pace, size = draw.uniform(4, 30), draw.uniform(5, 40)
    leaves = draw.uniform(0.3, 3) * days
    moment, number, rows = draw.uniform(0, days / 3), 0, []
    while moment < min(days, leaves):
        number += 1
        refund = number > 1 and draw.random() < 0.04
        for _ in range(draw.randint(1, 4)):
            quantity = draw.randint(1, 3)
            rows.append(
                {
                    "customer": person,
                    "invoice": f"{person}-{number:04d}",
                    "ts": START + dt.timedelta(seconds=int(moment * 86_400)),
                    "quantity": float(-quantity if refund else quantity),
                    "price": round(draw.uniform(0.5, 2) * size / 4, 2),
                    "stock": draw.randint(1, 200),
                    "department": draw.choice(CATEGORIES),
                    "discount": round(draw.choice((0, 0, 0.5)) * draw.random(), 2),
                    "cashier": f"till-{draw.randint(1, 9)}",
                }
            )
        moment += draw.expovariate(1 / pace) + 0.01
    return rows


def _person(draw: random.Random, person: str) -> dict[str, Any]:
    return {
        "customer": person,
        "name": f"Person {person.upper()}",
        "email": f"{person}@example.com",
        "phone": f"+44 20 7946 {draw.randint(0, 9999):04d}",
        "born": dt.date(1950, 1, 1) + dt.timedelta(days=draw.randint(0, 20_000)),
    }
