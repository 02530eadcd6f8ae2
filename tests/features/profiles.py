"""Shops whose customers have quasi-identifiers, and what is told of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from features.datasets.descriptor import Descriptor, load_descriptor
from privacy.classification import Purpose, Role
from tests.shops import make_shop

from .conftest import principal

TOWNS = ("Arles", "Arles", "Arles", "Basel", "Basel")
COLUMNS = ["birth_date", "town"]
TOWN = {"from": "town", "sensitivity": "quasi_identifier", "hierarchy": {"France": ["Arles"], "Swiss": ["Basel"]}}
KEYED = {"customer_id": {"from": "customer", "sensitivity": "direct_identifier"}}


def with_profile(folder: Path, change: Callable[[dict[str, Any]], object] | None = None, **options: Any) -> Descriptor:
    """A shop whose customers have a birth date and a town, to be told in classes of three."""
    path = make_shop(folder, **{"customers": 40, **options})
    people = pq.read_table(folder / "people.parquet")
    towns = [TOWNS[at % len(TOWNS)] for at in range(people.num_rows)]
    pq.write_table(people.append_column("town", [towns]), folder / "people.parquet")
    document = yaml.safe_load(path.read_text())
    customers = document["tables"]["customers"]
    customers["columns"]["town"] = dict(TOWN)
    customers["anonymity"] = {"k": 3}
    if change is not None:
        change(customers)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_descriptor(str(path))


def researcher() -> Any:
    return principal(Role.DATA_SCIENTIST, Purpose.RESEARCH)


def classes(table: pa.Table) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))
