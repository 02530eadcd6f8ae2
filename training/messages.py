"""What a training job tells its user: how it ended, how the setting was chosen, and what each version is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from training.candidates import Tested
from training.gates import Verdict
from training.models._base import CHURN
from training.registry import ChampionRef
from training.tuning import Tuned

__all__ = [
    "BASELINE",
    "CHALLENGER",
    "KEPT",
    "PROMOTED",
    "Made",
    "message",
    "now_serving",
    "setting_note",
    "version_note",
]

PROMOTED: Final = "promoted"
CHALLENGER: Final = "challenger"
KEPT: Final = "incumbent_kept"
BASELINE: Final = "baseline"
SERVES: Final = "serves"


@dataclass(frozen=True)
class Made:
    """The versions a job registered: the candidate as tested, the design that may serve as tested, and its refit.

    `version` serves or waits (see `TrainResult`); `lost` says why the former champion is no incumbent any more.
    """

    tested: int
    first: int
    version: int
    outcome: str
    lost: tuple[str, ...] = ()


def message(outcome: str, design: str, verdicts: Sequence[Verdict], champion: ChampionRef | None) -> str:
    """Return how a job ended for a candidate of `design`, in one line."""
    failed = "; ".join(verdict.text() for verdict in verdicts if not verdict.passed)
    now = f"version {champion.version} ({champion.design})" if champion else "none"
    waits = f"did not pass ({failed}); the best baseline" if failed else "passed every gate and"
    return {
        PROMOTED: f"{design} passed every gate and is champion: {now}",
        CHALLENGER: f"{design} {waits} waits for promotion; champion: {now}",
        KEPT: f"{design} did not pass ({failed}); the incumbent stays: {now}",
        BASELINE: f"{design} did not pass ({failed}); the best baseline serves: {now}",
    }[outcome]


def now_serving(notes: Sequence[str], target: str) -> tuple[str, ...]:
    """Return the notes of a job whose version waited, now that it serves."""
    return tuple(note.replace(_waits(target), SERVES) for note in notes)


def _waits(target: str) -> str:
    return f"waits for `custos promote {target}`"


def setting_note(
    target: str, tuned: Tuned, chosen: str, default: Mapping[str, float], best: Mapping[str, float]
) -> str:
    """Return whether the tuned setting of the boosted design was used, by which out-of-time figures."""
    trials = len(tuned.history)
    if tuned.best == tuned.default:
        return f"tuning: the default setting, of {trials} tried the best inside the training windows"
    names = ("auc",) if target == CHURN else ("gini", "mae")
    tuned_has, default_has = (", ".join(f"{name} {by[name]:.4g}" for name in names) for by in (best, default))
    fate = "discarded for the default setting" if chosen == "default" else "used"
    figures = f"{tuned_has} against the default's {default_has}"
    return f"tuning: the best of {trials} trials is {fate}: {figures} on the test windows, which decide this"


def version_note(target: str, made: Made, tested: Tested) -> str:
    """Return what each version of a job is: what was tested is one, its refit on all closed windows another."""
    design = tested.candidate.model.name
    if made.outcome == KEPT:
        return f"versions: {made.tested} is {design} as it was tested, kept to compare"
    does = _waits(target) if made.outcome == CHALLENGER else SERVES
    refit = f"{made.version} the same refitted on all closed windows, which {does}"
    baseline = "" if made.first == made.tested else f"{made.first} the best baseline as it was tested, "
    return f"versions: {made.tested} is {design} as it was tested, {baseline}{refit}"
