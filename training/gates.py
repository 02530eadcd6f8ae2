"""Which candidate may become champion: named gates over out-of-time metrics, each with its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from privacy.errors import EnvironmentFailed
from training.models._base import CHURN

__all__ = ["GateThresholds", "Verdict", "beats", "best_baseline", "judge", "passed"]

_NAIVE: Final = {"churn": "recency", "clv": "naive"}
_BTYD: Final = "bgnbd"

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """How much worse than the best baseline a candidate may be and still pass."""

    auc_margin: float = 0.002
    gini_margin: float = 0.0
    mae_ratio: float = 1.02


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate: `value` had to reach (`>=`, `>`) or stay under (`<=`) `bound`."""

    gate: str
    passed: bool
    value: float
    relation: str
    bound: float
    against: str

    def text(self) -> str:
        """Return the verdict as one line.

        >>> Verdict("mae", False, 230.0, "<=", 212.9, "ewma84").text()
        'mae: 230 <= 212.9 (ewma84): failed'
        """
        state = "passed" if self.passed else "failed"
        return f"{self.gate}: {self.value:.4g} {self.relation} {self.bound:.4g} ({self.against}): {state}"

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values for JSON."""
        return asdict(self)


def judge(
    target: str,
    candidate: Metrics,
    baselines: Mapping[str, Metrics],
    thresholds: GateThresholds | None = None,
) -> tuple[Verdict, ...]:
    """Return every gate's verdict on a candidate; a figure that is not a number fails its gate.

    Churn: AUC above recency's and BG/NBD's, and within `auc_margin` of the best baseline's.
    CLV: Gini above naive's and BG/NBD's, at least the best baseline's, and MAE at most `mae_ratio` of the best.

    Raises:
        EnvironmentFailed: a figure is missing: the figures of an earlier run were read from a file.
    """
    try:
        return _judged(target, candidate, baselines, thresholds or GateThresholds())
    except (KeyError, ValueError):
        what = f"the evaluation of {target} lacks a figure that the gates need"
        raise EnvironmentFailed(what, remedy=f"custos train {target}") from None


def _judged(
    target: str, candidate: Metrics, baselines: Mapping[str, Metrics], limits: GateThresholds
) -> tuple[Verdict, ...]:
    metric = "auc" if target == CHURN else "gini"
    value = candidate[metric]
    verdicts = [
        _verdict(f"{metric} beats {kind}", value, ">", baselines[name][metric], name)
        for kind, name in (("naive", _NAIVE[target]), ("BTYD", _BTYD))
    ]
    best = max(baselines, key=lambda name: (baselines[name][metric], name))
    margin = limits.auc_margin if target == CHURN else limits.gini_margin
    verdicts.append(_verdict(f"{metric} not below best", value, ">=", baselines[best][metric] - margin, best))
    if target != CHURN:
        nearest = min(baselines, key=lambda name: (baselines[name]["mae"], name))
        bound = baselines[nearest]["mae"] * limits.mae_ratio
        verdicts.append(_verdict("mae near best", candidate["mae"], "<=", bound, nearest))
    return tuple(verdicts)


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether there are verdicts and all of them passed."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def beats(target: str, challenger: Metrics, default: Metrics) -> bool:
    """Tell whether a tuned setting is better than the default out of time.

    Churn by AUC; CLV only if neither Gini nor MAE is worse and one of them is better.
    """
    if target == CHURN:
        return challenger["auc"] > default["auc"]
    gini, mae = challenger["gini"] - default["gini"], default["mae"] - challenger["mae"]
    return gini >= 0 and mae >= 0 and gini + mae > 0


def best_baseline(target: str, baselines: Mapping[str, Metrics]) -> str:
    """Return the baseline to serve when no candidate passes.

    Churn by AUC; CLV by the sum of its ranks in Gini and in MAE (MAE alone can be won by predicting nothing).
    """
    if target == CHURN:
        return max(baselines, key=lambda name: (baselines[name]["auc"], name))
    by_gini = sorted(baselines, key=lambda name: -baselines[name]["gini"])
    by_mae = sorted(baselines, key=lambda name: baselines[name]["mae"])
    return min(baselines, key=lambda name: (by_gini.index(name) + by_mae.index(name), by_gini.index(name)))


def _verdict(gate: str, value: float, relation: str, bound: float, against: str) -> Verdict:
    holds = {">": value > bound, ">=": value >= bound, "<=": value <= bound}[relation]
    return Verdict(gate, holds and math.isfinite(value) and math.isfinite(bound), value, relation, bound, against)
