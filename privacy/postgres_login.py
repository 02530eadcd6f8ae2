"""Telling a PostgreSQL server that lets nobody in from one that isn't there: neither comes with an SQLSTATE."""

from __future__ import annotations

__all__ = ["login_refused"]


def login_refused(error: BaseException) -> bool:
    """Return whether a connection failed after the server had asked for a password: it answers, and refuses.

    `error` is psycopg's own; its words aren't read, since they may quote a user and are in the server's language. A
    wrong user, a wrong or missing password and a database that isn't there look alike (PQconnectionUsedPassword).

    >>> login_refused(OSError("nobody answers"))
    False
    """
    connection = getattr(error, "pgconn", None)
    return connection is not None and bool(connection.used_password or connection.needs_password)
