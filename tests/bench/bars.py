"""A figure beside its bar: what every bench of this folder answers."""

from __future__ import annotations

from dataclasses import dataclass


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
