"""The statements that a few people's newest features are computed by: compiled from the transforms once, then kept.

Compiling them costs more than computing with them. Those that are kept are used while nothing that they are made of
has changed: the transforms, the columns that are read, the features that are told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from privacy.durable import write_beside
from privacy.errors import EnvironmentFailed
from privacy.json_files import read_object

from .transforms.feature import Feature, Windows

__all__ = ["SETTINGS", "newest_of", "transforms_digest"]

SETTINGS: Final[Mapping[str, str | bool | int]] = {
    "memory_limit": "2GB",
    "temp_directory": "",
    "preserve_insertion_order": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Of a DuckDB in memory for protected data: it never spills to disk."""
KEPT: Final = "newest.json"
MOST_KEPT: Final = 8
ANSWERS: Final = ("told_events", "told_features")
_SOURCES: Final = Path(__file__).parent


def transforms_digest(windows: Windows, engine: str = "duckdb") -> str:
    """Return a digest of what features are computed by: the transforms as they are written, and the engine."""
    digest = hashlib.sha256(f"{engine} {duckdb.__version__}\n{windows!r}".encode())
    for source in (_SOURCES / "assembly.py", _SOURCES / "engine.py", *sorted((_SOURCES / "transforms").glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def newest_of(
    inputs: Mapping[str, pa.Table], listed: Sequence[Feature], windows: Windows, kept: Path
) -> tuple[pa.Table, pa.Table]:
    """Return the events and, at each of the `cutoffs`, the features of the people whose `lines` these are.

    `inputs` are also their `people` and, where features need them, `interactions`. The folder `kept` holds the
    statements from one time to the next.
    """
    made_of, path = _digest(inputs, listed, windows), kept / KEPT
    try:
        held = read_object(path, "the statements of the newest features", remedy="") or {}
    except EnvironmentFailed:
        held = {}  # compiled anew
    statements = held.get(made_of)
    if not isinstance(statements, list):
        statements = _compiled(inputs, windows)
        held = held if len(held) < MOST_KEPT else {}
        write_beside(path, json.dumps({**held, made_of: statements}).encode())
    with closing(duckdb.connect(config={**SETTINGS})) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in inputs.items():
            connection.register(name, table)
        connection.execute("SET enable_external_access = false")
        for statement in statements:
            connection.execute(str(statement))
        events, features = (connection.sql(f"SELECT * FROM {name}").to_arrow_table() for name in ANSWERS)
    return events, features


def _compiled(inputs: Mapping[str, pa.Table], windows: Windows) -> list[str]:
    """The statements, in order; no row is looked at."""
    from .assembly import Beside, Folded, told_features
    from .engine import DuckDb

    with DuckDb().connect() as connection:
        placed = {name: connection.place(table.slice(0, 0), name) for name, table in inputs.items()}
        folded, cutoffs = Folded.of(connection, placed["lines"], windows, few=True), placed["cutoffs"]
        beside = Beside(placed["people"], placed.get("interactions"))
        connection.freeze(folded.told_events, ANSWERS[0])
        features = told_features(folded.numbers(cutoffs), cutoffs, beside, windows, banded=False)
        connection.freeze(features, ANSWERS[1])
        return connection.statements


def _digest(inputs: Mapping[str, pa.Table], listed: Sequence[Feature], windows: Windows) -> str:
    told = [transforms_digest(windows), *(feature.name for feature in listed)]
    told += [f"{name}: {field.name} {field.type}" for name, table in inputs.items() for field in table.schema]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
