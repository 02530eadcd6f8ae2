"""How sure a measured share is: Wilson intervals, and the risk that is left when a control's share is taken off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from privacy.errors import BadInput

__all__ = ["Estimate", "Rate", "checked_level", "residual"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the interval that holds it with the stated confidence; all three are shares from 0 to 1."""

    value: float
    low: float
    high: float

    def text(self) -> str:
        """The figure to read.

        >>> Estimate(0.25, 0.2, 0.31).text()
        '0.250 [0.200, 0.310]'
        """
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float]:
        """Return it as JSON types."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Rate:
    """`successes` of `attempts`, told with a Wilson score interval at confidence `level`.

    The interval is Wilson's (1927, JASA 22, 209-212), which holds for few attempts and for shares near 0 and 1.

    >>> Rate(8, 10).estimate().text()
    '0.800 [0.490, 0.943]'
    """

    successes: int
    attempts: int
    level: float = 0.95

    def __post_init__(self) -> None:
        checked_level(self.level)
        if not 0 <= self.successes <= self.attempts or self.attempts < 1:
            raise BadInput("a rate needs at least one attempt, and no more successes than attempts")

    @property
    def value(self) -> float:
        """The observed share."""
        return self.successes / self.attempts

    @property
    def centre(self) -> float:
        """The middle of the interval: the share drawn towards one half, as far as the attempts are few."""
        z = _quantile(self.level)
        return (self.successes + z * z / 2) / (self.attempts + z * z)

    @property
    def margin(self) -> float:
        """Half the width of the interval."""
        z = _quantile(self.level)
        spread = self.successes * (self.attempts - self.successes) / self.attempts
        return z / (self.attempts + z * z) * math.sqrt(spread + z * z / 4)

    def estimate(self) -> Estimate:
        """The observed share in its interval."""
        low = 0.0 if self.successes == 0 else max(self.centre - self.margin, 0.0)
        high = 1.0 if self.successes == self.attempts else min(self.centre + self.margin, 1.0)
        return Estimate(self.value, low, high)

    def to_dict(self) -> dict[str, float]:
        """Return it as JSON types."""
        return {**self.estimate().to_dict(), "successes": self.successes, "attempts": self.attempts}


def residual(attack: Rate, control: Rate) -> Estimate:
    """The share of what the control leaves to gain that the attack gains: (a - c) / (1 - c), never below 0.

    a and c are the centres of the Wilson intervals, and their margins are carried on to first order, as in Giomi et
    al. (2023, PoPETs, "A unified framework for quantifying privacy risk in synthetic data"): people who aren't in a
    table are attacked with it just as well where it tells of everybody, and only what goes beyond that is a leak.

    >>> residual(Rate(60, 100), Rate(20, 100)).text()
    '0.488 [0.359, 0.618]'
    """
    left = 1.0 - control.centre
    value = (attack.centre - control.centre) / left
    margin = math.hypot(attack.margin / left, control.margin * (1.0 - attack.centre) / left**2)
    value, low, high = (min(max(bound, 0.0), 1.0) for bound in (value, value - margin, value + margin))
    return Estimate(value, low, high)


def checked_level(level: float) -> float:
    """The confidence level, if it is one; BadInput otherwise."""
    if not 0.0 < level < 1.0:
        raise BadInput("a confidence level lies between 0 and 1", remedy="use 0.95")
    return level


@lru_cache(maxsize=64)
def _quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1.0 + level) / 2.0)
