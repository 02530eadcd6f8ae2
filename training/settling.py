"""What becomes of a trained version once it is known whether it lets anybody infer what must not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from privacy.errors import CheckFailed
from training import gates
from training.inference_gate import FAILED, PASSED, Inferred, all_passed, as_verdicts
from training.job import TrainResult, metrics_of
from training.messages import BASELINE, CHALLENGER, PROMOTED, message, now_serving
from training.registry import INFERENCE_TAG, Registry
from training.tracking import Tracker

__all__ = ["note_inferring", "require_not_inferring", "settle"]

MARKS_TAG: Final = "inference_marks"
"""The tag of versions that says which marks that verdict is about."""


def settle(
    result: TrainResult,
    found: Sequence[Inferred],
    tracker: Tracker,
    registry: Registry,
    *,
    marks: str,
    promote: bool,
) -> TrainResult:
    """Note the inference gate's verdicts on a job's run and version, and crown the version if it waits and passed.

    `marks` tells apart what was marked when they were found. What failed the gate goes on waiting and the former
    champion stays; the message says which and why.
    """
    passed = note_inferring(registry, result.target, result.version, found, marks)
    tags = {INFERENCE_TAG: PASSED if passed else FAILED} | {
        f"inference/{each.what}/{each.attribute}": each.text() for each in found
    }
    verdicts = (*result.verdicts, *as_verdicts(found))
    outcome, notes = result.outcome, result.notes
    if passed and promote and outcome == CHALLENGER:
        registry.crown(result.target, result.version)
        outcome = PROMOTED if gates.passed(result.verdicts) else BASELINE
        notes = now_serving(notes, result.target)
    champion = registry.champion(result.target)
    told = message(outcome, result.design, result.verdicts, champion)
    if not passed:
        told += f"; the inference gate refuses it: {'; '.join(each.text() for each in found if not each.passed)}"
        told += " (`custos inference check` looks for what to withhold)"
    tracker.amend(result.run_id, {**tags, "outcome": outcome}, "\n\n".join((told, *notes)))
    return replace(
        result,
        outcome=outcome,
        message=told,
        notes=notes,
        verdicts=verdicts,
        champion=champion,
        champion_metrics=metrics_of(registry, champion),
    )


def note_inferring(registry: Registry, target: str, version: int, found: Sequence[Inferred], marks: str) -> bool:
    """Note on a version whether all of the verdicts `found` passed, under these marks; return it."""
    passed = all_passed(found)
    registry.tag(target, version, {INFERENCE_TAG: PASSED if passed else FAILED, MARKS_TAG: marks})
    return passed


def require_not_inferring(target: str, registry: Registry, marks: str) -> None:
    """Raise CheckFailed unless the version that waits for promotion has passed the inference gate for these marks."""
    waiting = registry.challenger(target)
    if waiting is None:
        return
    found = waiting.tags.get(INFERENCE_TAG)
    if found == PASSED and waiting.tags.get(MARKS_TAG) == marks:
        return
    state = "failed the inference gate" if found == FAILED else "hasn't been through the inference gate"
    if found == PASSED:
        state += " for what is marked now"
    remedy = "`custos inference check` tests it again and says what leaks"
    raise CheckFailed(f"{target} version {waiting.version} is not promoted: it {state}", remedy=remedy)
