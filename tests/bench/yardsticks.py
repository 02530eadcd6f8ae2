"""Other people's tools, each in an environment of its own beside ours: they pin versions that ours can't live with."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

__all__ = ["REQUIREMENTS", "answer_of", "python_of"]

ROOT: Final = Path(__file__).parents[2]
PLACE: Final = ROOT / ".venv" / "yardsticks"
REQUIREMENTS: Final = MappingProxyType(
    {
        "anjana": ("anjana==1.2.3", "pyarrow"),  # brings pycanon
        "anonymeter": ("anonymeter==1.1.0",),
        "presidio": ("presidio-analyzer==2.2.366",),
    }
)
"""Yardstick -> what its environment is made of."""


def python_of(name: str) -> Path | None:
    """The interpreter of a yardstick's environment, made when it is missing; None, having said why, if it can't be."""
    wanted = REQUIREMENTS[name]
    mark = hashlib.sha256("\n".join((*wanted, sys.version)).encode()).hexdigest()[:12]
    home = PLACE / f"{name}-{mark}"
    python = home / "bin" / "python"
    if (home / ".installed").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    asked = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        print(f"the yardstick {name} can't be installed: {last}", file=sys.stderr)
        return None
    (home / ".installed").touch()
    return python


def answer_of(name: str, script: str, question: object) -> Any:
    """What a yardstick's script prints as JSON, given `question` as JSON on its input; None if it doesn't run.

    `script` is a file of this folder that imports nothing of ours.
    """
    python = python_of(name)
    if python is None:
        return None
    asked = [str(python), "-I", str(Path(__file__).with_name(script))]
    done = subprocess.run(asked, input=json.dumps(question), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        print(f"the yardstick {name} doesn't run: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout)
