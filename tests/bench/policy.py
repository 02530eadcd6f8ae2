"""What one decision of the built-in policy costs, over every case that it can tell apart.

Example: python -m tests.bench.policy
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from privacy.policy import Policy, Principal
from privacy.policy_check import all_cases
from tests.bench.bars import Bar, tell

MICROSECONDS, ROUNDS = 20.0, 7


def bars() -> list[Bar]:
    """Microseconds of CPU a decision: decided anew, and remembered; the best of several rounds, one thread."""
    policy = Policy.load()
    cases = [(Principal("p", role, purpose), action, resource) for role, purpose, action, resource in all_cases(policy)]
    return [
        Bar("policy decision, decided anew, us", best(policy.evaluate, cases), MICROSECONDS, True),
        Bar("policy decision, remembered, us", best(policy.decide, cases), MICROSECONDS, True),
    ]


def best(decide: Callable[..., object], cases: list[tuple[Principal, str, str]]) -> float:
    """The least mean over all cases of any round."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for case in cases:
            decide(*case)
        rounds.append((time.thread_time() - start) / len(cases) * 1e6)
    return min(rounds)


if __name__ == "__main__":
    sys.exit(tell(bars()))
