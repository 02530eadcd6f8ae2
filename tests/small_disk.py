"""A small disk of a test's own, which fills up as real ones do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["all_but", "mounted"]


@contextmanager
def mounted(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of that size at `place`, gone afterwards; skip where that isn't allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def all_but(disk: Path, spare: int) -> Iterator[None]:
    """Leave `spare` bytes of the disk free in the block."""
    usage, ballast = os.statvfs(disk), disk / "ballast"
    ballast.write_bytes(bytes(max(usage.f_bavail * usage.f_frsize - spare, 0)))
    try:
        yield
    finally:
        ballast.unlink()
