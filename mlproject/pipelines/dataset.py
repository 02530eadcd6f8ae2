"""Bringing a shop: its descriptor checked against its data, or a first one drafted from its files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mlproject.settings import environment

if TYPE_CHECKING:
    from features.checking.findings import CheckReport
    from mlproject.wiring import House

__all__ = ["check_dataset"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_dataset(house: House, dataset: str) -> CheckReport:
    """Hold a descriptor against its data, for whom the home's policy lets ingest; nothing is kept."""
    from features.checking.check import check
    from features.datasets.descriptor import read_descriptor

    loaded, _ = read_descriptor(dataset)
    house.permit("ingest", f"dataset:{_named(loaded)}")
    return check(dataset, environment())


def _named(loaded: object) -> str:
    name = loaded.get("name") if isinstance(loaded, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "unnamed"
