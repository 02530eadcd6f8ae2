"""Why the policy decides as it does: the deciding rules and their lines, and every rule that was considered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.masks._base import Mask
from privacy.policy import Decision, Policy, Principal
from privacy.policy_entry import did_you_mean, one_of
from privacy.policy_rules import ACTIONS, GAP, NAMED, NO_LEDGER, Case, Rule

__all__ = ["Considered", "Explanation", "explain"]


@dataclass(frozen=True)
class Considered:
    """A rule of the policy, what it does, and why it wasn't written for the case; `why_not` is empty when it was."""

    rule: str
    line: int
    effect: str
    does: str
    why: str
    decided: bool
    why_not: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """A decision and everything that led to it, in the words of the policy's file."""

    role: str
    purpose: str | None
    action: str
    resource: str
    where: str
    decision: Decision
    lawful_basis: str | None
    considered: tuple[Considered, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        made = self.decision
        return {
            "role": self.role,
            "purpose": self.purpose,
            "action": self.action,
            "resource": self.resource,
            "policy": self.where,
            "outcome": made.outcome,
            "rule": made.rule,
            "rules": list(made.rules),
            "masks": {tagged: _stated(mask, made.masked_by[tagged]) for tagged, mask in made.masks.items()},
            "row_filters": [{"rule": each.rule, "passes": each.text()} for each in made.filters],
            "lawful_basis": self.lawful_basis,
            "considered": [asdict(each) | {"why_not": list(each.why_not)} for each in self.considered],
        }

    def lines(self) -> Iterator[str]:
        """Return it to be read: the outcome, what decided, then each rule that speaks of the action."""
        made = self.decision
        yield f"{self.role} {_purpose(self.purpose)} asks to {self.action} {self.resource}: {_OUTCOMES[made.outcome]}"
        yield f"  policy: {self.where}"
        for each in self.considered:
            if each.decided:
                yield f"  line {each.line}: {each.rule} {each.does}" + (f". {each.why}" if each.why else "")
        if NO_LEDGER in made.rules:
            yield f"  {NO_LEDGER}: {self.purpose} rests on consent, and no consent is on record"
        if made.on_consent:
            yield f"  rows: only of people who consent to {self.purpose}, as of each row's time and now"
        for tagged, mask in made.masks.items():
            yield f"  masked: {tagged} by {mask} ({', '.join(made.masked_by[tagged])})"
        for row_filter in made.filters:
            yield f"  rows: only those that pass {row_filter.text()} ({row_filter.rule})"
        if self.purpose:
            yield f"  lawful basis of {self.purpose}: {self.lawful_basis}"
        yield from self._others()

    def _others(self) -> Iterator[str]:
        silent = [each for each in self.considered if each.why_not and each.why_not[0].startswith("action ")]
        yield "considered:"
        for each in self.considered:
            if each not in silent:
                because = "; ".join(each.why_not) or ("decides" if each.decided else _OVERRULED[self.decision.outcome])
                yield f"  line {each.line:<4} {'no ' if each.why_not else 'yes'} {each.rule} ({each.does}): {because}"
        yield f"  {len(silent)} other rules don't speak of {self.action}"
        filters = any(each.effect == "filter" for each in self.considered if each not in silent)
        if filters and self.resource.startswith("model:"):
            yield "  row filters are asked of the service that the model's rows come from: explain service:NAME too"


def _stated(mask: Mask, rules: Iterable[str]) -> dict[str, object]:
    """A mask as JSON types; `band` without edges has no parameters."""
    given = {} if mask.own else dict(mask.given)
    return {"fn": mask.name, **({"parameters": given} if given else {}), "rules": list(rules)}


_OUTCOMES = {
    "allow": "allowed",
    "mask": "allowed, with fields masked",
    "deny": "denied",
    GAP: "refused, for no rule was written for this (a gap)",
}
_OVERRULED = {
    "allow": "written for this case, but masks nothing of it",
    "mask": "written for this case, but a stricter mask holds",
    "deny": "written for this case, but what is forbidden stays forbidden",
    GAP: "written for this case, but no rule permits it",
}


def explain(policy: Policy, principal: Principal, action: str, resource: str) -> Explanation:
    """Why `policy` decides as it does; BadInput for an action or a kind of resource that nobody can ask for."""
    if action not in ACTIONS:
        raise BadInput(f"there is no action {action}", remedy=did_you_mean(action, ACTIONS))
    kind, _, name = resource.partition(":")
    if kind not in ACTIONS[action]:
        raise BadInput(f"{action} is never asked of {resource}", remedy=f"ask about {one_of(ACTIONS[action])}")
    if (kind in NAMED) != bool(name):
        form = f"{kind}:NAME" if kind in NAMED else kind
        raise BadInput(f"{resource} is no resource", remedy=f"write it as {form}")
    decision = policy.evaluate(principal, action, resource)
    case = principal.role, principal.purpose, action, resource
    considered = (_considered(rule, case, decision) for rule in sorted(policy.rules, key=lambda rule: rule.line))
    basis = policy.lawful_basis(principal.purpose) if principal.purpose else None
    return Explanation(*_words(case), policy.where, decision, basis and basis.value, tuple(considered))


def _words(case: tuple[Role, Purpose | None, str, str]) -> tuple[str, str | None, str, str]:
    role, purpose, action, resource = case
    return role.value, purpose.value if purpose else None, action, resource


def _considered(rule: Rule, case: Case, decision: Decision) -> Considered:
    deciding = {*decision.rules, *(each.rule for each in decision.filters)}.union(*decision.masked_by.values())
    does = {
        "permit": "permits it",
        "forbid": "forbids it",
        "mask": f"masks by {rule.mask} what is tagged {', '.join(f'{tag}: {is_}' for tag, is_ in rule.match.items())}",
        "filter": f"lets only rows pass with {rule.row_filter.text() if rule.row_filter else ''}",
    }[rule.effect]
    return Considered(rule.name, rule.line, rule.effect, does, rule.why, rule.name in deciding, rule.why_not(case))


def _purpose(purpose: str | None) -> str:
    return f"for {purpose}" if purpose else "without a purpose"
