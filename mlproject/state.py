"""What a home remembers between commands: which dataset it holds, its dates, and what each stage reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from privacy.durable import write_beside
from privacy.errors import BadInput, EnvironmentFailed

__all__ = ["HomeState", "load_state", "read_json", "save_state", "write_json"]


@dataclass(frozen=True)
class HomeState:
    """The home's place and its one dataset, with the moments that follow from the data.

    `as_of` is None until features are built from what was ingested last; `online` says whether rows were ever put
    into the online store.
    """

    home: str
    dataset: str
    first_event: datetime
    last_event: datetime
    as_of: datetime | None = None
    online: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}


def load_state(path: Path) -> HomeState:
    """Return the home's state; raise BadInput where nothing was ingested yet."""
    if not path.exists():
        raise BadInput("this home holds no data yet", where=str(path.parent), remedy="begin with `custos run DATASET`")
    raw = read_json(path)
    if not {"home", "dataset", "first_event", "last_event"} <= raw.keys():
        remedy = "run `custos ingest` again; it writes a new one"
        raise EnvironmentFailed("the home's state is damaged", where=str(path), remedy=remedy)
    if Path(str(raw.get("home"))) != path.parent.resolve():
        # MLflow and Feast keep absolute places: a moved or copied home would go on reading the old one.
        remedy = "move it back, or run everything again in a new home"
        raise BadInput("this home was made at another place", where=str(path.parent), remedy=remedy)
    moments = {k: datetime.fromisoformat(raw[k]) for k in ("first_event", "last_event", "as_of") if raw.get(k)}
    return HomeState(**{**raw, **moments})


def save_state(path: Path, state: HomeState) -> None:
    """Keep the state, atomically."""
    write_json(path, state.to_dict())


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file of ours, empty where there is none yet."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError:
        raise EnvironmentFailed("the file is damaged", where=str(path), remedy="remove it and run again") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of it."""
    write_beside(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
