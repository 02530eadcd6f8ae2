"""What a policy comes to: every role, purpose and column, action by action, and the gaps between its rules."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, TypeVar

from privacy.classification import Purpose, Role
from privacy.policy import Policy, Principal
from privacy.policy_check import resources_of
from privacy.policy_rules import ACTIONS, GAP

__all__ = ["Cell", "gap_lines", "gaps_of", "matrix_lines", "matrix_of"]

_PURPOSES: Final[tuple[Purpose | None, ...]] = (*Purpose, None)
_LEFT: Final = 46
_WIDE: Final = 12
_Told = TypeVar("_Told", bound=tuple[object, ...])


@dataclass(frozen=True)
class Cell:
    """What one role gets of one column for one purpose; `column` is a field of a model, or a whole resource."""

    action: str
    column: str
    role: Role
    purpose: Purpose | None
    outcome: str
    rules: tuple[str, ...]
    filters: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        return {**vars(self), "rules": list(self.rules), "filters": list(self.filters)}


def matrix_of(policy: Policy) -> list[Cell]:
    """Every cell; outcomes are `allow`, `mask:` and the mask with its parameters, `deny` and `gap`.

    `kind:*` is any name not mentioned.
    """
    return [
        _cell(policy, Principal("", role, purpose), action, resource, column)
        for action in ACTIONS
        for resource in resources_of(policy, action)
        for column in _columns(policy, action, resource)
        for role in Role
        for purpose in _PURPOSES
    ]


def _columns(policy: Policy, action: str, resource: str) -> list[str]:
    """The fields that masks may hide; a service has other columns too, which its own name stands for."""
    fields = policy.fields_of(action, resource)
    return fields if fields and not resource.startswith("service:") else [*fields, resource]


def _cell(policy: Policy, principal: Principal, action: str, resource: str, column: str) -> Cell:
    decision = policy.decide(principal, action, resource)
    outcome: str = "allow" if decision.allowed else decision.outcome
    rules = decision.rules
    if column in decision.masks:
        outcome, rules = f"mask:{decision.masks[column]}", decision.masked_by[column]
    filters = tuple(f"{each.rule}: {each.text()}" for each in decision.filters)
    return Cell(action, column, principal.role, principal.purpose, outcome, rules, filters)


def matrix_lines(cells: Sequence[Cell]) -> Iterator[str]:
    """The matrix to read: a table an action; roles, and columns, that get the same share their lines.

    A star means that row filters hold, which are listed below their table, as are the parameters of masks.
    """
    for action, own in groupby(cells, key=lambda cell: cell.action):
        rows = list(own)
        wide = max(_WIDE, *(len(_shown(cell)) + 1 for cell in rows))
        yield f"{action:<{_LEFT}}" + "".join(f"{purpose or 'no purpose':<{wide}}" for purpose in _PURPOSES).rstrip()
        for columns, lines in _same(rows, partial(_block, wide)):
            yield from (f"  {line}" for line in _wrapped(columns, 116))
            yield from lines
        given = (cell for cell in rows if _given(cell))
        yield from sorted({f"  {cell.column} {cell.outcome} ({', '.join(cell.rules)})" for cell in given})
        yield from sorted({f"  * only rows that pass {text}" for cell in rows for text in cell.filters})
        yield ""


def gap_lines(cells: Sequence[Cell]) -> Iterator[str]:
    """Where no rule was written: action by action, who asks for what in vain without any rule saying so."""
    gaps = sum(cell.outcome == GAP for cell in cells)
    yield f"gaps: {gaps:,} of {len(cells):,} cells; no rule was written for them, so they are refused"
    for action, own in groupby(cells, key=lambda cell: cell.action):
        for columns, who in _same(list(own), _gaps):
            for roles, purposes in who:
                yield f"  {action:<16}{', '.join(columns)}: {roles} {purposes}"


def gaps_of(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """The same for a program: action, column, role and the purposes (None: without one) that meet a gap."""
    found = []
    for (action, column, role), own in groupby(cells, key=lambda cell: (cell.action, cell.column, cell.role)):
        missed = [cell.purpose for cell in own if cell.outcome == GAP]
        if missed:
            found.append({"action": action, "column": column, "role": role, "purposes": missed})
    return found


def _gaps(block: Sequence[Cell]) -> tuple[tuple[str, str], ...]:
    """Which roles meet a gap, and for which purposes."""
    found: dict[tuple[Purpose | None, ...], list[str]] = {}
    for role, own in groupby(block, key=lambda cell: cell.role):
        missed = tuple(cell.purpose for cell in own if cell.outcome == GAP)
        if missed:
            found.setdefault(missed, []).append(role)
    return tuple((_everyone(roles), _for(purposes)) for purposes, roles in found.items())


def _for(purposes: Sequence[Purpose | None]) -> str:
    named = [purpose for purpose in purposes if purpose]
    if len(purposes) == len(_PURPOSES):
        return "for any purpose"
    parts = ([f"for {', '.join(named)}"] if named else []) + (["without a purpose"] if None in purposes else [])
    return " and ".join(parts)


def _same(cells: Sequence[Cell], told: Callable[[list[Cell]], _Told]) -> list[tuple[list[str], _Told]]:
    """What is told of each column, once for all columns of which the same is told; names as they are read."""
    blocks: dict[_Told, list[str]] = {}
    named = {cell.column for cell in cells if not cell.column.endswith(":*")}
    several = {column.partition(":")[0] if ":" in column else "model" for column in named}
    for column, block in groupby(cells, key=lambda cell: cell.column):
        kind, _, name = column.partition(":")
        shown = column if name != "*" else f"any other {kind}" if kind in several else f"any {kind}"
        blocks.setdefault(told(list(block)), []).append(shown)
    return [(columns, lines) for lines, columns in blocks.items()]


def _block(wide: int, cells: Sequence[Cell]) -> tuple[str, ...]:
    roles: dict[tuple[str, ...], list[str]] = {}
    lines = []
    for role, own in groupby(cells, key=lambda cell: cell.role):
        roles.setdefault(tuple(_shown(cell) for cell in own), []).append(role)
    for outcomes, names in roles.items():
        table = "".join(f"{outcome:<{wide}}" for outcome in outcomes).rstrip()
        *above, last = _wrapped(_everyone(names).split(", "), _LEFT - 5)
        lines += [*(f"    {line}" for line in above), f"    {last:<{_LEFT - 4}}{table}"]
    return tuple(lines)


def _everyone(roles: Sequence[str]) -> str:
    return "every role" if len(roles) == len(Role) else ", ".join(roles)


def _shown(cell: Cell) -> str:
    return cell.outcome.partition(" ")[0] + ("*" if cell.filters and cell.outcome not in ("deny", GAP) else "")


def _given(cell: Cell) -> bool:
    return cell.outcome.startswith("mask:") and " " in cell.outcome


def _wrapped(names: Sequence[str], width: int) -> list[str]:
    """The names, with commas, in lines of at most `width` characters."""
    return textwrap.wrap(", ".join(names), width, break_long_words=False, break_on_hyphens=False)
