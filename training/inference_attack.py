"""How well something that must not be known of people can be read off a published table: one attack, with intervals.

LightGBM guesses the flag from the table's columns, cross-fitted by person. What it says beyond how much somebody spends
is its AUC within spend deciles: flagged people often spend more, and that alone is no disclosure.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from training.models._base import CHURN
from training.models.boosting import Folds, Hyperparameters, Trees

__all__ = ["Attacked", "Interval", "Target", "attack", "telling"]

Array = npt.NDArray[np.float64]
_OUTER: Final = 5
_INNER: Final = 3
_DRAWS: Final = 400
_LEVEL: Final = 0.95
_DECILES: Final = 10
_SETTINGS: Final = ((Hyperparameters(4, 20, 5.0, 0.5, 0.7), 15), (Hyperparameters(8, 20, 5.0, 0.5, 0.7), 60))
"""What the attacker chooses among, each time on the people it is not tested on: a cautious and a bold booster."""


@dataclass(frozen=True)
class Target:
    """n rows to attack, in an order that depends on no token.

    `columns` (n, k) is what is published, `flag` (n,) what must not be inferred, `spend` (n,) money in the same window,
    `person` (n,) one number for all rows of a person, `moment` (n,) one for all rows of an instant.
    """

    columns: Array
    flag: npt.NDArray[np.bool_]
    spend: Array
    person: npt.NDArray[np.int64]
    moment: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % bootstrap interval over people."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attacked:
    """AUC over everybody, and over pairs of people of one moment and one spend decile."""

    overall: Interval
    within: Interval


def attack(target: Target, seed: int = 0) -> Attacked:
    """Attack `target`; nobody is tested by a booster, or by the choice of one, that their rows had a part in.

    >>> draw = np.random.default_rng(0)
    >>> flag, noise = draw.random(600) < 0.3, draw.normal(size=(600, 2))
    >>> people, now = np.arange(600), np.zeros(600, np.int64)
    >>> attack(Target(noise + 2 * flag[:, None], flag, draw.random(600), people, now)).within.low > 0.8
    True
    """
    strata = _strata(target)
    fold = target.person % _OUTER
    score = np.zeros(len(target.flag))
    with ThreadPoolExecutor(max_workers=2) as threads:
        # Boosters are single-threaded and independent, so two at a time change nothing but the wait.
        for held, found in zip(
            range(_OUTER),
            threads.map(lambda held: _guess(target, strata, fold != held, seed), range(_OUTER)),
            strict=True,
        ):
            mine = fold == held
            # Two boosters' scores are on two scales; ranks within a fold are not, and keep chance at one half.
            score[mine] = rankdata(found[mine]) / max(1, int(mine.sum()))
    weights = _resampled(target.person, seed)
    one = np.zeros(len(strata), np.int64)
    return Attacked(
        _interval(*_wins(score, target.flag, one, weights)), _interval(*_wins(score, target.flag, strata, weights))
    )


def telling(target: Target) -> Array:
    """(k,): how well each column by itself ranks flagged people above or below others of their moment and decile.

    An AUC from .5 to 1; nulls rank below everything.
    """
    strata, one = _strata(target), np.ones((1, len(target.flag)))
    found = []
    for column in target.columns.T:
        won, pairs = _wins(np.nan_to_num(column, nan=-np.inf), target.flag, strata, one)
        found.append(float(won[0] / pairs[0]) if pairs[0] else 0.5)
    return np.maximum(np.array(found), 1 - np.array(found))


def _guess(target: Target, strata: npt.NDArray[np.int64], known: npt.NDArray[np.bool_], seed: int) -> Array:
    """Choose a booster by an inner cross-fit on the `known` rows, fit it on all of them, score every row."""
    inner = (target.person // _OUTER) % _INNER
    one = np.ones((1, int(known.sum())))
    found: list[float] = []
    for chosen, rounds in _SETTINGS:
        score = np.zeros(len(known))
        for held in range(_INNER):
            mine = known & (inner == held)
            guessed = _fit(target, known & (inner != held), chosen, rounds, seed).raw(target.columns[mine])
            score[mine] = rankdata(guessed) / max(1, int(mine.sum()))
        won, pairs = _wins(score[known], target.flag[known], strata[known], one)
        found.append(float(won[0] / pairs[0]) if pairs[0] else 0.0)
    chosen, rounds = _SETTINGS[int(np.argmax(found))]
    return _fit(target, known, chosen, rounds, seed).raw(target.columns)


def _fit(target: Target, rows: npt.NDArray[np.bool_], chosen: Hyperparameters, rounds: int, seed: int) -> Trees:
    matrix = target.columns[rows]
    names = tuple(f"column_{at}" for at in range(matrix.shape[1]))
    flag = target.flag[rows].astype(np.float64)
    return Trees.fit(Folds(CHURN, matrix, flag, None, np.zeros(len(flag)), names), chosen, rounds, seed)


def _strata(target: Target) -> npt.NDArray[np.int64]:
    """Number the pairs of moment and decile of spend; equal spends are in one decile."""
    _, moment = np.unique(target.moment, return_inverse=True)
    decile = np.zeros(len(moment), np.int64)
    for at in np.unique(moment):
        mine = moment == at
        share = (rankdata(target.spend[mine], method="min") - 1) / int(mine.sum())
        decile[mine] = np.minimum((share * _DECILES).astype(np.int64), _DECILES - 1)
    return moment * _DECILES + decile


def _resampled(person: npt.NDArray[np.int64], seed: int) -> Array:
    """(draws + 1, n): how often each row counts, once for all and then as people are drawn with replacement."""
    people, row = np.unique(person, return_inverse=True)
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(len(people), np.full(len(people), 1 / len(people)), size=_DRAWS)
    return np.vstack([np.ones(len(row)), counts[:, row].astype(np.float64)])


def _wins(
    score: Array, flag: npt.NDArray[np.bool_], strata: npt.NDArray[np.int64], weights: Array
) -> tuple[Array, Array]:
    """Of pairs of a flagged and another row of one stratum: how many the flagged one wins, and how many there are.

    Each per row of `weights`; a tie is half a win.
    """
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in np.unique(strata):
        mine = strata == stratum
        order = np.argsort(score[mine], kind="stable")
        ranked, positive = score[mine][order], flag[mine][order]
        heavy = weights[:, mine][:, order]
        flagged, others = heavy * positive, heavy * ~positive
        below = np.cumsum(others, axis=1)
        # All rows of one score share the others that are below it, and half of those beside it.
        first = np.searchsorted(ranked, ranked, "left")
        last = np.searchsorted(ranked, ranked, "right") - 1
        padded = np.hstack([np.zeros((len(heavy), 1)), below])
        won += (flagged * (padded[:, first] + below[:, last]) / 2).sum(axis=1)
        pairs += flagged.sum(axis=1) * others.sum(axis=1)
    return won, pairs


def _interval(won: Array, pairs: Array) -> Interval:
    """The AUC over all pairs, and the percentiles of what it was over the draws."""
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = won / pairs
    tail = (1 - _LEVEL) / 2
    low, high = np.nanquantile(drawn[1:], [tail, 1 - tail])
    return Interval(float(drawn[0]), float(low), float(high))
