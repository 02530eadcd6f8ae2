"""Feast's own command line on a home: it lists and materialises, and can't empty the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.definitions import PERSON
from features.online import rows_at
from tests.features.conftest import AS_OF

REPOSITORY = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


def feast(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "feast"), "-c", str(REPOSITORY / "features"), *arguments]
    environment = {**os.environ, "CUSTOS_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=300)


def test_views_are_listed_and_materialised_and_apply_is_refused(served) -> None:  # type: ignore[no-untyped-def]
    home, gateway, _ = served
    registry = home.root / "feast" / "registry.db"
    listed = feast(home.root, "feature-views", "list")
    assert listed.returncode == 0, listed.stderr
    assert PERSON in listed.stdout

    rows = rows_at(home.paths.online, "custos")
    before = {view: rows.people(view) for view in (PERSON, "rfm")}
    home.online_file.unlink()
    made = feast(home.root, "materialize", "2023-01-01T00:00:00", AS_OF.strftime("%Y-%m-%dT%H:%M:%S"))
    assert made.returncode == 0, made.stderr[-2000:]
    assert {view: rows.people(view) for view in before} == before
    assert gateway.unready() == ""

    stored = registry.read_bytes()
    refused = feast(home.root, "apply")
    assert refused.returncode != 0
    assert "would empty the registry" in refused.stdout + refused.stderr
    assert registry.read_bytes() == stored
