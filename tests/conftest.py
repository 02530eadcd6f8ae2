"""What every test shares: a quiet environment, Debian packages that a test may need, a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from mlproject.settings import quiet_environment

from .packages import command_of
from .postgres import Server, running

quiet_environment()  # before any framework is imported
settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

LONGEST = (
    "test_whole_thread",
    "test_job",
    "test_cli",
    "test_doctor",
    "test_damage",
    "test_transforms",
)
"""Files that take longest: begun first, so that workers side by side end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the order within a file, and of all other files."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture
def debian_package() -> Callable[[str, str], str]:
    """Return the path of a command from a Debian package; skip without it, but fail where `.ci/run` promised it."""
    return command_of


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for the whole run; skips where PostgreSQL or its driver is missing."""
    with running() as server:
        yield server
