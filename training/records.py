"""What a training job leaves behind in its run: figures, trials, data, pictures and the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training import gates
from training.candidates import Tested
from training.cards import CardFacts, model_card
from training.cutoffs import CutoffPlan, Task
from training.dataset import Snapshots
from training.plots import Shown, draw
from training.registry import EVALUATION_FILE
from training.tracking import JobRun

__all__ = ["JobFacts", "record"]


@dataclass(frozen=True)
class JobFacts:
    """What was asked for; `lineage` is what the run is tagged with."""

    task: Task
    dataset: str
    service: str
    as_of: str
    trials: int
    lineage: Mapping[str, str]


def record(run: JobRun, facts: JobFacts, plan: CutoffPlan, data: Snapshots, tested: Tested) -> None:
    """Write everything about a tested candidate to the run: aggregates only, no row and no token."""
    _numbers(run, facts, plan, tested)
    for role, part in (("training", data.train), ("testing", data.test), ("refit", data.closed)):
        run.dataset(f"{facts.dataset} {role} {facts.as_of}", part.digest, facts.service, role, data.feature_names)
    design, target = tested.candidate.model.name, facts.task.target
    evaluation = {
        "target": target,
        "design": design,
        "metrics": tested.metrics,
        "baselines": tested.baselines,
        "verdicts": [verdict.to_dict() for verdict in tested.verdicts],
        "cutoffs": plan.describe(),
    }
    run.document(EVALUATION_FILE, evaluation)
    trials = [{"trial": n, "state": state, "loss": loss} for n, state, loss in tested.tuned.history]
    run.document("tuning/trials.json", {"study": tested.tuned.study, "trials": trials})
    rows = {"train": len(data.train.label), "test": len(data.test.label), "closed": len(data.closed.label)}
    card = CardFacts(
        target=target,
        design=design,
        plan=plan,
        rows=rows,
        metrics=tested.metrics,
        baselines=tested.baselines,
        verdicts=tested.verdicts,
        tags=facts.lineage,
        active_within_days=facts.task.active_within_days,
    )
    run.text("model_card.md", model_card(card))
    predicted = tested.candidate.model.predict(data.test.frame)
    importance = tested.candidate.model.importance()
    shown = Shown(data.test.label, predicted, len(plan.test))
    run.figures(draw(target, shown, importance, tested.tuned.history))


def _numbers(run: JobRun, facts: JobFacts, plan: CutoffPlan, tested: Tested) -> None:
    chosen = tested.candidate.chosen
    params = {
        **(chosen.to_params() if chosen else {}),
        "rounds": tested.candidate.rounds,
        "setting": tested.candidate.setting,
        "trials": facts.trials,
        "study": tested.tuned.study,
        "horizon_days": plan.horizon_days,
    }
    metrics = dict(tested.metrics)
    for name, measured in tested.baselines.items():
        metrics |= {f"baseline_{name}/{metric}": value for metric, value in measured.items()}
    tags = {
        "design": tested.candidate.model.name,
        "gates": "passed" if gates.passed(tested.verdicts) else "failed",
        "resumed": str(tested.tuned.resumed).lower(),
    }
    run.batch(params, metrics, tags, tested.tuned.history)
