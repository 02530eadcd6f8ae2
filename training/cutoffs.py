"""Which moments a model is trained on, tested on and refitted on: every label window closed before the test.

first event |--warm-up--| train cut-offs ... |--H--| test cut-off(s) |--H--| as_of
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

from privacy.errors import BadInput
from training.models._base import CHURN, CLV

__all__ = ["CutoffPlan", "Task", "plan_cutoffs"]

_WEEK: Final = 7
_SHORTEST_WARM_UP: Final = 28


class _Horizon(Protocol):
    """What a descriptor says about one target; cut-offs are optional there."""

    @property
    def horizon_days(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Task:
    """One target of one shop: the horizon H, who counts as active, and cut-offs the descriptor fixes."""

    target: str
    horizon_days: int
    active_within_days: int | None = None
    train_cutoffs: tuple[datetime, ...] = ()
    test_cutoffs: tuple[datetime, ...] = ()

    def __post_init__(self) -> None:
        if self.target not in (CHURN, CLV):
            raise BadInput(f"unknown target {self.target!r}", remedy=f"use {CHURN} or {CLV}")
        if self.horizon_days < 1 or (self.active_within_days or 1) < 1:
            raise BadInput(f"the {self.target} horizon and activity window must be at least one day")
        if bool(self.train_cutoffs) != bool(self.test_cutoffs):
            raise BadInput(f"targets.{self.target} fixes only one of train_cutoffs and test_cutoffs")

    @classmethod
    def of(cls, target: str, spec: _Horizon) -> Task:
        """Read a task from a descriptor's `targets.churn` or `targets.clv`."""
        return cls(
            target=target,
            horizon_days=spec.horizon_days,
            active_within_days=getattr(spec, "active_within_days", None) if target == CHURN else None,
            train_cutoffs=_moments(getattr(spec, "train_cutoffs", None)),
            test_cutoffs=_moments(getattr(spec, "test_cutoffs", None)),
        )

    @property
    def warm_up_days(self) -> int:
        """Days of history wanted before the first training cut-off."""
        wanted = 2 * (self.active_within_days or self.horizon_days)
        return max(_SHORTEST_WARM_UP, wanted if self.target == CHURN else round(0.75 * self.horizon_days))

    @property
    def shortest_history_days(self) -> int:
        """Days from the first event to as_of below which no honest test is possible."""
        least = max(_SHORTEST_WARM_UP, self.active_within_days or round(0.75 * self.horizon_days))
        return least + 2 * self.horizon_days


@dataclass(frozen=True, slots=True)
class CutoffPlan:
    """Training, test and closed cut-offs (UTC, ascending); refuses any overlap of labels with the test."""

    train: tuple[datetime, ...]
    test: tuple[datetime, ...]
    closed: tuple[datetime, ...]
    horizon_days: int
    origin: str

    def __post_init__(self) -> None:
        horizon = timedelta(days=self.horizon_days)
        if max(self.train) + horizon > min(self.test):
            raise BadInput(
                f"a training label window of {self.horizon_days} days reaches into the test",
                remedy="move train_cutoffs at least one horizon before the first test cut-off",
            )
        if not set(self.train) | set(self.test) <= set(self.closed):
            raise BadInput("every training and test cut-off must be among the closed ones")

    @property
    def all(self) -> tuple[datetime, ...]:
        """Every cut-off for which features and outcomes are needed, ascending."""
        return tuple(sorted({*self.train, *self.test, *self.closed}))

    def describe(self) -> dict[str, object]:
        """Return the plan as days, for reports and tags."""
        return {
            "train": [f"{moment:%Y-%m-%d}" for moment in self.train],
            "test": [f"{moment:%Y-%m-%d}" for moment in self.test],
            "closed": [f"{moment:%Y-%m-%d}" for moment in self.closed],
            "horizon_days": self.horizon_days,
            "origin": self.origin,
        }


def plan_cutoffs(task: Task, first_event: datetime, as_of: datetime) -> CutoffPlan:
    """Choose the cut-offs of a task from the length of the history, or take those the descriptor fixes.

    The test is the latest complete window (two for churn where the history allows), training windows end before
    it, and the closed ones run from the first training cut-off to the latest window complete at `as_of`.
    A descriptor's cut-offs hold only while their test windows are complete at `as_of`.

    Raises:
        BadInput: the history is too short; says how long it must be.

    >>> clv = Task("clv", 112)
    >>> plan = plan_cutoffs(clv, datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 12, 31, tzinfo=UTC))
    >>> plan.describe()["train"]
    ['2017-03-26', '2017-04-09', '2017-04-23', '2017-05-07', '2017-05-21']
    >>> plan.describe()["test"]
    ['2017-09-10']
    """
    first, now = _day(first_event), _day(as_of)
    horizon = timedelta(days=task.horizon_days)
    if task.test_cutoffs and max(task.test_cutoffs) + horizon <= as_of.astimezone(UTC):
        train, test = tuple(sorted(task.train_cutoffs)), tuple(sorted(task.test_cutoffs))
        return CutoffPlan(train, test, _closed(train, test, horizon, now), task.horizon_days, "descriptor")
    history = (now - first).days
    if history < task.shortest_history_days:
        raise BadInput(
            f"{history} days of history are too short to test {task.target} over {task.horizon_days} days",
            remedy=f"at least {task.shortest_history_days} days are needed, or a shorter horizon",
        )
    least = timedelta(days=task.shortest_history_days) - 2 * horizon
    wanted = timedelta(days=task.warm_up_days)
    latest_test = now - horizon
    two = task.target == CHURN and latest_test - 3 * horizon >= first + wanted
    test = (latest_test - horizon, latest_test) if two else (latest_test,)
    last = min(test) - horizon
    start = first + (wanted if last - 2 * horizon >= first + wanted else least)
    train = _training(task, max(min(start, last), first + least), last)
    return CutoffPlan(train, test, _closed(train, test, horizon, now), task.horizon_days, "history")


def _training(task: Task, start: datetime, last: datetime) -> tuple[datetime, ...]:
    """Stack snapshots back from `last`: churn a horizon apart, CLV an eighth (its windows overlap anyway)."""
    most, ideal = (8, task.horizon_days) if task.target == CHURN else (5, task.horizon_days / 8)
    step = _whole_weeks(ideal)
    room = (last - start).days
    if room // step < 2:
        step = _whole_weeks(room / 2) if room >= 2 * _WEEK else max(1, room)
    count = min(most, room // step + 1)
    return tuple(last - timedelta(days=step * back) for back in reversed(range(count)))


def _closed(
    train: Sequence[datetime], test: Sequence[datetime], horizon: timedelta, now: datetime
) -> tuple[datetime, ...]:
    """Continue the training spacing up to the latest window complete now; windows already tested belong too."""
    step = min((later - earlier for earlier, later in pairwise(train)), default=horizon)
    found = {*train, *test}
    moment = max(train) + step
    while moment + horizon <= now:
        found.add(moment)
        moment += step
    return tuple(sorted(found))


def _whole_weeks(days: float) -> int:
    # Whole weeks keep each cut-off on the same weekday; floor, so that the snapshots fit.
    return max(1, round(days)) if days < _WEEK else int(days // _WEEK) * _WEEK


def _day(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise BadInput("a moment without a time zone was given as first event or as_of")
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _moments(values: Sequence[datetime] | None) -> tuple[datetime, ...]:
    return tuple(sorted(_aware(value) for value in values or ()))


def _aware(value: datetime) -> datetime:
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
