"""Membership inference on a champion's design: what it would tell of the people it is trained on.

Everybody is in the champion's own training set, so models of its design and setting are attacked that were each
trained on half of the people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from privacy.errors import EnvironmentFailed
from privacy.membership import Membership, lira
from training.candidates import Bench
from training.dataset import Task, TrainingGateway, fetch, plan_cutoffs
from training.models._base import CHURN
from training.models.boosting import Hyperparameters
from training.models.linear import LinearChurn
from training.registry import ChampionRef, Registry

__all__ = ["Attacked", "MembershipRequest", "attack_membership"]


@dataclass(frozen=True)
class MembershipRequest:
    """Whose model to attack, on which history, with how many shadow models; `progress` hears (done, all) trainings."""

    task: Task
    principal: object
    service: str
    first_event: datetime
    as_of: datetime
    shadows: int = 8
    seed: int = 0
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Attacked:
    """What was attacked, and what came of it; `rows` are the people's rows at all training cut-offs."""

    champion: ChampionRef
    rows: int
    found: Membership

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        told = {"version": self.champion.version, "design": self.champion.design, "rows": self.rows}
        return {**told, **self.found.to_dict()}


def attack_membership(
    request: MembershipRequest, champion: ChampionRef, gateway: TrainingGateway, registry: Registry
) -> Attacked:
    """Attack the design of `champion`, with its setting, on the windows that it is trained on in the end.

    A person is in or out with all their rows. The purchase model, and with it two columns, is fitted once on
    everybody: four and three numbers of thousands of people.

    Raises:
        BadInput: the champion is a baseline, which keeps a handful of numbers; or there are too few people.
        EnvironmentFailed: the run behind the champion doesn't tell its setting.
    """
    task = request.task
    plan = plan_cutoffs(task, request.first_event, request.as_of)
    data = fetch(gateway, request.principal, request.service, task, plan, action="attack")
    bench = Bench(task.target, data.closed, data.purchases_closed, plan.closed[-1], plan.horizon_days)
    chosen, rounds = (None, 0) if champion.design == LinearChurn.name else _setting(registry.parameters(champion))
    found = lira(
        bench.folds.label,
        bench.fitting(champion.design, chosen, rounds),
        "classification" if task.target == CHURN else "regression",
        people=data.closed.customers.astype(np.int64),
        shadows=request.shadows,
        seed=request.seed,
        progress=request.progress,
    )
    return Attacked(champion, len(bench.folds.label), found)


def _setting(told: Mapping[str, Any]) -> tuple[Hyperparameters, int]:
    """The hyperparameters and rounds that the run behind a version was given."""
    try:
        chosen = Hyperparameters(
            num_leaves=int(told["num_leaves"]),
            min_data_in_leaf=int(told["min_data_in_leaf"]),
            lambda_l2=float(told["lambda_l2"]),
            feature_fraction=float(told["feature_fraction"]),
            bagging_fraction=float(told["bagging_fraction"]),
        )
        return chosen, int(told["rounds"])
    except (LookupError, TypeError, ValueError):
        remedy = "train it again: `custos train churn`, `custos train clv`"
        raise EnvironmentFailed("the champion's run doesn't tell its setting", remedy=remedy) from None
