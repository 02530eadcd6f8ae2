"""What a descriptor says of a table that a query gives: where the database is, and what to ask of it; no password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from .strict import Strict

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["Database"]

DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What an address may begin with, and the driver that reads it; only where a transaction can be made read-only."""
SECRET: Final = re.compile(r"pass(word|wd|phrase)?$|pwd|secret|token|credential", re.IGNORECASE)
QUERY: Final = re.compile(
    r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL
)


class Database(Strict):
    """One query in one database; a password is in the variable that `password_env` names, or where the driver looks.

    >>> Database(url="postgresql://reader@db.example.org/shop", query="SELECT * FROM lines").place
    'postgresql://db.example.org/shop'
    >>> Database(url="postgresql://reader@db.example.org:5433/shop", query="SELECT * FROM lines").place
    'postgresql://db.example.org:5433/shop'
    """

    url: str = Field(min_length=1)
    query: str = Field(min_length=1)
    password_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @field_validator("url")
    @classmethod
    def _without_secret(cls, value: str) -> str:
        url = _parsed(value)
        if url.password is not None or any(SECRET.search(name) for name in url.query):
            raise ValueError(
                "the url holds a password: take it out, and name a variable in 'password_env', or use ~/.pgpass"
            )
        if url.drivername not in DRIVERS:
            raise ValueError("write sqlite:///shop.db or postgresql://user@host/shop; no other database is read")
        if DRIVERS[url.drivername] == "sqlite" and (not url.database or url.database == ":memory:" or url.query):
            raise ValueError("name the file of the database, as in sqlite:///shop.db")
        return value

    @field_validator("query")
    @classmethod
    def _one_question(cls, value: str) -> str:
        text = value.strip().removesuffix(";").rstrip()
        if ";" in text or "\0" in text or not QUERY.match(text):
            raise ValueError("write one SELECT without ';' (a view in the database can hold what is longer)")
        return text

    @property
    def address(self) -> URL:
        """The parsed address, with the driver that reads it."""
        url = _parsed(self.url)
        return url.set(drivername=DRIVERS[url.drivername])

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database, as written."""
        url = self.address
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    @property
    def place(self) -> str:
        """The database as messages name it: neither user nor options."""
        url = self.address
        port = f":{url.port}" if url.port else ""
        return f"{url.get_backend_name()}://{url.host or ''}{port}/{url.database or ''}"


def _parsed(text: str) -> URL:
    from sqlalchemy.engine import make_url  # the descriptor stays light to import
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(text)
    except (ArgumentError, ValueError):  # the address itself isn't repeated: it may hold a password
        raise ValueError("no database URL: write sqlite:///shop.db or postgresql://user@host/shop") from None
