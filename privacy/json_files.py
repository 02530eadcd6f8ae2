"""The one reader of JSON: what Custos keeps in files, an object or one clear error, and what others send, strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from privacy.durable import read_bytes
from privacy.errors import EnvironmentFailed

__all__ = ["parse_object", "parse_strict", "read_object"]


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


def parse_strict(data: bytes, number: Callable[[str], Any] | None = None) -> Any:
    """What RFC 8259 calls JSON, in UTF-8, each key once; `number` takes numbers as they are written.

    Raises ValueError for all else: NaN, repeated keys, nesting too deep to be meant.

    >>> parse_strict(b'{"a": [1, 2.50]}', str)
    {'a': ['1', '2.50']}
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct_keys,
            parse_constant=_no_constant,
            parse_int=number,
            parse_float=number,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key twice")
    return made


def _no_constant(_: str) -> NoReturn:
    raise ValueError("no number")


def read_object(path: Path, what: str, *, remedy: str) -> dict[str, Any] | None:
    """The object in the file at `path`, None when there is no file; EnvironmentFailed naming it when damaged."""
    data = read_bytes(path, what)
    if data is None:
        return None
    try:
        return parse_object(data)
    except ValueError:
        raise EnvironmentFailed(f"{what} is damaged", where=str(path), remedy=remedy) from None
