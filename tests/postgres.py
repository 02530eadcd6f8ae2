"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket only, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .packages import command_of, module_of

OWNER = "postgres"
"""Whom the server runs as under root, which it refuses."""
LOCKED = "locked"
"""The one user whom the server asks for a password."""
QUIET = "-c listen_addresses='' -c fsync=off -c shared_buffers=32MB -c max_connections=40"


class Server:
    """A server that can be stopped and started again; it keeps what it had.

    Every test gets schemas of its own, as if they were databases, but made in no time.
    """

    def __init__(self, folder: Path, control: Sequence[str]) -> None:
        self._folder, self._control = folder, control

    def start(self) -> None:
        """Start it, and return when it answers; one that was stopped at once recovers by its log first."""
        _run((*self._control, "-o", f"-k {self._folder} {QUIET}", "start"), self._folder)

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, and nothing is written any more."""
        _run((*self._control, "-m", "immediate", "stop"), self._folder)

    def database(self, like: str | None = None) -> str:
        """Make an empty one, or a copy, and return its name."""
        name = f"t_{secrets.token_hex(6)}"
        with self._connected() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [like]).fetchall()
            for (table,) in tables:
                connection.execute(f"CREATE TABLE {name}.{table} (LIKE {like}.{table} INCLUDING ALL)")
                connection.execute(f"INSERT INTO {name}.{table} SELECT * FROM {like}.{table}")
        return name

    def lock(self, password: str) -> None:
        """Let the user `locked` in, who must say this password."""
        with self._connected() as connection:
            connection.execute(f"DROP ROLE IF EXISTS {LOCKED}")
            connection.execute(f"CREATE ROLE {LOCKED} LOGIN SUPERUSER PASSWORD '{password}'")

    def drop(self, name: str) -> None:
        """Delete one."""
        with self._connected() as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE")

    def url(self, name: str) -> str:
        """How SQLAlchemy addresses it."""
        return f"postgresql://custos@/postgres?host={self._folder}&options=-csearch_path%3D{name}"

    def _connected(self) -> Any:
        import psycopg  # an extra: only who has a server needs it

        return psycopg.connect(host=str(self._folder), user="custos", dbname="postgres")


@contextmanager
def running() -> Iterator[Server]:
    """Start a server, and stop it at the end; skip where there is none to start."""
    module_of("psycopg", "postgres")
    programs = Path(command_of("initdb", "postgresql")).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="custos-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, OWNER)
        data = str(folder / "data")
        _run((str(programs / "initdb"), "-D", data, "-U", "custos", "-A", "trust", "-E", "UTF8", "--no-sync"), folder)
        access = folder / "data" / "pg_hba.conf"
        access.write_text(f"local all {LOCKED} scram-sha-256\n{access.read_text()}")
        control = (str(programs / "pg_ctl"), "-D", data, "-w", "-s", "-l", str(folder / "log"))
        server = Server(folder, control)
        server.start()
        try:
            yield server
        finally:
            with suppress(AssertionError):  # a test may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(arguments: Sequence[str], folder: Path) -> None:
    user = OWNER if os.getuid() == 0 else None
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(arguments, user=user, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{Path(arguments[0]).name}: {done.stderr or done.stdout}"
