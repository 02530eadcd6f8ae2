"""What a long job shows while it runs, and what it measured: the stage's name, seconds and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Measured", "Stages"]

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """What one stage took: wall seconds and peak resident megabytes (MB = 10^6 bytes)."""

    name: str
    seconds: float
    peak_mb: float


@dataclass
class Stages:
    """Runs named stages one after the other, shows them on standard error, keeps what each took.

    On a terminal the running stage has a live bar; elsewhere each prints a line when it begins and one when it ends.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True))
    quiet: bool = False
    done: list[Measured] = field(default_factory=list)
    _progress: Progress | None = None
    _task: TaskID | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run one stage; an exception leaves it unmeasured and passes through."""
        start = time.perf_counter()
        _reset_peak()
        live = self.console.is_terminal and not self.quiet
        if live:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.start()
            self._task = self._progress.add_task(name, total=None, detail="")
        elif not self.quiet:
            self.console.print(f"  {name} ...", highlight=False, markup=False)
        try:
            yield
        finally:
            if self._progress is not None:
                self._progress.stop()
                self._progress = self._task = None
        measured = Measured(name, time.perf_counter() - start, _peak_mb())
        self.done.append(measured)
        if not self.quiet:
            line = f"  {name:<34} {measured.seconds:6.1f} s  {measured.peak_mb:6.0f} MB"
            self.console.print(line, highlight=False, markup=False)

    def progress(self, detail: str, done: int, total: int) -> None:
        """Show how far the running stage is: `done` of `total` units of `detail`."""
        if self._progress is not None and self._task is not None:
            text = f"{detail} {done:,} of {total:,}" if total else f"{detail} {done:,}"
            self._progress.update(self._task, completed=done, total=total or None, detail=text)


def _reset_peak() -> None:
    # Linux forgets the high-water mark when 5 is written here; elsewhere the mark is the process's own.
    if _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text("5")
        except OSError:
            return


def _peak_mb() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
