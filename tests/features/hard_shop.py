"""A shop with all that an ingest has to do: bad rows, the erased, keys, masks, free text, marks, links, consents."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features.datasets.descriptor import Descriptor, load_descriptor
from tests.shops import write_descriptor

from .conftest import NOW

START = dt.datetime(2024, 1, 1, 9, tzinfo=dt.UTC)
ERASED_AT = START + dt.timedelta(days=100)
RETURNED, GONE = "member-007", "member-011"
"""Two who were erased: one has rows since, all of the other's are from before."""
NAMES = ("王芳", "欧阳娜娜", "Zoë Ångström", "Ada Lovelace", "李 雷")
PEOPLE = [f"member-{number:03d}" for number in range(1, 41)]
ATTRIBUTE: Mapping[str, str] = {"sensitivity": "behavioural"}
WHO: Mapping[str, str] = {"from": "customer", "sensitivity": "direct_identifier"}


def document() -> dict[str, Any]:
    """The descriptor, as the YAML holds it."""
    return {
        "name": "hard_shop",
        "subject": "customer_id",
        "time_zone": "Asia/Shanghai",
        "currency": "CNY",
        "identity": {"region": "CN"},
        "inference": {"infant": {"products.kind": ["Diapers "], "transactions.category": ["nursery"]}},
        "tables": {
            "transactions": {
                "source": "lines/*.parquet",
                "where": "amount is not null or note is not null",
                "columns": {
                    "customer_id": dict(WHO),
                    "order_id": {"from": "invoice", **ATTRIBUTE},
                    "till": {"from": "till", "key": True, **ATTRIBUTE},
                    "ordered_at": {"from": "at", **ATTRIBUTE},
                    "created": {"from": "loaded", **ATTRIBUTE},
                    "amount": {"sql": "amount * 1.0", **ATTRIBUTE},
                    "quantity": {"from": "quantity", **ATTRIBUTE},
                    "product_id": {"from": "stock", "sensitivity": "non_personal"},
                    "category": {"from": "department", **ATTRIBUTE},
                    "note": {"from": "note", "sensitivity": "quasi_identifier", "mask": "scrub"},
                    "religion": {"from": "religion", "sensitivity": "sensitive"},
                },
            },
            "customers": {
                "source": "people.csv.gz",
                "columns": {
                    "customer_id": dict(WHO),
                    "name": {"from": "name", "sensitivity": "direct_identifier", "mask": "name"},
                    "phone": {
                        "from": "phone",
                        "sensitivity": "direct_identifier",
                        "mask": "phone",
                        "identifies": "phone",
                    },
                    "email": {"from": "email", "sensitivity": "direct_identifier", "identifies": "email"},
                    "birth_date": {"from": "born", "type": "date", "sensitivity": "quasi_identifier"},
                    "city": {"from": "city", "sensitivity": "quasi_identifier"},
                },
                "anonymity": {"k": 3},
            },
            "interactions": {
                "source": "met.csv",
                "columns": {
                    "customer_id": dict(WHO),
                    "happened_at": {"from": "at", **ATTRIBUTE},
                    "kind": {"from": "what", **ATTRIBUTE},
                },
            },
            "products": {
                "source": "goods.csv",
                "columns": {
                    "product_id": {"from": "stock", "sensitivity": "non_personal"},
                    "kind": {"from": "kind", "sensitivity": "non_personal"},
                },
            },
            "consents": {
                "source": "consents.parquet",
                "columns": {
                    "customer_id": dict(WHO),
                    "purpose": {"from": "purpose", "sensitivity": "non_personal"},
                    "granted": {"from": "granted", **ATTRIBUTE},
                    "at": {"from": "at", **ATTRIBUTE},
                },
            },
        },
        "targets": {"churn": {"horizon_days": 28, "active_within_days": 56}, "clv": {"horizon_days": 56}},
    }


def core_document() -> dict[str, Any]:
    """The descriptor of order lines and customers alone, who are one person each."""
    core = document()
    del core["identity"]
    core["tables"] = {name: core["tables"][name] for name in ("transactions", "customers")}
    core["inference"] = {"infant": {"transactions.category": ["nursery"]}}
    for column in core["tables"]["customers"]["columns"].values():
        column.pop("identifies", None)
    return core


def hard_shop(folder: Path, told: Mapping[str, Any] | None = None) -> Descriptor:
    """Write the shop's files, lines in two of several row groups each; it is described by `told`, else wholly."""
    draw = random.Random(7)
    (folder / "lines").mkdir(parents=True)
    rows = [line for who in PEOPLE for line in _lines(draw, who)]
    draw.shuffle(rows)
    _spoil(rows)
    rows += rows[200:205]  # repeated
    table, half = pa.Table.from_pylist(rows), len(rows) // 2
    pq.write_table(table.slice(0, half), folder / "lines" / "a.parquet", row_group_size=60)
    whole = table.slice(half).set_column(6, "quantity", table.slice(half)["quantity"].cast(pa.int32()))
    pq.write_table(whole, folder / "lines" / "b.parquet", row_group_size=60)
    people = pa.Table.from_pylist([_person(draw, who) for who in (*PEOPLE, PEOPLE[2])])
    with gzip.open(folder / "people.csv.gz", "wb") as file:
        pa.csv.write_csv(people, file)
    met = [{"customer": who, "at": _day(draw), "what": draw.choice(("campaign", "web"))} for who in PEOPLE[:20]]
    pa.csv.write_csv(pa.Table.from_pylist(met), folder / "met.csv")
    goods = [{"stock": f"p{at:02d}", "kind": "diapers" if at < 4 else "other"} for at in range(30)]
    pa.csv.write_csv(pa.Table.from_pylist(goods), folder / "goods.csv")
    given = [
        {"customer": who, "purpose": "marketing", "granted": who < "member-009", "at": START} for who in PEOPLE[:15]
    ]
    pq.write_table(pa.Table.from_pylist(given), folder / "consents.parquet")
    return load_descriptor(str(write_descriptor(folder, dict(told or document()))))


def _day(draw: random.Random) -> dt.datetime:
    return START + dt.timedelta(seconds=draw.randrange(200 * 86_400))


def _lines(draw: random.Random, who: str) -> list[dict[str, Any]]:
    last = 90 if who == GONE else 200
    lines = []
    for number in range(draw.randint(4, 12)):
        at = START + dt.timedelta(seconds=draw.randrange(last * 86_400))
        shared = {"customer": who, "invoice": f"{who}-{number}", "till": draw.choice((7, 8, None)), "at": at}
        for _ in range(draw.randint(1, 3)):
            told = draw.choice(("", f"call {NAMES[0]} at 138{draw.randrange(10**8):08d}", f"mail {who}@example.org"))
            lines.append(
                {
                    **shared,
                    "loaded": at + dt.timedelta(days=draw.choice((0, 0, 20))),
                    "amount": round(draw.uniform(-5, 90), 2),
                    "quantity": float(draw.randint(1, 4)),
                    "stock": f"p{draw.randrange(30):02d}",
                    "department": draw.choice(("dairy", "Nursery", "tea", None)),
                    "note": told or None,
                    "religion": draw.choice(("a", "b")),
                }
            )
    return lines


def _spoil(rows: list[dict[str, Any]]) -> None:
    known = [row for row in rows if row["customer"] not in {RETURNED, GONE}]
    for row, (column, value) in zip(
        known[::30],
        [("at", None), ("amount", float("inf")), ("invoice", None), ("customer", "  "), ("invoice", " ")],
        strict=False,
    ):
        row[column] = value
    known[1]["at"] = NOW + dt.timedelta(days=3)
    for row in [row for row in rows if row["customer"] == GONE][:2]:
        row["amount"] = float("nan")  # bad rows of somebody erased
    known[2]["amount"] = known[2]["note"] = None  # left out by `where`


def _person(draw: random.Random, who: str) -> dict[str, Any]:
    twin = "member-001" if who == "member-030" else who  # by e-mail one person
    return {
        "customer": who,
        "name": draw.choice(NAMES),
        "phone": f"+86 138 {draw.randrange(10**4):04d} {draw.randrange(10**4):04d}" if who != "member-004" else "none",
        "email": f"{twin}@example.cn",
        "born": "19xx" if who == "member-005" else str(dt.date(1950 + draw.randrange(8) * 5, 3, 4)),
        "city": draw.choice(("上海", "Berlin")),
    }
