"""The one reader of the JSON that Custos keeps in files: an object, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privacy.durable import read_bytes
from privacy.errors import EnvironmentFailed

__all__ = ["parse_object", "read_object"]


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; ValueError for all else, nesting too deep to be meant included.

    >>> parse_object(b'{"a": 1}')
    {'a': 1}
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def read_object(path: Path, what: str, *, remedy: str) -> dict[str, Any] | None:
    """The object in the file at `path`, None when there is no file; EnvironmentFailed naming it when damaged."""
    data = read_bytes(path, what)
    if data is None:
        return None
    try:
        return parse_object(data)
    except ValueError:
        raise EnvironmentFailed(f"{what} is damaged", where=str(path), remedy=remedy) from None
