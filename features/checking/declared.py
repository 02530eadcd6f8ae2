"""All that is wrong with a descriptor at once, and what is left of it to look at its data with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from features.datasets.descriptor import Descriptor, faults, place_of, told
from features.expressions import expression_faults
from privacy.errors import BadInput
from privacy.treatment import check_plan

from .findings import Finding, of_error

__all__ = ["declared"]

ROUNDS: Final = 12
"""How often what is wrong is taken out and the rest tried again: a fault may hide behind another."""
TARGETS: Final = {"churn": {"horizon_days": 28, "active_within_days": 56}, "clv": {"horizon_days": 112}}
STANDS_IN: Final[Mapping[str, Any]] = {"name": "shop", "subject": "customer_id", "targets": TARGETS}
"""What is taken for a required key that is missing or wrong, so that the rest can be looked at."""
Place = tuple[str, ...]


def declared(loaded: object, path: Path, environment: Mapping[str, str]) -> tuple[Descriptor | None, list[Finding]]:
    """Return the descriptor without its faulty parts, None where nothing of it is left, and every fault."""
    if not isinstance(loaded, dict):
        return None, [of_error(BadInput("the descriptor is not a mapping"), "not_a_mapping", declared=True)]
    document, findings = copy.deepcopy(loaded), []
    mended: set[Place] = set()
    descriptor = None
    for _ in range(ROUNDS):
        try:
            descriptor = Descriptor.model_validate(document)
            break
        except ValidationError as error:
            for each in error.errors(include_url=False, include_context=False, include_input=False):
                place = tuple(place_of(each))
                if place not in mended:
                    findings.append(_finding(each, place))
                _take_out(document, place, mended)
    if descriptor is None:
        return None, findings
    descriptor._base_dir, descriptor._environment = path.parent, environment
    for fault in _meant(descriptor):
        finding = of_error(fault, "refused", declared=True)
        if not any(str(part) in fault.what for part in _names(mended, descriptor)):
            findings.append(finding)
    return descriptor, findings


def _finding(error: Any, place: Place) -> Finding:
    table = place[1] if place[:1] == ("tables",) and len(place) > 1 else ""
    column = place[3] if table and place[2:3] == ("columns",) and len(place) > 3 else ""
    kind = error["type"]
    undeclared = kind == "missing" and place[4:] == ("sensitivity",)
    code = {"extra_forbidden": "unknown_key", "missing": "missing_key"}.get(kind, "wrong_value")
    remedy = "decide how sensitive it is, or delete the column" if undeclared else "mend the descriptor"
    return Finding(table, column, "error", "undeclared" if undeclared else code, told(error), remedy, declared=True)


def _take_out(document: dict[Any, Any], place: Place, mended: set[Place]) -> None:
    """Take the deepest part of `place` that is there out of the document, or put in what stands for it."""
    mended.add(place)
    if place[:1] and place[0] in STANDS_IN:
        document[place[0]] = copy.deepcopy(STANDS_IN[place[0]])
        return
    way: list[tuple[Any, Any]] = []
    node: Any = document
    for part in place:
        key = _key(node, part)
        if key is None:
            break
        way.append((node, key))
        node = node[key]
    if place[2:3] == ("columns",) and place[4:] == ("sensitivity",) and len(way) >= 4:
        column = way[3][0][way[3][1]]
        column["sensitivity"] = "direct_identifier" if place[3] == document.get("subject") else "behavioural"
    elif way:
        mended.add(place[: len(way)])
        parent, last = way[-1]
        del parent[last]


def _key(node: Any, part: str) -> Any:
    """The key of a mapping that `part` is the text of; None where there is none."""
    return next((key for key in node if str(key) == part), None) if isinstance(node, dict) else None


def _meant(descriptor: Descriptor) -> Iterator[BadInput]:
    yield from faults(descriptor, "")
    for table in descriptor.tables.values():
        yield from expression_faults(table)
        try:
            check_plan(table.plan())
        except BadInput as fault:
            yield BadInput(f"table '{table.name}': {fault.what}", where=fault.where, remedy=fault.remedy)


def _names(mended: set[Place], descriptor: Descriptor) -> Iterator[str]:
    """How messages name what was taken out or replaced: nothing more is said of it."""
    for place in mended:
        if place[:1] == ("subject",):
            yield f"'{descriptor.subject}'"
        elif place[:1] == ("tables",) and len(place) > 3:
            yield f"'{place[1]}.{place[3]}'"
            yield f"table '{place[1]}' has no column '{place[3]}'"
        elif place[:1] == ("tables",) and len(place) > 1:
            yield f"table '{place[1]}'"
