"""Bringing a shop: its descriptor checked against its data, or a first one drafted from its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlproject.settings import environment
from privacy.durable import expanded, write_beside
from privacy.errors import BadInput

if TYPE_CHECKING:
    from features.checking.findings import CheckReport
    from mlproject.wiring import House

__all__ = ["check_dataset", "draft_dataset"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_dataset(house: House, dataset: str) -> CheckReport:
    """Hold a descriptor against its data, for whom the home's policy lets ingest; nothing is kept."""
    from features.checking.check import check
    from features.datasets.descriptor import read_descriptor

    loaded, _ = read_descriptor(dataset)
    house.permit("ingest", f"dataset:{_named(loaded)}")
    return check(dataset, environment())


def draft_dataset(house: House, place: Path, out: Path | None) -> Iterator[str]:
    """Draft a descriptor from files, for whom the home's policy lets ingest; yield what to tell the user."""
    from features.scaffold.draft import draft

    place = expanded(place).absolute()
    out = (place if place.is_dir() else place.parent) / "shop.yaml" if out is None else expanded(out).absolute()
    if out.suffix not in {".yaml", ".yml"}:
        raise BadInput("a descriptor is a YAML file", where=str(out), remedy="name it such as shop.yaml")
    if not place.exists():
        raise BadInput("there is no such file or folder", where=str(place), remedy="name the folder of your data")
    _refuse_there(out)
    house.permit("ingest", "dataset:unnamed")
    made = draft(place, out)
    _refuse_there(out)
    write_beside(out, made.text.encode(), mode=0o644)
    for table in made.tables:
        what = f"{table.name}: {len(table.columns)} columns" if table.name else "not used"
        undecided = f", {table.undecided} to decide" if table.name and table.undecided else ""
        yield f"{table.files.source} ({table.files.rows:,} rows): {what}{undecided}"
    if made.links:
        yield f"Left out: {made.links} symbolic links, which are not followed; name what they lead to, or copy it here"
    for name in made.missing:
        yield f"Not found: {name}; add it"
    first = f"decide what is marked TO DECIDE ({made.undecided})" if made.undecided else "read every line"
    yield f"Wrote {out}: {first}, then run `custos dataset check {out}`"


def _refuse_there(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise BadInput("there is such a file already", where=str(out), remedy="name another --out, or move it away")


def _named(loaded: object) -> str:
    name = loaded.get("name") if isinstance(loaded, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "unnamed"
