"""What is asked of an anonymised table, whoever fulfils it and whoever checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from privacy.errors import BadInput

__all__ = ["GROUP_FLOOR", "LEAST_PEOPLE", "Demands", "Entropy"]

GROUP_FLOOR: Final = 10
"""The fewest people of whom a class, or a figure without noise, is told as a group, where nobody says otherwise."""
LEAST_PEOPLE: Final = 5
"""The fewest that are told as a group whatever a shop says."""


@dataclass(frozen=True)
class Entropy:
    """Entropy l-diversity: the values of every class are as mixed as `l` equally frequent ones at least."""

    l: float  # noqa: E741 - the literature's name

    def __post_init__(self) -> None:
        is_number = isinstance(self.l, int | float) and not isinstance(self.l, bool)
        if not is_number or not 1 <= self.l < float("inf"):
            raise BadInput("entropy l must be a number, 1 or more")


@dataclass(frozen=True)
class Demands:
    """What a release must fulfil: k rows a class, and in each sensitive column l and t where they are given."""

    k: int
    l: int | Entropy | None = None  # noqa: E741 - the literature's name
    t: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 2:
            raise BadInput("k must be a whole number, 2 or more")
        is_count = isinstance(self.l, int) and not isinstance(self.l, bool) and self.l >= 1
        if self.l is not None and not isinstance(self.l, Entropy) and not is_count:
            raise BadInput("l must be a whole number, 1 or more, or Entropy(number)")
        if self.t is not None and (
            isinstance(self.t, bool) or not isinstance(self.t, int | float) or not 0 < self.t <= 1
        ):
            raise BadInput("t must be a number above 0, at most 1")

    @property
    def of_values(self) -> bool:
        """Whether anything is asked of sensitive columns."""
        return self.l is not None or self.t is not None
