"""Group commit: whoever comes while one group is being written is written with the next, by one of their threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from privacy.errors import CustosError, EnvironmentFailed

__all__ = ["GroupCommit"]

Item = TypeVar("Item")


@dataclass(eq=False, slots=True)
class _Ticket(Generic[Item]):
    items: Sequence[Item]
    settled: bool = False
    failure: CustosError | None = None


class GroupCommit(Generic[Item]):
    """Hands items of many threads to `commit`, one group at a time, each submission whole and in order.

    A thread that waits for the one at work finds itself either written or the first of the next group, which it
    then writes for all. A group succeeds or fails as one.
    """

    def __init__(self, commit: Callable[[list[Item]], None]) -> None:
        self._commit = commit
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._queue, self._at_work = threading.Lock(), threading.Lock()
        self._waiting: list[_Ticket[Item]] = []

    def submit(self, items: Sequence[Item]) -> None:
        """Return when the items are committed; raises what `commit` raised, CheckFailed or EnvironmentFailed.

        When another thread wrote them and was stopped, it is unknown how far it came: EnvironmentFailed.
        """
        if self._process != os.getpid():
            self._reset()  # a fork has only this thread: locks and tickets of the others stay with the parent
        ticket = _Ticket(items)
        with self._queue:
            self._waiting.append(ticket)
        with self._at_work:
            if not ticket.settled:
                self._settle()
        if ticket.failure is not None:
            failure = ticket.failure  # each thread raises its own, as tracebacks grow on what is raised
            raise type(failure)(failure.what, where=failure.where, remedy=failure.remedy)

    def _settle(self) -> None:
        with self._queue:
            group, self._waiting = self._waiting, []
        failure: CustosError | None = EnvironmentFailed(
            "the thread that wrote the audit events was stopped", remedy="nothing was acknowledged; try again"
        )
        try:
            self._commit([item for ticket in group for item in ticket.items])
            failure = None
        except CustosError as error:
            failure = error
        finally:
            for ticket in group:
                ticket.failure, ticket.settled = failure, True
