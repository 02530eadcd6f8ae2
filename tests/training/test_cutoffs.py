"""Cut-offs: fixed ones, derived ones, and histories too short for any."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import BadInput
from training.cutoffs import CutoffPlan, Task, plan_cutoffs

START = datetime(2017, 1, 1, 11, 53, tzinfo=UTC)
YEAR_END = datetime(2018, 1, 2, 4, tzinfo=UTC)


def week(number: int) -> datetime:
    return datetime(2017, 1, 1, tzinfo=UTC) + timedelta(weeks=number)


def test_descriptor_cutoffs_are_taken_and_extended_to_the_closed_ones() -> None:
    task = Task("clv", 112, None, tuple(week(n) for n in (12, 14, 16, 18, 20)), (week(36),))
    plan = plan_cutoffs(task, START, YEAR_END)
    assert plan.origin == "descriptor"
    assert plan.train == task.train_cutoffs
    assert plan.closed == tuple(week(n) for n in range(12, 37, 2))


def test_descriptor_cutoffs_not_complete_at_as_of_give_way_to_the_history() -> None:
    task = Task("clv", 56, None, (week(12),), (week(36),))
    plan = plan_cutoffs(task, START, week(40))
    assert plan.origin == "history"
    assert plan.test == (week(32),)


def test_churn_gets_two_tests_on_a_long_history() -> None:
    plan = plan_cutoffs(Task("churn", 28, 56), START, week(52))
    assert plan.test == (week(44), week(48))
    assert plan.train == tuple(week(n) for n in (16, 20, 24, 28, 32, 36, 40))
    assert plan.closed == tuple(week(n) for n in range(16, 49, 4))


def test_cdnow_gets_the_published_split() -> None:
    plan = plan_cutoffs(Task("clv", 182), datetime(1997, 1, 1, tzinfo=UTC), datetime(1998, 6, 30, tzinfo=UTC))
    assert [f"{moment:%m-%d}" for moment in plan.train] == ["05-20", "06-10", "07-01"]
    assert plan.test == (datetime(1997, 12, 30, tzinfo=UTC),)


@given(
    st.sampled_from(["churn", "clv"]),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(0, 900),
    st.integers(0, 23),
)
def test_plans_never_leak(target: str, horizon: int, active: int, extra: int, hour: int) -> None:
    task = Task(target, horizon, active if target == "churn" else None)
    as_of = START.replace(hour=hour) + timedelta(days=task.shortest_history_days + extra)
    plan = plan_cutoffs(task, START, as_of)
    gap = timedelta(days=horizon)
    assert max(plan.train) + gap <= min(plan.test)
    assert max(plan.closed) + gap <= as_of
    assert plan.test[-1] + gap > as_of - timedelta(days=1)
    assert min(plan.train) > START
    assert set(plan.train) | set(plan.test) <= set(plan.closed)
    assert list(plan.train) == sorted(set(plan.train))


@pytest.mark.parametrize(
    ("task", "needed"), [(Task("churn", 28, 56), 56 + 2 * 28), (Task("clv", 28), 28 + 2 * 28), (Task("clv", 112), 308)]
)
def test_short_history_says_how_much_is_needed(task: Task, needed: int) -> None:
    with pytest.raises(BadInput, match=f"at least {needed} days are needed"):
        plan_cutoffs(task, START, START + timedelta(days=needed - 1))
    assert plan_cutoffs(task, START, START + timedelta(days=needed)).train


def test_overlapping_labels_are_refused() -> None:
    with pytest.raises(BadInput, match="reaches into the test"):
        CutoffPlan((week(12),), (week(13),), (week(12), week(13)), 28, "descriptor")
    with pytest.raises(BadInput, match="among the closed"):
        CutoffPlan((week(1),), (week(13),), (week(13),), 28, "descriptor")


def test_task_reads_a_descriptor() -> None:
    class Target:
        horizon_days = 28
        active_within_days = 56
        train_cutoffs = (date(2017, 5, 1), date(2017, 4, 1))
        test_cutoffs = (datetime(2017, 11, 5),)  # noqa: DTZ001  a descriptor's naive moment is UTC

    task = Task.of("churn", Target())
    assert task.active_within_days == 56
    assert task.train_cutoffs == (datetime(2017, 4, 1, tzinfo=UTC), datetime(2017, 5, 1, tzinfo=UTC))
    assert task.test_cutoffs == (datetime(2017, 11, 5, tzinfo=UTC),)
    assert Task.of("clv", Target()).active_within_days is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Task("fraud", 28),
        lambda: Task("clv", 0),
        lambda: Task("churn", 28, -1),
        lambda: Task("clv", 28, None, (week(1),)),
        lambda: plan_cutoffs(Task("clv", 28), datetime(2017, 1, 1), YEAR_END),  # noqa: DTZ001
    ],
)
def test_nonsense_is_refused(wrong: object) -> None:
    with pytest.raises(BadInput):
        wrong()  # type: ignore[operator]
