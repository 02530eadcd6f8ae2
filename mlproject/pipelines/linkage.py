"""What two purposes' answers give away by equal values: how many people link, and what coarser values buy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mlproject.pipelines.build import data_time
from privacy.counted import counted
from privacy.errors import BadInput
from privacy.risk import EXACT, Coarsening

if TYPE_CHECKING:
    import pyarrow as pa

    from features.gateway_types import ServiceInfo
    from mlproject.wiring import House

__all__ = ["linkage_lines", "measure_linkage"]

WAYS: Final = (
    EXACT,
    Coarsening("decimals", 2),
    Coarsening("decimals", 0),
    Coarsening("significant", 2),
    Coarsening("bands", 10),
    Coarsening("bands", 4),
    Coarsening("bands", 2),
)
COUNTS: Final = (1, 2, 3, 5)
"""Of how many columns the attacker knows; all of them is the last case."""


def measure_linkage(house: House, purposes: Sequence[str], *, as_of: datetime | None) -> dict[str, Any]:
    """Link the rows that two purposes may read by equal feature values, from exact ones to coarse bands.

    The attacker takes the columns that make most people unique. Only figures come back; each purpose's read is
    authorised and audited by the gateway.
    """
    from privacy.risk import linkage, strongest_columns

    if len(set(purposes)) != 2:
        raise BadInput("two different purposes are needed", remedy="such as --purposes retention value")
    moment = data_time(house.state, as_of)
    services = [_service_of(house, purpose) for purpose in purposes]
    _check_shared(house.gateway.services(), purposes, services)
    left, right = (_rows(house, *pair, moment) for pair in zip(purposes, services, strict=True))
    keys = {"customer_token", "event_timestamp"}
    shared = [name for name in right.column_names if name in left.column_names and name not in keys]
    measured = []
    for way in WAYS:
        chosen = strongest_columns(right, shared, max(COUNTS), way)
        wanted = [chosen[:count] for count in COUNTS]  # fewer, where more tell nobody else apart
        found = [linkage(left, right, "customer_token", columns, way) for columns in (*wanted, tuple(shared))]
        measured.append({"values": way.text(), "linked": [one.to_dict() for one in found]})
    sides = [{"purpose": purpose, "service": service} for purpose, service in zip(purposes, services, strict=True)]
    told = {"as_of": moment.date().isoformat(), "people": left.num_rows, "sides": sides, "shared_columns": len(shared)}
    return {**told, "ways": measured}


def linkage_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the measurement as a small table: the share of people that link, with its 95 % interval."""
    first, second = (f"{side['purpose']} ({side['service']})" for side in found["sides"])
    people = counted(found["people"], "person", "people")
    yield f"{people} as of {found['as_of']}: rows of {first} and of {second} linked by equal values"
    yield f"of {counted(found['shared_columns'], 'shared column')}; the attacker takes those that tell most."
    counts = [counted(count, "column") for count in COUNTS]
    yield f"  {'values told':<22}" + "".join(f"{text:>22}" for text in (*counts, "all columns"))
    for way in found["ways"]:
        yield f"  {way['values']:<22}" + "".join(f"{_cell(linked):>22}" for linked in way["linked"])
    guess = found["ways"][0]["linked"][-1]["baseline"]["value"]
    yield f"matching at random links {guess:.2%}; a column that tells nobody else apart isn't added."


def _cell(linked: Mapping[str, Any]) -> str:
    rate = linked["linked"]
    return f"{rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]".replace("100.0%", "100%")


def _service_of(house: House, purpose: str) -> str:
    """The first feature service of a purpose, by name."""
    services = {info.name: [each.value for each in info.purposes] for info in house.gateway.services()}
    for name in sorted(services):
        if purpose in services[name]:
            return name
    served = sorted({each for purposes in services.values() for each in purposes})
    remedy = f"purposes with features are: {', '.join(served)}" if served else "run `custos build` first"
    raise BadInput(f"no feature service serves the purpose {purpose}", remedy=remedy)


def _check_shared(infos: Sequence[ServiceInfo], purposes: Sequence[str], services: Sequence[str]) -> None:
    """Refuse services without a number in common, before their rows are read."""
    numbers = {info.name: set(info.features) - info.texts for info in infos}
    if not numbers[services[0]] & numbers[services[1]]:
        sides = " and ".join(f"{service} ({purpose})" for service, purpose in zip(services, purposes, strict=True))
        raise BadInput(f"{sides} share no numeric column to link by", remedy="such as --purposes retention value")


def _rows(house: House, purpose: str, service: str, moment: datetime) -> pa.Table:
    rows = house.gateway.snapshot_rows(house.operator(purpose), service, moment, action="attack")
    if not rows.num_rows:
        raise BadInput(f"nobody is known as of {moment.date()}", remedy="give a later --as-of")
    return rows
