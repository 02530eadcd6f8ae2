"""What every test shares: a quiet environment, and Debian packages that a test may need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from mlproject.settings import quiet_environment

quiet_environment()  # before any framework is imported


@pytest.fixture
def debian_package() -> Callable[[str, str], str]:
    """Return the path of a command from a Debian package; skip without it, but fail where `.ci/run` promised it."""

    def find(command: str, package: str) -> str:
        path = shutil.which(command)
        if path is None:
            reason = f"needs the Debian package {package}"
            if os.environ.get("CUSTOS_REQUIRE_PACKAGES") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
