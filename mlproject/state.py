"""What a home remembers between commands: which dataset it holds, its dates, and what each stage reported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from privacy.errors import BadInput, EnvironmentFailed

__all__ = ["HomeState", "exclusive", "load_state", "read_json", "save_state", "write_json"]


@dataclass(frozen=True)
class HomeState:
    """The home's one dataset: its name, the kept descriptor and the moments that follow from the data."""

    dataset: str
    descriptor: str
    first_event: datetime
    last_event: datetime
    as_of: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}


def load_state(path: Path) -> HomeState:
    """Return the home's state; raise BadInput where nothing was ingested yet."""
    if not path.exists():
        raise BadInput("this home holds no data yet", where=str(path.parent), remedy="begin with `custos run DATASET`")
    raw = read_json(path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the home's lock: one job writes at a time, the next one waits for it."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
