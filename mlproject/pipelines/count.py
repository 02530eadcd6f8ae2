"""Champion x everyone known -> how many are in each band, or their mean value, with noise and within the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.build import data_time
from mlproject.pipelines.report import required_champion
from mlproject.pipelines.targets import SERVICES
from privacy.errors import BadInput
from privacy.noise import Bounds, DiscreteLaplace, checked_epsilon, histogram, noised_counts, noised_sum

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlproject.wiring import House
    from privacy.budget import Ledger

__all__ = ["GROUPS", "Release", "budget_lines", "budget_of", "count_release", "ledger_of", "mean_release"]

GROUPS: Final[Mapping[str, str]] = {"churn_band": "churn", "clv_band": "clv"}
"""What can be counted by -> the model whose answers it bands."""
NO_SCORE: Final = "no score"
SIZES: Final = (100, 1000, 10_000)


@dataclass(frozen=True)
class Release:
    """One noised release: what is told of it before anything is drawn, and how it is drawn."""

    told: dict[str, Any]
    lines: tuple[str, ...]
    draw: Callable[[], dict[str, Any]]


def count_release(house: House, by: str, purpose: str, epsilon: float, *, as_of: datetime | None) -> Release:
    """Prepare the noised number of people in each band of the champion's scores.

    A person is in one band only, so all counts together cost epsilon once. Refused where the budget lacks it; the
    scores are read, and the budget touched, only when it is drawn.
    """
    from serving.bands import CHURN_BANDS, CLV_BANDS

    target, checked = GROUPS[by], checked_epsilon(epsilon)
    bands = CHURN_BANDS if target == "churn" else CLV_BANDS
    labels = (*bands.labels, NO_SCORE)
    told = _plan(house, f"count by {by}", target, purpose, checked)
    told["accuracy"] = DiscreteLaplace(checked).accuracy()
    lines = (
        f"Counts by {by}: {', '.join(labels)}; nobody is in two, so they cost epsilon {checked:g} once.",
        f"95 % of the counts are off by at most {told['accuracy']:,}.",
        _left(told),
    )

    def draw() -> dict[str, Any]:
        exact = histogram(_scores(house, target, purpose, as_of), bands.thresholds)
        with_noise = _spent(house, told, target, lambda: noised_counts(exact, checked))
        return {"counts": dict(zip(labels, with_noise, strict=True))}

    return Release(told, lines, draw)


def mean_release(house: House, purpose: str, bounds: Bounds, epsilon: float, *, as_of: datetime | None) -> Release:
    """Prepare the noised mean of the champion's predicted values, each clipped to declared bounds.

    Half of epsilon goes to the sum, half to the number of people, who aren't taken for known.
    """
    half = checked_epsilon(epsilon) / 2.0
    in_sum, in_count = DiscreteLaplace(half, bounds.half_span), DiscreteLaplace(half)
    told = _plan(house, "mean of clv", "clv", purpose, epsilon)
    off = in_sum.accuracy(0.025) * bounds.unit
    reach = (bounds.high - bounds.low) / 2.0
    told["accuracy"] = {n: (off + reach * in_count.accuracy(0.025)) / n for n in SIZES}
    figures = ", ".join(f"{value:,.2f} among {n:,}" for n, value in told["accuracy"].items())
    lines = (
        f"Mean clv of values clipped to {bounds.low:g} .. {bounds.high:g}: who lies outside counts as the bound.",
        f"95 % of such means are off by at most {figures} people.",
        _left(told),
    )

    def draw() -> dict[str, Any]:
        import numpy as np

        values = _scores(house, "clv", purpose, as_of)
        known = int((~np.isnan(values)).sum())

        def noised() -> dict[str, Any]:
            total, (people,) = noised_sum(values, bounds, half), noised_counts([known], half)
            mean = bounds.middle + total * bounds.unit / max(people, 1)
            return {"mean": min(max(mean, bounds.low), bounds.high), "people": people}

        return _spent(house, told, "clv", noised)

    return Release(told, lines, draw)


def budget_of(house: House) -> dict[str, Any]:
    """Return what was spent and is left, by data set and purpose."""
    house.permit("report.read", "report")
    ledger = ledger_of(house)
    left = []
    for dataset, purpose in sorted({(one.dataset, one.purpose) for one in ledger.spendings()}):
        remaining = ledger.remaining(dataset, purpose)
        amounts = {"spent": float(ledger.total - remaining), "left": max(float(remaining), 0.0)}
        left.append({"dataset": dataset, "purpose": purpose, **amounts})
    spendings = [{**vars(one), "epsilon": float(one.epsilon)} for one in ledger.spendings()]
    return {"total": float(ledger.total), "unit": "one customer", "budgets": left, "spendings": spendings}


def budget_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the budget as a table, then each spending."""
    yield f"epsilon {told['total']:g} in all for each purpose of a data set; it protects {told['unit']}, and adds up"
    if not told["budgets"]:
        yield "nothing was spent yet"
    for one in told["budgets"]:
        yield f"  {one['dataset']:<20}{one['purpose']:<12}{one['spent']:>8g} spent{one['left']:>8g} left"
    for one in told["spendings"]:
        died = "  (its process died: counts as spent)" if one["state"] == "reserved" else ""
        yield f"  {one['at']}  {one['dataset']} {one['purpose']:<12}{one['epsilon']:>8g}  {one['what']}{died}"


def _plan(house: House, what: str, target: str, purpose: str, epsilon: float) -> dict[str, Any]:
    """What a release comes to, if the policy and the budget allow it."""
    house.permit("count", f"model:{target}", purpose)
    required_champion(house, target)
    dataset = house.state.dataset
    left = ledger_of(house).require(dataset, purpose, epsilon)
    return {"what": what, "dataset": dataset, "purpose": purpose, "epsilon": epsilon, "left_after": float(left)}


def _left(told: Mapping[str, Any]) -> str:
    spent = f"epsilon {told['epsilon']:g} of {told['dataset']} for {told['purpose']}, and leaves {told['left_after']:g}"
    odds = f"one customer more or less changes the odds of any answer at most {math.exp(told['epsilon']):.2f} times"
    return f"It spends {spent}: {odds}."


def _scores(house: House, target: str, purpose: str, as_of: datetime | None) -> npt.NDArray[np.float64]:
    """Everybody's score; NaN where there is none."""
    from training.scoring import score_rows

    moment = data_time(house.state, as_of)
    rows = house.gateway.snapshot_rows(house.operator(purpose), SERVICES[target][0], moment, action="count")
    if not rows.num_rows:
        raise BadInput(f"nobody is known as of {moment.date()}", remedy="give a later --as-of")
    model, _ = house.registry.load_champion(target)
    active_within = house.descriptor.targets.churn.active_within_days if target == "churn" else None
    return score_rows(model, rows.to_pandas(), active_within).value


def _spent(house: House, told: Mapping[str, Any], target: str, noised: Callable[[], Any]) -> Any:
    """Reserve, tell the log, draw, commit: whatever fails before the draw leaves the reservation spent."""
    ledger, resource = ledger_of(house), f"model:{target}"
    decision = house.permit("count", resource, told["purpose"])
    reservation = ledger.reserve(told["dataset"], told["purpose"], told["epsilon"], told["what"])
    detail = {"reservation": reservation, "epsilon": told["epsilon"], "what": told["what"]}
    house.note(decision, "count", resource, told["purpose"], detail=detail)
    drawn = noised()
    ledger.commit(reservation)
    return drawn


def ledger_of(house: House) -> Ledger:
    """Return the ledger of the home's budget.

    Raises:
        EnvironmentFailed: it can't be read, or lacks a release that the audit log tells of: an older copy of the
            file would be a refund.
    """
    from privacy.budget import Ledger

    ledger, told = Ledger(house.paths.budget, house.settings.epsilon_total), {}
    if house.paths.service_keyring.exists():
        for event in house.audit.select(1_000_000, _reserves, (b'"reservation":',)):
            detail = event["detail"]
            made, purpose = detail["reservation"], event["principal"]["purpose"]
            told[made] = (house.state.dataset, purpose, detail["epsilon"])
    ledger.require_whole(told)
    return ledger


def _reserves(event: Mapping[str, Any]) -> bool:
    detail = event.get("detail")
    return event["action"] == "count" and isinstance(detail, dict) and "reservation" in detail
