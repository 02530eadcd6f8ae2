"""A Redis server of the tests' own: in a temporary folder, on a Unix socket only, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .packages import command_of, module_of

__all__ = ["Server", "running"]


class Server:
    """A server that can be stopped and started again; it keeps what it had."""

    def __init__(self, folder: Path, program: str, environment: Mapping[str, str], more: Sequence[str]) -> None:
        self._folder, self._program, self._environment, self._more = folder, program, environment, more
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How its clients address it."""
        return f"unix://{self._folder}/redis.sock"

    def start(self) -> None:
        """Start it, and return when it answers."""
        import redis

        options = ("--port", "0", "--unixsocket", f"{self._folder}/redis.sock", "--dir", str(self._folder))
        command = (self._program, *options, "--appendonly", "yes", "--save", "", *self._more)
        seen = {**os.environ, **self._environment}
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=seen)
        client = redis.Redis.from_url(self.url)
        while True:
            assert self._process.poll() is None, "redis-server ended at once"
            try:
                client.ping()
                return
            except redis.AuthenticationError:
                return  # it answers, and wants a password
            except redis.RedisError:
                continue

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(environment: Mapping[str, str] | None = None, *more: str) -> Iterator[Server]:
    """Start a server, with `more` options and variables, and stop it at the end; skip where there is none to start."""
    module_of("redis", "redis")
    program = command_of("redis-server", "redis-server")
    folder = Path(tempfile.mkdtemp(prefix="custos-redis-"))
    server = Server(folder, program, environment or {}, more)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
