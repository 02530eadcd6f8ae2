"""What a descriptor says of the targets: horizons, activity and fixed cut-offs."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated

from pydantic import Field, PrivateAttr

from .strict import Strict

__all__ = ["ChurnTarget", "ClvTarget", "Cutoffs", "Targets"]

Day = Annotated[dt.date, Field(ge=dt.date(1970, 1, 2), lt=dt.date(2200, 1, 1))]


class Cutoffs(Strict):
    """Fixed cut-off dates of a benchmark; each is midnight in the shop's time zone."""

    train: tuple[Day, ...] = Field(min_length=1)
    test: tuple[Day, ...] = Field(min_length=1)


class _Target(Strict):
    horizon_days: int = Field(ge=1, le=3650)
    cutoffs: Cutoffs | None = None
    _zone: str = PrivateAttr(default="UTC")

    @property
    def train_cutoffs(self) -> tuple[dt.datetime, ...] | None:
        """Training cut-offs as UTC instants, ascending, or None if they follow from the data."""
        return _instants(self.cutoffs.train, self._zone) if self.cutoffs else None

    @property
    def test_cutoffs(self) -> tuple[dt.datetime, ...] | None:
        """Test cut-offs as UTC instants, ascending, or None if they follow from the data."""
        return _instants(self.cutoffs.test, self._zone) if self.cutoffs else None


class ChurnTarget(_Target):
    """Churn: no purchase in `horizon_days`, among who bought in `active_within_days`."""

    active_within_days: int = Field(ge=1, le=3650)


class ClvTarget(_Target):
    """Customer value: net spend in `horizon_days`."""


class Targets(Strict):
    """What is predicted for this shop."""

    churn: ChurnTarget
    clv: ClvTarget


def _instants(days: tuple[dt.date, ...], zone: str) -> tuple[dt.datetime, ...]:
    local = (dt.datetime.combine(day, dt.time(), zoneinfo.ZoneInfo(zone)) for day in sorted(set(days)))
    return tuple(moment.astimezone(dt.UTC) for moment in local)
