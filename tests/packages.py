"""Commands of Debian packages: a test without one skips, but fails where `.ci/run` promised it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

SERVERS = Path("/usr/lib/postgresql")
"""Debian keeps a server's commands off the path, by version."""


def command_of(command: str, package: str) -> str:
    """Return the path of `command`, or skip."""
    path = shutil.which(command) or next(map(str, sorted(SERVERS.glob(f"*/bin/{command}"), reverse=True)), None)
    if path is None:
        absent(f"needs the Debian package {package}")
    return path


def module_of(module: str, extra: str) -> None:
    """Skip unless the Python module is installed."""
    if importlib.util.find_spec(module) is None:
        absent(f"needs {module}, of the extra custos[{extra}]")


def absent(reason: str) -> None:
    """Skip, or fail where nothing may be skipped for want of a package."""
    if os.environ.get("CUSTOS_REQUIRE_PACKAGES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
