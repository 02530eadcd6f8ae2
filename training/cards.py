"""The model card: what a model is for, what it was trained and tested on, and how good it is, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.cutoffs import CutoffPlan
from training.gates import Verdict
from training.models._base import CHURN

__all__ = ["CardFacts", "model_card"]


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from; all of it aggregates."""

    target: str
    design: str
    plan: CutoffPlan
    rows: Mapping[str, int]
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    verdicts: Sequence[Verdict]
    tags: Mapping[str, str]
    active_within_days: int | None = None


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown."""
    days = facts.plan.horizon_days
    question = (
        f"Probability that a customer who bought within the last {facts.active_within_days} days "
        f"makes no purchase within {days} days."
        if facts.target == CHURN
        else f"Net spend of a customer within {days} days, in the shop's currency."
    )
    parts = [
        f"# {facts.target}: {facts.design}",
        question,
        "## Data",
        _data(facts),
        "## Out-of-time test",
        _figures(facts),
        "## Gates",
        "\n".join(f"- {verdict.text()}" for verdict in facts.verdicts),
        "## Lineage",
        "\n".join(f"- {name}: {value}" for name, value in sorted(facts.tags.items())),
        "## Limits",
        _limits(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _data(facts: CardFacts) -> str:
    told = facts.plan.describe()
    lines = [
        f"- {role}: {facts.rows[role]:,} rows at {', '.join(map(str, _listed(told[role])))}"
        for role in ("train", "test", "closed")
    ]
    return "\n".join(
        [
            *lines,
            f"- cut-offs chosen by: {facts.plan.origin}",
            "- a row is one customer at one cut-off; features use only what happened before it",
            "- rows carry pseudonymous tokens; the model file holds no row, token or category",
        ]
    )


def _figures(facts: CardFacts) -> str:
    names = list(facts.metrics)
    table = {facts.design: facts.metrics, **facts.baselines}
    head = [f"| model | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    body = [f"| {model} | {' | '.join(f'{values[name]:.4g}' for name in names)} |" for model, values in table.items()]
    return "\n".join([*head, *body])


def _limits(facts: CardFacts) -> str:
    lines = [
        "- metrics belong to the candidate tested above; the champion is its refit on all closed windows",
        "- the better of default and tuned setting is taken on the test windows, a choice between two",
        "- a seasonal peak that no training window covers is not foreseen",
    ]
    if facts.target == CHURN:
        lines.append("- it says nothing about customers outside the activity window")
    else:
        lines.append("- it gives a mean, not an interval; a few large buyers dominate the totals")
    return "\n".join(lines)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]
