"""A home of its own for tests, driven through the real command line; keeps everything that was printed."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlproject.cli import main


@dataclass
class Home:
    """A home below `folder`, and everything that was ever printed or answered there."""

    folder: Path
    spoken: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.user.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """The home itself."""
        return self.folder / "home"

    @property
    def user(self) -> Path:
        """Where processes started here find HOME and TMPDIR."""
        return self.folder / "user"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process started here sees: every place it might write to lies in the folder."""
        places = {name: str(self.user) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        return {**os.environ, **places, "CUSTOS_HOME": str(self.path)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one command as a process; its output goes to a log in the user's folder."""
        command = [sys.executable, "-m", "mlproject", *arguments]
        with (self.user / "commands.log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.folder)

    def process(self, *arguments: str) -> None:
        """Run one command as a process of its own, which must succeed."""
        assert self.start(*arguments).wait(300) == 0, (self.user / "commands.log").read_text()[-3000:]

    def let_go(self) -> None:
        """Close what earlier commands hold open: SQLite takes a database's log away by its path, whoever's it is."""
        gc.collect()

    def custos(self, *arguments: str, expect: int = 0) -> str:
        """Run one command in this process, whose frameworks are loaded; return what it printed."""
        shown, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
            status = main([*arguments, "--home", str(self.path)])
        self.spoken += [shown.getvalue().encode(), told.getvalue().encode()]
        assert status == expect, told.getvalue()[-3000:]
        return shown.getvalue()
