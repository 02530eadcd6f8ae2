"""Directories and files that only their owner may open, whatever the umask says."""

from __future__ import annotations

from pathlib import Path

from privacy.errors import EnvironmentFailed

__all__ = ["close_to_others", "make_private"]


def make_private(directory: Path) -> None:
    """Make `directory` and the missing ones above it with mode 0700; those that exist stay as they are."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailed(f"cannot write: {error.strerror}", where=str(directory)) from None


def close_to_others(*files: Path) -> None:
    """Give files that a library wrote mode 0600; those that don't exist are passed over."""
    for file in files:
        try:
            file.chmod(0o600)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EnvironmentFailed(f"cannot set its mode: {error.strerror}", where=str(file)) from None
