"""A measured figure beside its bar, and the CPU time that most of them are made of."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Bar", "cpu_seconds", "tell"]


@dataclass(frozen=True)
class Bar:
    """One figure beside its bar; a figure that wasn't measured is None and fails."""

    name: str
    measured: float | None
    bar: float
    at_most: bool

    @property
    def holds(self) -> bool:
        if self.measured is None:
            return False
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar

    def line(self) -> str:
        shown = "not run" if self.measured is None else f"{self.measured:.4f}"
        sign = "<=" if self.at_most else ">="
        return f"{self.name:<44} {shown:>10}  {sign} {self.bar:<8.4f} {'ok' if self.holds else 'MISSED'}"


def cpu_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """The least CPU time, user and system, that one of several rounds took: others on the machine only add."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def tell(bars: list[Bar]) -> int:
    """Print bars, as JSON with `--json`; the exit status of a bench that was run by itself."""
    if "--json" in sys.argv[1:]:
        print(json.dumps([bar.__dict__ for bar in bars]))
    else:
        for bar in bars:
            print(bar.line())
    return int(not all(bar.holds for bar in bars))
