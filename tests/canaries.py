"""A small shop with planted people: every value of theirs is unlike anything the code could make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

START = datetime(2025, 1, 6)  # noqa: DTZ001 - shops write naive times; the descriptor names the zone
DAYS = 420


@dataclass(frozen=True)
class Canary:
    """One planted person."""

    customer_id: int
    name: str
    email: str
    phone: str
    national_id: str
    address: str
    birth_date: str

    def values(self) -> list[str]:
        """Return every value that must stay inside the vault, the keys that hold the id included."""
        own = [str(self.customer_id), self.name, self.email, self.phone, self.national_id, self.address]
        return [*own, self.phone.replace(" ", ""), f"ORD-{self.customer_id}-1", f"TCK-{self.customer_id}"]


CANARIES = (
    Canary(
        customer_id=987_001_234,
        name="欧阳金丝雀",
        email="ouyang.canary@qq-canary.example",
        phone="13987650123",
        national_id="11010519870307423X",
        address="北京市朝阳区金丝雀路77号9单元",
        birth_date="1987-03-07",
    ),
    Canary(
        customer_id=987_005_678,
        name="Wilhelmina Canarybird",
        email="wilhelmina@canarybird.example",
        phone="+44 7700 900987",
        national_id="QQ987654C",
        address="77 Canarybird Lane, Birdhampton BX7 9ZQ",
        birth_date="1971-11-23",
    ),
)


def write_shop(folder: Path, *, customers: int = 150, seed: int = 3, name: str = "canary_shop") -> Path:
    """Write the shop's files and descriptor; return the descriptor's path."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [canary.customer_id for canary in CANARIES] + [500_000_000 + 37 * n for n in range(customers - len(CANARIES))]
    _lines(ids, np.random.default_rng(seed)).to_parquet(folder / "lines.parquet", index=False)
    _people(ids).to_csv(folder / "people.csv", index=False)
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(descriptor(name), allow_unicode=True, sort_keys=False))
    return path


def _lines(ids: list[int], random: np.random.Generator) -> pd.DataFrame:
    rows: list[Mapping[str, object]] = []
    for number, customer in enumerate(ids):
        first, last = random.uniform(0, 120), DAYS if number < 2 else random.uniform(150, DAYS)
        gap, day, order = random.uniform(5, 25), first, 0
        mean = random.uniform(10, 90)
        while day < last or order == 0:
            order += 1
            rows += [
                {
                    "customer": customer,
                    "invoice": f"ORD-{customer}-{order}",
                    "ticket": f"TCK-{customer}",
                    "ts": START + timedelta(days=float(day)),
                    "quantity": int(random.integers(1, 4)),
                    "price": round(float(random.gamma(3, mean / 6)), 2),
                    "stock": f"P{random.integers(1, 40)}",
                    "department": ["food", "home", "garden"][random.integers(0, 3)],
                }
                for _ in range(random.integers(1, 4))
            ]
            if number == customers_with_one_order(len(ids)):
                break
            day += random.exponential(gap)
    lines = pd.DataFrame(rows)
    bad = lines[lines.customer == CANARIES[0].customer_id].head(3).assign(price=float("nan"))
    return pd.concat([lines, bad], ignore_index=True)


def customers_with_one_order(count: int) -> int:
    """Return the position of the customer who bought once."""
    return count - 1


def _people(ids: list[int]) -> pd.DataFrame:
    rows = [vars(canary) for canary in CANARIES]
    for number, customer in enumerate(ids[len(CANARIES) :]):
        rows.append(
            {
                "customer_id": customer,
                "name": f"Person Number{number}",
                "email": f"p{number}@shop.example",
                "phone": f"1380000{number:04d}",
                "national_id": f"ID{number:08d}",
                "address": f"{number} Some Street",
                "birth_date": f"{1950 + number % 50}-01-02",
            }
        )
    return pd.DataFrame(rows)


def descriptor(name: str) -> dict[str, object]:
    """Return the shop's descriptor as YAML types."""
    direct, behaviour = {"sensitivity": "direct_identifier"}, {"sensitivity": "behavioural"}
    contact = ("name", "email", "phone", "national_id", "address")
    return {
        "name": name,
        "subject": "customer_id",
        "time_zone": "UTC",
        "currency": "CNY",
        "tables": {
            "transactions": {
                "source": "lines.parquet",
                "columns": {
                    "customer_id": {"from": "customer", **direct},
                    "order_id": {"from": "invoice", **behaviour},
                    "ticket_id": {"from": "ticket", **behaviour},
                    "ordered_at": {"from": "ts", "type": "timestamp", **behaviour},
                    "amount": {"sql": "quantity * price", "type": "float", **behaviour},
                    "quantity": {"from": "quantity", "type": "float", **behaviour},
                    "product_id": {"from": "stock", "sensitivity": "non_personal"},
                    "category": {"from": "department", **behaviour},
                },
            },
            "customers": {
                "source": "people.csv",
                "columns": {
                    "customer_id": {"from": "customer_id", **direct},
                    **{column: {"from": column, **direct} for column in contact},
                    "birth_date": {"from": "birth_date", "type": "date", "sensitivity": "quasi_identifier"},
                },
                "anonymity": {"k": 5},
            },
        },
        "targets": {"churn": {"horizon_days": 28, "active_within_days": 56}, "clv": {"horizon_days": 56}},
    }
