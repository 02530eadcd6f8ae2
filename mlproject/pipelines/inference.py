"""What must not be inferred of people: proposals for a descriptor, and the gate that attacks what is published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.report import record
from mlproject.pipelines.targets import SERVICES
from mlproject.report_file import read_report
from mlproject.settings import environment
from privacy.errors import CheckFailed, CustosError, EnvironmentFailed, Refused

if TYPE_CHECKING:
    import pyarrow as pa

    from features.inference_evidence import FlagWindow
    from mlproject.wiring import House
    from training.inference_gate import Inferred
    from training.registry import ChampionRef

__all__ = [
    "about",
    "alike",
    "gate",
    "keep",
    "marks_of",
    "propose_marks",
    "proposed_yaml",
    "read_services",
    "require_service",
]

Tables = Mapping[str, "pa.Table | CustosError"]


def propose_marks(house: House, dataset: str) -> dict[str, dict[str, list[str]]]:
    """Return what the word lists would mark in a dataset: attribute -> `table.column` -> values of the data."""
    from features.datasets.descriptor import load_descriptor
    from features.marking import propose

    descriptor = load_descriptor(dataset, environment())
    house.permit("ingest", f"dataset:{descriptor.name}")
    return propose(descriptor)


def proposed_yaml(proposed: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    """Yield the block for a person to read, correct and put into the descriptor."""
    import yaml

    if not proposed:
        yield "# No value of a product or line holds a word of the lists; that doesn't mean that nothing is telling."
        return
    yield "# Proposed by word lists, not applied: take out what doesn't tell it, add what the words missed."
    yield yaml.safe_dump({"inference": dict(proposed)}, allow_unicode=True, sort_keys=False).rstrip()


def gate(house: House, tested: Mapping[str, int]) -> list[Inferred]:
    """Attack every feature service and the out-of-time scores of the `tested` versions for each marked attribute.

    Empty where the descriptor marks nothing. Whatever can't be read or attacked has a verdict that says so.
    """
    from features.inference_evidence import FlagWindow

    attributes, window = list(house.descriptor.inference), FlagWindow()
    if not attributes:
        return []
    services = read_services(house, window)
    tables = {**services, **_scores(house, services, tested)}
    return [verdict for names, table in alike(tables) for verdict in _examined(house, names, table, attributes, window)]


def about(target: str, found: Sequence[Inferred]) -> list[Inferred]:
    """Return the verdicts on a target's scores and on the service it learns from."""
    mine = {f"model:{target}", f"service:{SERVICES[target][0]}"}
    return [each for each in found if each.what in mine]


def marks_of(house: House) -> str:
    """Return what tells the descriptor's marks from others: a verdict holds for those that it was found under."""
    marked = {
        name: {place: list(told) for place, told in by.items()} for name, by in house.descriptor.inference.items()
    }
    return hashlib.sha256(json.dumps(marked, sort_keys=True).encode()).hexdigest()[:16]


def require_service(house: House, service: str) -> None:
    """Raise CheckFailed unless what a service publishes has passed the gate for what is marked now."""
    if not house.descriptor.inference:
        return
    section = read_report(house.paths.report).get("inference", {})
    mine = [verdict for verdict in section.get("verdicts", ()) if verdict["what"] == f"service:{service}"]
    remedy = "run `custos inference check`"
    if section.get("marks") != marks_of(house) or not mine:
        what = f"{service} hasn't been through the inference gate for what is marked now"
        raise CheckFailed(what, remedy=remedy)
    failed = [verdict["attribute"] for verdict in mine if not verdict["passed"]]
    if failed:
        what = f"{service} failed the inference gate: it would tell {', '.join(failed)}"
        raise CheckFailed(what, remedy="`custos inference check` looks for features to put under `withhold:`")


def keep(house: House, found: Sequence[Inferred], way_out: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Keep the verdicts, and the way out where one was looked for, as a section of the report and return it."""
    from dataclasses import asdict

    from features.inference_evidence import FlagWindow

    window = asdict(FlagWindow())
    section = {
        "marked": list(house.descriptor.inference),
        "marks": marks_of(house),
        **window,
        "verdicts": [each.to_dict() for each in found],
        **({} if way_out is None else {"way_out": way_out}),
    }
    record(house, "inference", section)
    return section


def _moments(house: House, days: int) -> list[datetime]:
    """As-of, then built cut-offs a whole window apart each with a whole window behind it, latest first."""
    state = house.state
    noted = house.stores.feature_store(state.dataset).manifest("cutoffs")["cutoffs"]
    built = sorted((datetime.fromisoformat(text).astimezone(UTC) for text in noted), reverse=True)
    moments, window = built[:1], timedelta(days=days)
    for moment in built[1:]:
        if moment <= moments[-1] - window and moment - window >= state.first_event - timedelta(days=7):
            moments.append(moment)
    return moments


def _rows(house: House, service: str, purpose: str, moments: Sequence[datetime]) -> pa.Table:
    import pyarrow as pa

    principal = house.operator(purpose)
    return pa.concat_tables(
        house.gateway.snapshot_rows(principal, service, moment, action="attack") for moment in moments
    )


def read_services(house: House, window: FlagWindow) -> dict[str, pa.Table | CustosError]:
    """Return every registered service's columns at moments a window apart, or why they can't be read; audited."""
    found: dict[str, pa.Table | CustosError] = {}
    read: dict[tuple[str, ...], pa.Table] = {}
    for info in house.gateway.services():
        try:
            if info.features not in read:  # two services of the same columns publish the same
                read[info.features] = _rows(house, info.name, info.purposes[0].value, _moments(house, window.days))
            found[f"service:{info.name}"] = read[info.features]
        except Refused:
            raise  # whoever may not test learns that, and no verdict is overwritten
        except CustosError as error:
            found[f"service:{info.name}"] = error
    return found


def _scores(house: House, services: Tables, tested: Mapping[str, int]) -> dict[str, pa.Table | CustosError]:
    """What each tested version says of everybody at moments later than it was trained on, or why it can't be told."""
    import numpy as np
    import pyarrow as pa

    from training.scoring import score_rows

    found: dict[str, pa.Table | CustosError] = {}
    active_within = house.descriptor.targets.churn.active_within_days
    for target, number in tested.items():
        rows = services[f"service:{SERVICES[target][0]}"]
        if isinstance(rows, CustosError):
            found[f"model:{target}"] = rows
            continue
        try:
            ref = house.registry.version(target, number)
            later = _after(rows, _last_trained(house, ref))
            active = active_within if target == "churn" else None
            scores = score_rows(house.registry.load(ref), later.to_pandas(), active).value
        except CustosError as error:
            found[f"model:{target}"] = error
            continue
        keys = later.select(["customer_token", "event_timestamp"]).append_column("score", pa.array(scores))
        found[f"model:{target}"] = keys.filter(pa.array(np.isfinite(scores)))
    return found


def _last_trained(house: House, ref: ChampionRef) -> str:
    """The last training cut-off of a version, ISO 8601."""
    try:
        return str(max(house.registry.evaluation(ref)["cutoffs"]["train"]))
    except (LookupError, TypeError, ValueError):
        what = f"the run behind {ref.target} version {ref.version} doesn't tell what it was trained on"
        raise EnvironmentFailed(what, remedy=f"custos train {ref.target}") from None


def _after(rows: pa.Table, day: str) -> pa.Table:
    """The rows of moments later than `day`, ISO 8601."""
    import pyarrow as pa
    import pyarrow.compute as pc

    moments = rows["event_timestamp"]
    return rows.filter(pc.greater(moments, pa.scalar(datetime.fromisoformat(f"{day}T00:00+00:00"), moments.type)))


def alike(tables: Tables) -> list[tuple[list[str], pa.Table | CustosError]]:
    """Return names beside what they publish; one attack is enough for those that publish the same."""
    grouped: dict[int, tuple[list[str], pa.Table | CustosError]] = {}
    for name, table in tables.items():
        grouped.setdefault(id(table), ([], table))[0].append(name)
    return list(grouped.values())


def _examined(
    house: House, names: Sequence[str], table: pa.Table | CustosError, attributes: Sequence[str], window: FlagWindow
) -> Iterator[Inferred]:
    from dataclasses import replace

    from training.inference_gate import examine, not_tested

    for attribute in attributes:
        if isinstance(table, CustosError):
            found = not_tested(names[0], [attribute], table)[0]
        else:
            try:
                evidence = house.inference_evidence.of(
                    house.operator(), house.state.dataset, table, [attribute], window
                )
                found = examine(names[0], table, evidence, attribute)
            except Refused:
                raise
            except CustosError as error:
                found = not_tested(names[0], [attribute], error)[0]
        yield from (replace(found, what=name) for name in names)
