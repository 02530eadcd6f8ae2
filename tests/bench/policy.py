"""What one decision of the built-in policy costs, over every case that it can tell apart, and a masked answer.

Example: python -m tests.bench.policy
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from privacy.masking import mask_of
from privacy.policy import Policy, Principal
from privacy.policy_check import all_cases
from serving.bands import CHURN_BANDS
from serving.told import told
from tests.bench.bars import Bar, tell

MICROSECONDS, ROUNDS = 20.0, 7
MASKED, PEOPLE = 2.5, 1000


def bars() -> list[Bar]:
    """Microseconds of CPU a decision: decided anew, and remembered; the best of several rounds, one thread."""
    policy = Policy.load()
    cases = [(Principal("p", role, purpose), action, resource) for role, purpose, action, resource in all_cases(policy)]
    return [
        Bar("policy decision, decided anew, us", best(policy.evaluate, cases), MICROSECONDS, True),
        Bar("policy decision, remembered, us", best(policy.decide, cases), MICROSECONDS, True),
        *answers(),
    ]


def answers() -> list[Bar]:
    """1,000 numbers told through masks that a policy names, x the same with as many fields: exact, or own bands."""
    values = np.random.default_rng(4).random(PEOPLE)

    def seconds(spec: object = None) -> float:
        masks = {"churn.probability": mask_of(spec, own_bands=True)} if spec else {}
        return best(told, [("churn", values, masks, CHURN_BANDS)] * 50)

    rounded, edges = {"fn": "rounded", "decimals": 1}, {"fn": "band", "edges": [0.3, 0.6]}
    return [
        Bar("1,000 answers rounded, x exact ones", seconds(rounded) / seconds(), MASKED, True),
        Bar("1,000 answers in given bands, x own bands", seconds(edges) / seconds("band"), MASKED, True),
    ]


def best(decide: Callable[..., object], cases: Sequence[tuple[Any, ...]]) -> float:
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
