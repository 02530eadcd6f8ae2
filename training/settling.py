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
from training.registry import Registry
from training.tracking import Tracker

__all__ = ["INFERENCE_TAG", "require_not_inferring", "settle"]

INFERENCE_TAG: Final = "inference"
"""The tag of runs and versions: `passed` or `failed`; without it a version hasn't been through the gate."""


def settle(
    result: TrainResult, found: Sequence[Inferred], tracker: Tracker, registry: Registry, *, promote: bool
) -> TrainResult:
    """Note the inference gate's verdicts on a job's run and version, and crown the version if it waits and passed.

    What failed the gate goes on waiting and the former champion stays; the message says which and why.
    """
    passed = all_passed(found)
    state = PASSED if passed else FAILED
    tags = {INFERENCE_TAG: state} | {f"inference/{each.what}/{each.attribute}": each.text() for each in found}
    registry.tag(result.target, result.version, {INFERENCE_TAG: state})
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


def require_not_inferring(target: str, registry: Registry) -> None:
    """Raise CheckFailed unless the version that waits for promotion has passed the inference gate."""
    waiting = registry.challenger(target)
    if waiting is None or waiting.tags.get(INFERENCE_TAG) == PASSED:
        return
    state = "failed the inference gate" if INFERENCE_TAG in waiting.tags else "hasn't been through the inference gate"
    remedy = "`custos inference check` tests it again and says what leaks"
    raise CheckFailed(f"{target} version {waiting.version} is not promoted: it {state}", remedy=remedy)
