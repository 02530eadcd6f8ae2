"""The inference gate run again on a home, and what to withhold so that the services that fail it pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.inference import about, alike, gate, keep, marks_of, read_services
from privacy.errors import BadInput, CustosError, Refused

if TYPE_CHECKING:
    from mlproject.stages import Stages
    from mlproject.wiring import House
    from training.inference_gate import Inferred

__all__ = ["check_home", "ways_out"]

SERVICE: Final = "service:"


def check_home(house: House, stages: Stages) -> dict[str, Any]:
    """Attack what the home publishes again, note the verdicts on the versions that serve or wait; return the report.

    Where a service fails, the section has what `ways_out` finds.
    """
    from training.settling import note_inferring

    if house.state.as_of is None:
        raise BadInput("no features were built yet", where=str(house.paths.root), remedy="run `custos build` first")
    with house.lock():
        with stages.stage("attack what is published"):
            behind = {target: _versions(house, target) for target in ("churn", "clv")}
            found = gate(house, {target: tested for target, (tested, _) in behind.items() if tested is not None})
            for target, (_, versions) in behind.items():
                for version in versions if found else ():
                    note_inferring(house.registry, target, version, about(target, found), marks_of(house))
        if all(each.passed for each in found):
            return keep(house, found)
        with stages.stage("look for what to withhold"):
            return keep(house, found, ways_out(house, found, stages.progress))


def ways_out(house: House, found: Sequence[Inferred], progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Return, for the services that failed in `found`, what the gate says without some of their features.

    `ways` has one entry for those that publish the same; `withhold` is the whole list for the descriptor, what it
    withholds already included. What can't be read or tested has no entry: its verdict says why. Reads are authorised
    and audited as the gate's own.
    """
    from features.datasets.inference import withholdable
    from features.inference_evidence import FlagWindow
    from training.withholding import way_out

    failed = {each.what for each in found if not each.passed and each.what.startswith(SERVICE)}
    attributes, window, descriptor = list(house.descriptor.inference), FlagWindow(), house.descriptor
    ways, withhold = list[dict[str, Any]](), dict.fromkeys(descriptor.withhold)
    tables = read_services(house, window) if failed else {}
    for names, table in alike({name: table for name, table in tables.items() if name in failed}):
        if isinstance(table, CustosError):
            continue
        try:
            evidence = house.inference_evidence.of(house.operator(), house.state.dataset, table, attributes, window)
        except Refused:
            raise
        except CustosError:  # the flags are gone or damaged
            continue
        way = way_out(table, evidence, attributes, withholdable(slow=descriptor.slow), progress=progress)
        ways.append({"services": [name.removeprefix(SERVICE) for name in names], **way.to_dict()})
        withhold |= dict.fromkeys(way.withhold)
    return {"ways": ways, "withhold": list(withhold)}


def _versions(house: House, target: str) -> tuple[int | None, list[int]]:
    """The version whose scores are out of time, and those the verdict is noted on: what waits, then what serves."""
    if not house.paths.mlflow_database.exists():
        return None, []
    found = [ref for ref in (house.registry.challenger(target), house.registry.champion(target)) if ref is not None]
    if not found:
        return None, []
    tested = int(found[0].tags.get("refit_of", found[0].version))
    return tested, [ref.version for ref in found if int(ref.tags.get("refit_of", ref.version)) == tested]
