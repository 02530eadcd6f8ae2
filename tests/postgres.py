"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket only, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .packages import command_of, module_of

OWNER = "postgres"
"""Whom the server runs as under root, which it refuses."""
QUIET = "-c listen_addresses='' -c fsync=off -c shared_buffers=32MB -c max_connections=40"


class Server:
    """A running server; every test gets databases of its own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs

    def database(self, template: str = "template1") -> str:
        """Make a database, and return its name."""
        name = f"t_{secrets.token_hex(6)}"
        self.command("createdb", "-T", template, name)
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever is connected."""
        self.command("dropdb", "--force", name)

    def url(self, name: str) -> str:
        """How SQLAlchemy addresses a database."""
        return f"postgresql://custos@/{name}?host={self._folder}"

    def command(self, program: str, *arguments: str) -> None:
        """Run one of the server's client programs."""
        connect = ("-h", str(self._folder), "-U", "custos")
        _run((str(self._programs / program), *connect, *arguments), self._folder)


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
        control = (str(programs / "pg_ctl"), "-D", data, "-w", "-s", "-l", str(folder / "log"))
        _run((*control, "-o", f"-k {folder} {QUIET}", "start"), folder)
        try:
            yield Server(folder, programs)
        finally:
            _run((*control, "-m", "immediate", "stop"), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(arguments: Sequence[str], folder: Path) -> None:
    user = OWNER if os.getuid() == 0 else None
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(arguments, user=user, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{Path(arguments[0]).name}: {done.stderr or done.stdout}"
