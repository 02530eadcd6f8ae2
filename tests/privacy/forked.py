"""Work in a child process, which may be made to kill itself at any of its steps, as a power cut would."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from types import FrameType

Step = Callable[[FrameType, str], bool]


def exit_status(work: Callable[[], object]) -> int:
    """Do `work` in a forked process; its exit status: 1 where it raised, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.setprofile(None)
            if status:
                traceback.print_exc()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(work: Callable[[], object]) -> bool:
    """Do `work`, which calls `kill_at`, in a forked process; whether it got as far as the kill."""
    status = exit_status(work)
    assert status in (0, -signal.SIGKILL), "the child failed; what it said stands above"
    return status != 0


def kill_at(now: Step, *, within: str = "/privacy/", events: Collection[str] = ("call", "return")) -> None:
    """From here on this process kills itself at the first step, in files named `within`, that `now` says."""

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event in events and within in frame.f_code.co_filename and now(frame, event):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def after(steps: int) -> Step:
    """The n-th of the steps that are watched.

    >>> fourth = after(4)
    >>> [fourth(sys._getframe(), "call") for _ in range(5)]
    [False, False, False, True, True]
    """
    seen = 0

    def far_enough(_frame: FrameType, _event: str) -> bool:
        nonlocal seen
        seen += 1
        return seen >= steps

    return far_enough
