"""Starting and stopping the service as a process of its own: what `custos serve` and the demo do."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Final

from privacy.errors import BadInput, CheckFailed, CustosError, EnvironmentFailed, Refused

from .tethered import tethered

__all__ = ["ServerProcess", "refuse_taken_port", "serve", "server_environment"]

READY_SECONDS: Final = 120.0
UNREADY_SECONDS: Final = 15.0
"""How long a started service may lack something before the launch is given up, with what it lacks."""
STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_REPORT: Final = "start-report.json"
_SERVICE: Final = "serving.service:CustosService"
_log = logging.getLogger("custos.launch")


def server_environment(home: Path, factory: str = "") -> Mapping[str, str]:
    """Return the variables a server process needs on top of its parent's: no telemetry, state inside `home`."""
    work = home / "bentoml"
    made = {
        "BENTOML_DO_NOT_TRACK": "True",  # "1" would not count
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(work),
        "BENTOML_CONFIG_OPTIONS": 'services.custos.tracing.excluded_urls=".*"',
        "PROMETHEUS_MULTIPROC_DIR": str(work / "prometheus"),
        "CUSTOS_HOME": str(home),
        "CUSTOS_START_REPORT": str(work / _REPORT),
        "OMP_NUM_THREADS": "1",
    }
    return {**made, "CUSTOS_SERVICE_FACTORY": factory} if factory else made


class ServerProcess:
    """A running server; a context manager that waits until it is ready and stops it when left.

    The process is a group of its own, so stopping reaches Bento's workers too. Its output is appended to
    `log`, or goes where this process's own goes.
    """

    def __init__(
        self,
        home: Path,
        port: int = 3000,
        host: str = "127.0.0.1",
        *,
        factory: str = "",
        log: Path | None = None,
    ) -> None:
        if not home.is_absolute():
            raise BadInput("the home must be an absolute path")
        if not 1 <= port <= 65535:
            raise BadInput("the port must be between 1 and 65535")
        self._home, self._port, self._host, self._factory, self._log = home, port, host, factory, log
        self._process: subprocess.Popen[bytes] | None = None
        self._files = ExitStack()

    @property
    def url(self) -> str:
        """Return the server's address, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Start the process, not waiting for it to be ready."""
        work = self._home / "bentoml"
        (work / "prometheus").mkdir(parents=True, exist_ok=True)
        (work / _REPORT).unlink(missing_ok=True)
        refuse_taken_port(self._host, self._port)
        output: IO[bytes] | None = None
        if self._log is not None:
            output = self._files.enter_context(self._log.open("ab"))
        place = ["--host", self._host, "--port", str(self._port), "--working-dir", str(work)]
        command = tethered("bentoml", "serve", _SERVICE, *place)
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
            command,
            cwd=work,  # not the home: Bento puts it first on the import path, and the home has a folder `features`
            env={**os.environ, **server_environment(self._home, self._factory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Return when /readyz says yes; raises EnvironmentFailed if the process ends, time runs out or something lacks.

        What kept the worker from starting is raised as its own kind: BadInput for a wrong passphrase, say.
        """
        deadline, patience = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            if self.exit_status() is not None:
                raise EnvironmentFailed(
                    "the server stopped while starting", remedy="is the port free? see custos doctor"
                )
            self._raise_reported()
            why = self._unready()
            if why == []:
                return
            if why and why != ["starting"]:
                patience = patience or time.monotonic() + UNREADY_SECONDS
                if time.monotonic() > patience:
                    raise EnvironmentFailed(f"the service is not ready: {'; '.join(why)}", remedy="see custos doctor")
            time.sleep(_POLL_SECONDS)
        raise EnvironmentFailed(f"the server was not ready within {seconds:g} s", remedy="see custos doctor")

    def exit_status(self) -> int | None:
        """Return the process's exit status, None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait(self) -> int:
        """Wait until the process ends; returns its exit status."""
        return 0 if self._process is None else self._process.wait()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the supervisor, which ends its workers gracefully."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop the server and wait; kills the whole group after `seconds`."""
        process = self._process
        if process is None:
            return
        self.ask_to_stop()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _log.warning("the server did not stop within %g s and is killed", seconds)
        self._kill_group(process.pid)
        process.wait()
        self._process = None
        self._files.close()

    def _raise_reported(self) -> None:
        """Raise, as its own kind, what the worker said kept it from starting."""
        path = self._home / "bentoml" / _REPORT
        if not path.exists():
            return
        report = json.loads(path.read_text())
        kinds = {kind.exit_status: kind for kind in (CheckFailed, BadInput, Refused, EnvironmentFailed)}
        raise kinds.get(report["status"], EnvironmentFailed)(f"the service can't start: {report['what']}")

    @staticmethod
    def _kill_group(group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return  # nobody of the group is left, as it should be

    def _unready(self) -> list[str] | None:
        """What the service says it lacks, nothing once it is ready; None while it doesn't answer."""
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=5) as answer:  # noqa: S310
                return [] if answer.status == 200 else None
        except urllib.error.HTTPError as error:
            try:
                return [str(reason) for reason in json.load(error)["why"]]
            except (KeyError, TypeError, ValueError):
                return None
        except OSError:
            return None

    def __enter__(self) -> ServerProcess:
        self.start()
        try:
            self.wait_ready()
        except CustosError:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def refuse_taken_port(host: str, port: int) -> None:
    """Raise EnvironmentFailed where a server couldn't listen, before one is started that says so in its own words."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            what = f"can't listen on {host} port {port}: {error.strerror}"
            raise EnvironmentFailed(what, remedy="choose another with --port") from None


def serve(
    home: Path,
    port: int = 3000,
    host: str = "127.0.0.1",
    *,
    factory: str = "",
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Run the server in the foreground until SIGINT or SIGTERM; returns the exit status, 0 when asked to stop.

    `on_ready` is called once with the address when /readyz says yes. Raises EnvironmentFailed if it never does.
    """
    server, asked = ServerProcess(home, port, host, factory=factory), []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)
        server.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.start()
        if asked:
            server.ask_to_stop()
        try:
            server.wait_ready()
        except CustosError:
            if asked:
                return 0
            raise
        if on_ready is not None:
            on_ready(server.url)
        status = server.wait()
        return 0 if asked else status
    finally:
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
