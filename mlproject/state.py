"""What a home remembers between commands: which dataset it holds, its dates, and what each stage reported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from privacy.durable import write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.json_files import read_object

__all__ = ["HomeState", "load_state", "save_state", "usable", "write_json"]

_DATASET: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # as a descriptor may be named


@dataclass(frozen=True)
class HomeState:
    """The home's place and its one dataset, with the moments that follow from the data.

    `as_of` is None until features are built from what was ingested last; `online` says whether rows were ever put
    into the online store. `planned` is the day that the cut-offs of what is built were chosen for.
    """

    home: str
    dataset: str
    first_event: datetime
    last_event: datetime
    as_of: datetime | None = None
    online: bool = False
    planned: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}


def load_state(path: Path) -> HomeState:
    """Return the home's state; raise BadInput where nothing was ingested yet, EnvironmentFailed where it is lost."""
    again = "run `custos run` on the source again, which writes a new one"
    raw = read_object(path, "the home's state", remedy=again)
    if raw is None:
        if any(path.parent.glob("protected/*/current")):
            raise EnvironmentFailed("the home's state is gone", where=str(path), remedy=again)
        raise BadInput("this home holds no data yet", where=str(path.parent), remedy="begin with `custos run DATASET`")
    try:
        state = _parsed(raw)
    except (KeyError, TypeError, ValueError):
        raise EnvironmentFailed("the home's state is damaged", where=str(path), remedy=again) from None
    if Path(state.home) != path.parent.resolve():
        # MLflow and Feast keep absolute places: a moved or copied home would go on reading the old one.
        remedy = "move it back, or run everything again in a new home"
        raise BadInput("this home was made at another place", where=str(path.parent), remedy=remedy)
    return state


def _parsed(raw: Mapping[str, Any]) -> HomeState:
    """The state that a file holds; KeyError, TypeError or ValueError when it is none."""
    home, dataset, online = raw["home"], raw["dataset"], raw.get("online", False)
    if not isinstance(home, str) or not isinstance(online, bool) or not _DATASET.fullmatch(dataset):
        raise ValueError
    as_of, planned = (None if raw.get(name) is None else _moment(raw[name]) for name in ("as_of", "planned"))
    return HomeState(home, dataset, _moment(raw["first_event"]), _moment(raw["last_event"]), as_of, online, planned)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not usable(moment):
        raise ValueError
    return moment


def usable(moment: datetime) -> bool:
    """Say whether data may be dated so: contracts begin with 1970, and pandas' nanoseconds end in 2262.

    >>> usable(datetime(2026, 1, 1)), usable(datetime(9999, 12, 31))
    (True, False)
    """
    return 1970 <= moment.year < 2200


def save_state(path: Path, state: HomeState) -> None:
    """Keep the state, atomically."""
    write_json(path, state.to_dict())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of it."""
    write_beside(path, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
