"""Where the packed online rows lie: one protocol, one file a database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from privacy.errors import BadInput, EnvironmentFailed

from ._base import Batch, Damaged, Found, PackedRows, Writer

__all__ = ["Batch", "Damaged", "Found", "PackedRows", "Writer", "rows_at"]


def rows_at(url: str, project: str) -> PackedRows:
    """Return the rows of a project at `url`: sqlite:///FILE, redis://... or postgresql://...

    Raises BadInput for another kind of URL, EnvironmentFailed where its package isn't installed.
    """
    kind = urlsplit(url).scheme
    if kind == "sqlite":
        from .sqlite import SqliteRows

        return SqliteRows(project, Path(url.removeprefix("sqlite:///")))
    if kind in ("redis", "rediss", "unix"):
        _needs("redis", "redis")
        from .redis import RedisRows

        return RedisRows(project, url)
    if kind in ("postgresql", "postgres"):
        _needs("psycopg", "postgres")
        from .postgres import PostgresRows

        return PostgresRows(project, url)
    raise BadInput("an online store is at sqlite:///FILE, redis:// or postgresql://")


def _needs(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise EnvironmentFailed(f"{module} isn't installed", remedy=f"install custos[{extra}]")
