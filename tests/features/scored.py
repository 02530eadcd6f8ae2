"""Small shops by hand, and what was counted of them before any of it is made fit to be told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features import sources
from features.contracts import Contract
from features.datasets.descriptor import Descriptor, load_descriptor
from features.quality.meter import Meter
from features.quality.scores import TableScores
from tests.shops import shop_document, write_descriptor

from .conftest import NOW

Rows = list[dict[str, Any]]
START = dt.datetime(2024, 12, 10, 9, tzinfo=dt.UTC)


def line(customer: str = "ann", invoice: str = "1", day: float = 0, **other: Any) -> dict[str, Any]:
    """One order line, `day` days after START."""
    usual = {"quantity": 1.0, "price": 10.0, "stock": "p1", "department": "tea", "discount": None}
    return {"customer": customer, "invoice": invoice, "ts": START + dt.timedelta(days=day), **usual, **other}


def person(customer: str = "ann", **other: Any) -> dict[str, Any]:
    """One row of the customers."""
    usual = {"name": "Ann", "email": "ann@example.org", "phone": "1", "born": dt.date(1980, 1, 1)}
    return {"customer": customer, **usual, **other}


def hand_made(
    folder: Path, lines: Rows, people: Rows, document: dict[str, Any] | None = None, **files: Rows
) -> Descriptor:
    """Write a shop of these rows; `files` are further parquet files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in {"lines": lines, "people": people, **files}.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return load_descriptor(str(write_descriptor(folder, document or shop_document())))


def with_products(document: dict[str, Any] | None = None) -> dict[str, Any]:
    """The usual shop with a table of products, `goods.parquet`."""
    made = document or shop_document()
    made["tables"]["products"] = {
        "source": "goods.parquet",
        "columns": {
            "product_id": {"from": "stock", "sensitivity": "non_personal"},
            "category": {"from": "department", "sensitivity": "non_personal"},
        },
    }
    return made


def metered(descriptor: Descriptor, table: str = "transactions") -> TableScores:
    """One pass over a table as ingest makes it, without what needs the whole table."""
    declared = descriptor.tables[table]
    contract, meter = Contract(declared, NOW), Meter(declared, NOW, descriptor.quality.late_after_days)
    for batch in sources.batches(descriptor, declared):
        failures = contract.failures(batch)
        meter.meet(batch, failures)
        bad = set(failures["row"].to_pylist())
        meter.keep(batch.filter(pa.array([row not in bad for row in range(batch.num_rows)], pa.bool_())))
    return meter.scores()


def bad(found: TableScores, dimension: str) -> dict[str, int]:
    """The rows that fail, by column, where there are any."""
    return {each.column: each.bad for each in found.measures if each.dimension == dimension and each.bad}
