"""Membership inference: can somebody who has a person's row tell whether a model was trained on it?

The likelihood-ratio attack (LiRA) of Carlini et al. (2022, IEEE S&P, "Membership inference attacks from first
principles") with shadow models; beside it the attack that only thresholds the model's own error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from privacy.confidence import Estimate, Rate, checked_level
from privacy.errors import BadInput

__all__ = ["FALSE_POSITIVES", "Fit", "Membership", "Telling", "lira"]

_Floats = npt.NDArray[np.float64]
Fit = Callable[[npt.NDArray[np.int64], int], _Floats]
"""Train on these rows with this seed and predict all rows: the probability of label 1, or the value."""

FALSE_POSITIVES: Final = 0.01
_FEWEST_PEOPLE: Final = 20
_LEAST_SPREAD: Final = 1e-6
_LIKELIEST: Final = 1.0 - 1e-12
_RESAMPLES: Final = 400


@dataclass(frozen=True)
class Telling:
    """How well a score tells members from others: 0.5, FALSE_POSITIVES and about 0 are what guessing gets.

    `auc` has a bootstrap interval over people. `caught` is the share of members above the threshold that
    FALSE_POSITIVES of the others exceed, with a Wilson interval. `advantage` is the largest difference between the
    shares of members and of others above any threshold, with Newcombe's (1998, Stat. Med. 17, 873-890).
    """

    auc: Estimate
    caught: Estimate
    advantage: Estimate

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return it as JSON types."""
        return {
            "auc": self.auc.to_dict(),
            "tpr_at_1_percent_fpr": self.caught.to_dict(),
            "advantage": self.advantage.to_dict(),
        }


@dataclass(frozen=True)
class Membership:
    """What both attacks come to on `people` people, half of them members; `guessing` is what chance alone gets."""

    lira: Telling
    threshold: Telling
    guessing: Telling
    people: int
    shadows: int

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        told = {"lira": self.lira, "threshold": self.threshold, "guessing": self.guessing}
        figures = {name: telling.to_dict() for name, telling in told.items()}
        return {"people": self.people, "shadows": self.shadows, **figures}


def lira(
    label: _Floats,
    fit: Fit,
    task: Literal["classification", "regression"],
    *,
    people: npt.NDArray[np.int64] | None = None,
    shadows: int = 8,
    seed: int = 0,
    level: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> Membership:
    """Attack a target model trained on half of the people by `shadows` models trained on other halves.

    Every person (by default every row; else the rows of equal number in `people`) is in exactly half of the shadow
    models. A row's score is the logit of its true class's probability, or the size of its error (the residual over
    the median one, through asinh against long tails); it is Gaussian with the row's own mean among models with and
    without it, and one variance each for all rows, as the paper advises for few shadows. A person's evidence is the
    sum over their rows.

    Trains `shadows` + 1 models. Deterministic by `seed`, as far as `fit` is.

    Raises:
        BadInput: fewer than 20 people, an odd number of shadows or fewer than 2, or predictions of another shape.
    """
    checked_level(level)
    rows = np.arange(len(label)) if people is None else np.unique(people, return_inverse=True)[1]
    count = int(rows.max()) + 1 if len(rows) else 0
    if count < _FEWEST_PEOPLE:
        raise BadInput(f"{count} people are too few to measure membership inference", remedy="20 are needed")
    if shadows < 2 or shadows % 2:
        raise BadInput(f"{shadows} shadow models can't hold everybody in half of them", remedy="use 8")
    rng = np.random.default_rng(seed)
    # Each person is in half of the shadows; the target's half is drawn apart.
    inside = rng.random((shadows, count)).argsort(axis=0) < shadows // 2
    member = rng.permutation(count) < count // 2
    scores = np.empty((shadows + 1, len(rows)))
    for at, held in enumerate((*inside, member)):
        predicted = np.asarray(fit(np.flatnonzero(held[rows]), seed + at), np.float64)
        if predicted.shape != rows.shape or not np.isfinite(predicted).all():
            raise BadInput("the model's predictions are not one finite number a row")
        scores[at] = _score(label, predicted, task)
        if progress is not None:
            progress(at + 1, shadows + 1)
    ratio = _per_person(_likelihood_ratio(scores[:-1], inside[:, rows], scores[-1]), rows, count)
    error = scores[-1] if task == "classification" else -np.abs(scores[-1])
    error = _per_person(error, rows, count) / np.bincount(rows)
    by_ratio, by_error = (_telling(evidence, member, level, seed) for evidence in (ratio, error))
    return Membership(by_ratio, by_error, _guessing(member), count, shadows)


def _score(label: _Floats, predicted: _Floats, task: str) -> _Floats:
    """What the attacker sees of a row: about Gaussian over models."""
    if task == "classification":
        true = np.clip(np.where(label > 0.5, predicted, 1.0 - predicted), 1.0 - _LIKELIEST, _LIKELIEST)
        return np.asarray(np.log(true) - np.log1p(-true))
    error = label - predicted
    return np.asarray(np.arcsinh(error / max(float(np.median(np.abs(error))), _LEAST_SPREAD)))


def _likelihood_ratio(scores: _Floats, inside: npt.NDArray[np.bool_], seen: _Floats) -> _Floats:
    """(n,) log of how much likelier the score `seen` is with the row among the trained ones than without it."""
    log_density = []
    for held in (inside, ~inside):
        mean = np.where(held, scores, 0.0).sum(axis=0) / held.sum(axis=0)
        # As many means were fitted as there are rows: each costs one of its observations.
        squares = np.where(held, (scores - mean) ** 2, 0.0).sum()
        spread = max(float(squares) / max(int(held.sum()) - held.shape[1], 1), _LEAST_SPREAD**2)
        log_density.append(-((seen - mean) ** 2) / (2.0 * spread) - math.log(spread) / 2.0)
    return np.asarray(log_density[0] - log_density[1])


def _per_person(values: _Floats, rows: npt.NDArray[np.int64], count: int) -> _Floats:
    return np.asarray(np.bincount(rows, weights=values, minlength=count), np.float64)


def _telling(evidence: _Floats, member: npt.NDArray[np.bool_], level: float, seed: int) -> Telling:
    inside, outside = np.sort(evidence[member]), np.sort(evidence[~member])
    allowed = int(FALSE_POSITIVES * len(outside))
    threshold = outside[len(outside) - 1 - allowed]
    caught = Rate(int((inside > threshold).sum()), len(inside), level)
    return Telling(_auc(inside, outside, level, seed), caught.estimate(), _advantage(inside, outside, level))


def _auc(inside: _Floats, outside: _Floats, level: float, seed: int) -> Estimate:
    """The chance that a member scores above another person, ties counting half; resampled with replacement."""
    below = np.searchsorted(outside, inside, side="left")
    tied = np.searchsorted(outside, inside, side="right") - below
    value = float((below + tied / 2.0).mean() / len(outside))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(len(outside), size=len(outside)), minlength=len(outside))
        upto = np.concatenate([[0], np.cumsum(drawn)])
        wins = (upto[below] + upto[below + tied]) / 2.0
        found.append(wins[rng.integers(len(inside), size=len(inside))].mean() / len(outside))
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(value, min(float(low), value), max(float(high), value))


def _advantage(inside: _Floats, outside: _Floats, level: float) -> Estimate:
    """The largest difference of the shares above a threshold, with the interval of that difference."""
    cuts = np.concatenate([inside, outside])
    # How many of either kind score at least as high.
    with_, without = (len(part) - np.searchsorted(part, cuts, side="left") for part in (inside, outside))
    best = int(np.argmax(with_ / len(inside) - without / len(outside)))
    hit, false = Rate(int(with_[best]), len(inside), level), Rate(int(without[best]), len(outside), level)
    a, b = hit.estimate(), false.estimate()
    value = max(a.value - b.value, 0.0)
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def _guessing(member: npt.NDArray[np.bool_]) -> Telling:
    """What scores that know nothing come to; the largest difference is never 0, but about sqrt(pi/8 (1/m + 1/n))."""
    inside, outside = int(member.sum()), int((~member).sum())
    chance = math.sqrt(math.pi / 8.0 * (1.0 / inside + 1.0 / outside))
    return Telling(*(Estimate(value, value, value) for value in (0.5, FALSE_POSITIVES, chance)))
