"""The two servers a home offers, both on loopback: predictions and the MLflow pages."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from types import FrameType
from typing import TYPE_CHECKING

import click

from mlproject.settings import quiet_environment
from privacy.errors import BadInput, EnvironmentFailed

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["mlflow_link", "serve_mlflow", "serve_predictions"]


def mlflow_link(port: int = 5000) -> str:
    """Return the address of the runs; MLflow opens in its GenAI mode unless told otherwise.

    >>> mlflow_link()
    'http://127.0.0.1:5000/#/experiments?workflowType=machine_learning'
    """
    return f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"


def serve_mlflow(house: House, port: int) -> int:
    """Run the home's MLflow server, lean, until it is stopped; return its exit status."""
    paths = house.paths
    if not paths.mlflow_database.exists():
        raise BadInput("no run was tracked yet", where=str(paths.root), remedy="run `custos run DATASET` first")
    from serving.launch import refuse_taken_port
    from serving.tethered import tethered

    refuse_taken_port("127.0.0.1", port)
    environment = {**quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = tethered("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    command += ["--backend-store-uri", f"sqlite:///{paths.mlflow_database}"]
    command += ["--default-artifact-root", paths.mlflow_artifacts.as_uri()]
    click.echo(f"Runs and models: {mlflow_link(port)}")
    return _until_stopped(command, environment)


def serve_predictions(house: House, port: int) -> int:
    """Run the prediction service until it is stopped; return its exit status."""
    from serving.launch import serve

    if not house.paths.state.exists():
        raise BadInput(
            "this home holds no data yet",
            where=str(house.paths.root),
            remedy="run `custos run DATASET` first",
        )
    _ = house.sealed
    return serve(house.paths.root, port, on_ready=lambda url: click.echo(f"Serving on {url}; stop with Ctrl-C"))


def _until_stopped(command: list[str], environment: dict[str, str]) -> int:
    # A group of its own, so that stopping reaches the workers too.
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - our own arguments
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if asked else int(status != 0) * EnvironmentFailed.exit_status
