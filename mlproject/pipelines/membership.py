"""Champion -> shadow models of its design -> what it tells about who it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.report import record, required_champion
from mlproject.pipelines.targets import SERVICES
from privacy.counted import counted
from privacy.errors import BadInput

if TYPE_CHECKING:
    from mlproject.stages import Stages
    from mlproject.wiring import House

__all__ = ["measure_membership", "membership_lines"]

FIGURES: Final = ("auc", "tpr_at_1_percent_fpr", "advantage")


def measure_membership(house: House, target: str, stages: Stages, *, shadows: int, seed: int) -> dict[str, Any]:
    """Attack the champion's design on its training rows, keep the figures in the report, audit that it was done."""
    from training.cutoffs import Task
    from training.membership import MembershipRequest, attack_membership

    state, descriptor = house.state, house.descriptor
    service, purpose = SERVICES[target]
    decision = house.permit("attack", f"model:{target}", purpose)
    champion = required_champion(house, target)
    if state.as_of is None:
        raise BadInput("no features were built yet", remedy="custos build")
    with stages.stage(f"attack {target}"):
        request = MembershipRequest(
            task=Task.of(target, getattr(descriptor.targets, target)),
            principal=house.operator(purpose),
            service=service,
            first_event=state.first_event,
            as_of=state.planned or state.as_of,  # whose cut-offs are built
            shadows=shadows,
            seed=seed,
            progress=lambda done, total: stages.progress("trainings", done, total),
        )
        attacked = attack_membership(request, champion, house.gateway, house.registry)
    told = attacked.to_dict()
    record(house, "membership", {target: told}, merge=True)
    auc = attacked.found.lira.auc
    detail = {"version": champion.version, "shadows": shadows, "auc": auc.to_dict()}
    house.note(decision, "attack", f"model:{target}", purpose, count=attacked.found.people, detail=detail)
    return told


def membership_lines(target: str, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures of both attacks beside guessing, each in its 95 % interval."""
    what = f"{target} version {told['version']} ({told['design']})"
    shadows, rows = counted(told["shadows"], "shadow model"), counted(told["rows"], "row")
    yield f"{what}: {shadows}, {told['people']:,} people with {rows}, half in"
    yield f"  {'attack':<26}{'AUC':>22}{'TPR at 1 % FPR':>22}{'largest advantage':>22}"
    for name, key in (("likelihood ratio (LiRA)", "lira"), ("threshold on its error", "threshold")):
        yield f"  {name:<26}" + "".join(f"{_shown(told[key][figure]):>22}" for figure in FIGURES)
    guesses = (f"{told['guessing'][figure]['value']:.3f}" for figure in FIGURES)
    yield f"  {'guessing':<26}" + "".join(f"{text:>22}" for text in guesses)
    yield "Plain LightGBM has no formal guarantee: these are what two attacks gain, not what the best could."


def _shown(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
