"""`python -m serving.tethered PARENT MODULE ...`: run a module's program that is told to stop when its parent dies.

A parent killed outright stops nobody, and its server would go on holding the port. Linux tells the child.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

__all__ = ["stop_with_parent", "tethered"]

_PR_SET_PDEATHSIG: Final = 1


def tethered(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `python -m module arguments` for as long as this process lives."""
    return [sys.executable, "-m", "serving.tethered", str(os.getpid()), module, *arguments]


def stop_with_parent() -> None:
    """Let this process get SIGTERM when its parent dies; nothing where the system isn't Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # prctl(2); kept over exec, not by children


def main(parent: int, module: str) -> None:
    """Ask for SIGTERM at the parent's end, then become the program of `module`."""
    stop_with_parent()
    if os.getppid() != parent:
        sys.exit(0)  # it died before we asked
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _, _parent, _module, *_rest = sys.argv
    sys.argv = [_module, *_rest]
    main(int(_parent), _module)
