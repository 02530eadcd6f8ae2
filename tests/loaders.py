"""Loaders of a shop that misbehave, named by descriptors in tests."""

from __future__ import annotations

import sys

from tests.canaries import CANARIES


def raising() -> None:
    """Fail with a text that quotes a person."""
    raise OSError(5, CANARIES[0].email, f"/{CANARIES[0].customer_id}")


def exiting() -> None:
    """Leave the program as if all were well."""
    sys.exit(0)
