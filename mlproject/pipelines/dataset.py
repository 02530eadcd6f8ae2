"""Bringing a shop: its descriptor checked against its data, or a first one drafted from its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlproject.settings import environment
from privacy.counted import counted
from privacy.durable import expanded, write_beside
from privacy.errors import BadInput

if TYPE_CHECKING:
    from features.checking.findings import CheckReport
    from features.scaffold.propose import ProposedTable
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["check_dataset", "draft_dataset"]

MOST_TOLD: Final = 10
"""So many files that aren't data are told by name."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_dataset(house: House, dataset: str, stages: Stages) -> CheckReport:
    """Hold a descriptor against its data, for whom the home's policy lets ingest; nothing is kept."""
    from features.checking.check import check
    from features.datasets.descriptor import read_descriptor

    loaded, _ = read_descriptor(dataset)
    house.permit("ingest", f"dataset:{_named(loaded)}")
    with stages.stage("check"):
        return check(dataset, environment(), progress=lambda table, rows: stages.progress(table, rows, 0))


def draft_dataset(house: House, place: Path, out: Path | None, stages: Stages) -> Iterator[str]:
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
    with stages.stage("look at the files"):
        made = draft(place, out, stages.progress)
    _refuse_there(out)
    write_beside(out, made.text.encode(), mode=0o644)
    for table in made.tables:
        yield from _table_lines(table)
    yield from _passed_over(made.passed_over)
    for name in made.missing:
        yield f"Not found: {name}; add it"
    first = f"decide what is marked TO DECIDE ({made.undecided})" if made.undecided else "read every line"
    yield f"Wrote {out}: {first}, then run `custos dataset check {out}`"


def _table_lines(table: ProposedTable) -> Iterator[str]:
    """What became of one table: of files that are none, and of columns that are left out, why."""
    files = f"{table.files.source} ({counted(table.files.rows, 'row')})"
    if table.name is None:
        yield f"{files}: not used: {table.why}"
        return
    undecided = f", {table.undecided} to decide" if table.undecided else ""
    yield f"{files}: {table.name}: {counted(len(table.columns), 'column')}{undecided}"
    for facts in table.files.columns:
        if facts.differs:
            yield f"  not alike in all its files: {facts.name}: {facts.differs}"
    for name, why in table.left_out:
        yield f"  not used: {name}: {why}"


def _passed_over(files: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, why in files[:MOST_TOLD]:
        yield f"{name}: not used: {why}"
    if len(files) > MOST_TOLD:
        yield f"{counted(len(files) - MOST_TOLD, 'more file')} of other kinds or deeper down: not used"


def _refuse_there(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise BadInput("there is such a file already", where=str(out), remedy="name another --out, or move it away")


def _named(loaded: object) -> str:
    name = loaded.get("name") if isinstance(loaded, dict) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "unnamed"
