from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from privacy.audit_group import GroupCommit
from privacy.errors import CheckFailed, EnvironmentFailed


class Gate:
    """A commit that notes each group and waits to be let through."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began, self.open = threading.Semaphore(0), threading.Event()
        self.fails: BaseException | None = None
        self.group = GroupCommit[int](self.commit)

    def commit(self, items: list[int]) -> None:
        self.groups.append(items)
        self.began.release()
        self.open.wait(30)
        if self.fails is not None:
            raise self.fails

    def started(self, submissions: list[list[int]]) -> Callable[[], list[BaseException | None]]:
        """Submit each in a thread, the first alone at work and the others waiting; call the answer to let go."""
        outcomes: list[BaseException | None] = [None] * len(submissions)

        def submit(number: int) -> None:
            try:
                self.group.submit(submissions[number])
            except BaseException as error:  # noqa: BLE001
                outcomes[number] = error

        threads = [threading.Thread(target=submit, args=(number,)) for number in range(len(submissions))]
        threads[0].start()
        self.began.acquire()
        for thread in threads[1:]:
            thread.start()
        while len(self.group._waiting) < len(threads) - 1:
            os.sched_yield()

        def let_go() -> list[BaseException | None]:
            self.open.set()
            for thread in threads:
                thread.join()
            return outcomes

        return let_go


def test_who_waits_is_written_together_and_each_submission_stays_whole() -> None:
    gate = Gate()
    assert gate.started([[1], [2, 3], [4], [5, 6, 7]])() == [None] * 4
    assert gate.groups[0] == [1]
    assert len(gate.groups) == 2
    assert sorted(gate.groups[1]) == [2, 3, 4, 5, 6, 7]
    together = "".join(map(str, gate.groups[1]))
    assert "23" in together
    assert "567" in together


def test_alone_nobody_waits() -> None:
    groups: list[list[int]] = []
    group = GroupCommit[int](groups.append)
    for number in range(3):
        group.submit([number])
    assert groups == [[0], [1], [2]]


def test_a_group_fails_as_one_and_each_thread_has_its_own_error() -> None:
    gate = Gate()
    let_go = gate.started([[1], [2], [3]])
    gate.fails = CheckFailed("cut off", where="line 3", remedy="restore it")
    outcomes = let_go()
    assert [str(error) for error in outcomes] == ["cut off (line 3); restore it"] * 3
    assert [type(error) for error in outcomes] == [CheckFailed] * 3
    assert len({id(error) for error in outcomes}) == 3


def test_a_writer_who_is_stopped_acknowledges_nobody_and_the_next_goes_on() -> None:
    groups: list[list[int]] = []
    stop = [True]

    def commit(items: list[int]) -> None:
        groups.append(items)
        if stop.pop():
            raise KeyboardInterrupt

    group = GroupCommit[int](commit)
    with pytest.raises(KeyboardInterrupt):
        group.submit([1])
    stop.append(False)
    group.submit([2])
    assert groups == [[1], [2]]


def test_who_was_written_by_a_stopped_thread_is_told_so() -> None:
    gate = Gate()
    let_go = gate.started([[1], [2], [3], [4]])
    gate.fails = KeyboardInterrupt()
    first, *others = let_go()
    assert isinstance(first, KeyboardInterrupt)
    kinds = sorted(type(error).__name__ for error in others)
    assert kinds == ["EnvironmentFailed", "EnvironmentFailed", "KeyboardInterrupt"]
    assert any(isinstance(error, EnvironmentFailed) and "was stopped" in str(error) for error in others)


def test_a_fork_does_not_inherit_who_was_at_work() -> None:
    gate = Gate()
    let_go = gate.started([[1], [2]])
    child = os.fork()
    if child == 0:
        gate.open.set()
        gate.groups.clear()
        gate.group.submit([3])
        os._exit(0 if gate.groups == [[3]] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert let_go() == [None, None]
    assert gate.groups == [[1], [2]]
