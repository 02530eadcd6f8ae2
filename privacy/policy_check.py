"""Looking for what a policy says in vain, twice or against itself, over every case it can be asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Literal

from privacy.classification import Purpose, Role
from privacy.policy import Decision, Policy, Principal
from privacy.policy_entry import did_you_mean
from privacy.policy_file import PolicyText
from privacy.policy_rules import ACTIONS, NAMED, Case, Finding, RowFilter, Rule, owner_of

__all__ = ["Names", "all_cases", "check_policy", "resources_of"]


@dataclass(frozen=True)
class Names:
    """What layers above know: names by kind, and each service's feature columns; a kind left out isn't checked."""

    resources: Mapping[str, frozenset[str]] = field(default_factory=dict)
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)


def check_policy(text: PolicyText, policy: Policy, names: Names | None = None) -> list[Finding]:
    """What is wrong with a policy, by line; `policy` is made of `text` and the lawful bases in effect.

    Exact: every case that the policy can tell apart is looked at, `kind:*` standing for all names that it doesn't
    mention.
    """
    cases = {rule.name: frozenset(_cases_of(rule, policy)) for rule in text.rules}
    allowed = frozenset(case for case in all_cases(policy) if _decided(policy, case).allowed)
    findings = [
        *text.findings,
        *_unknown_names(text.rules, names or Names()),
        *_without_effect(text.rules, cases, allowed, policy),
        *_twice(text.rules, cases),
        *_masks_that_meet(text.rules, cases, allowed, policy),
        *_filters_nobody_passes(text.rules, cases, allowed),
    ]
    order = ("error", "danger", "warning")
    return sorted(findings, key=lambda found: (order.index(found.level), found.line, found.what))


def all_cases(policy: Policy) -> Iterator[Case]:
    """Every case that the policy can tell apart."""
    for action in ACTIONS:
        yield from product(Role, (None, *Purpose), (action,), resources_of(policy, action))


def resources_of(policy: Policy, action: str) -> list[str]:
    """What an action is asked about: every name that the policy mentions, and `kind:*` for all the others.

    Kinds of which there is one only, such as the vault, stand for themselves.
    """
    mentioned = {pattern for rule in policy.rules for pattern in rule.resources} | {*map(owner_of, policy.tags)}
    found: list[str] = []
    for kind in ACTIONS[action]:
        named = sorted(name for name in mentioned if name.startswith(f"{kind}:") and not name.endswith(":*"))
        found += [*named, f"{kind}:*"] if kind in NAMED else [kind]
    return found


def _cases_of(rule: Rule, policy: Policy) -> Iterator[Case]:
    purposes = (None, *Purpose) if rule.purposes is None else tuple(rule.purposes)
    for action in rule.actions:
        resources = [resource for resource in resources_of(policy, action) if rule.fits(resource)]
        yield from product(rule.roles, purposes, (action,), resources)


def _unknown_names(rules: Iterable[Rule], names: Names) -> Iterator[Finding]:
    for rule in rules:
        for pattern in rule.resources:
            kind, _, name = pattern.partition(":")
            known = names.resources.get(kind)
            if known is None or name in known or name in ("", "*"):
                continue
            level: Literal["danger", "warning"] = "warning" if rule.effect == "permit" else "danger"
            what = f"policy {rule.name}: there is no {pattern} here"
            yield Finding(level, rule.line, what, did_you_mean(name, known))
        if rule.row_filter is None:
            continue
        for service, columns in names.columns.items():
            if rule.fits(f"service:{service}") and rule.row_filter.column not in columns:
                column = rule.row_filter.column
                what = f"policy {rule.name}: service:{service} has no column {column}; every read of it is refused"
                yield Finding("danger", rule.line, what, did_you_mean(column, columns))


def _without_effect(
    rules: Iterable[Rule], cases: Mapping[str, frozenset[Case]], allowed: frozenset[Case], policy: Policy
) -> Iterator[Finding]:
    forbids = [rule for rule in rules if rule.effect == "forbid"]
    for rule in rules:
        if rule.effect == "forbid" or cases[rule.name] & allowed:
            continue
        if rule.effect != "permit":
            does = "masks" if rule.effect == "mask" else "filters"
            what = f"policy {rule.name} {does} nothing: no rule permits any of its cases"
            yield Finding("warning", rule.line, what, "check its roles, purposes, actions and resources")
            continue
        opposite = next((forbid for forbid in forbids if cases[forbid.name] == cases[rule.name]), None)
        if opposite is not None:
            what = (
                f"policy {rule.name} permits exactly what {opposite.name} forbids (line {opposite.line}); forbid wins"
            )
        else:
            against = sorted({name for case in cases[rule.name] for name in _decided(policy, case).rules})
            what = f"policy {rule.name} permits nothing: each of its cases is denied by {', '.join(against)}"
        yield Finding("warning", rule.line, what, "remove it, or narrow what denies it")


def _twice(rules: Iterable[Rule], cases: Mapping[str, frozenset[Case]]) -> Iterator[Finding]:
    seen: dict[object, Rule] = {}
    for rule in rules:
        condition = rule.row_filter and replace(rule.row_filter, rule="")
        says = rule.effect, cases[rule.name], rule.mask, frozenset(rule.match.items()), condition
        first = seen.setdefault(says, rule)
        if first is not rule:
            what = f"policy {rule.name} says the same as {first.name} (line {first.line})"
            yield Finding("warning", rule.line, what, "remove one of them")


def _masks_that_meet(
    rules: Iterable[Rule], cases: Mapping[str, frozenset[Case]], allowed: frozenset[Case], policy: Policy
) -> Iterator[Finding]:
    masks = [rule for rule in rules if rule.effect == "mask"]
    for first, second in combinations(masks, 2):
        if first.mask == second.mask:
            continue
        owners = {resource for *_, resource in cases[first.name] & cases[second.name] & allowed}
        both = [
            tagged
            for tagged, own in policy.tags.items()
            if owner_of(tagged) in owners and first.masks_tags(own) and second.masks_tags(own)
        ]
        if both:
            what = f"policies {first.name} and {second.name} mask {', '.join(both)} differently; redact holds"
            yield Finding("warning", second.line, what, "leave the case to one of them")


def _filters_nobody_passes(
    rules: Iterable[Rule], cases: Mapping[str, frozenset[Case]], allowed: frozenset[Case]
) -> Iterator[Finding]:
    filters = [rule for rule in rules if rule.row_filter is not None]
    together = {case: tuple(rule for rule in filters if case in cases[rule.name]) for case in allowed}
    for meeting in sorted(set(together.values()), key=lambda group: [rule.line for rule in group]):
        for column in sorted({rule.row_filter.column for rule in meeting if rule.row_filter}):
            own = [rule.row_filter for rule in meeting if rule.row_filter and rule.row_filter.column == column]
            if not _some_pass(own):
                names = ", ".join(each.rule for each in own)
                what = f"nobody passes the row filters {names} together, so nobody is answered about"
                yield Finding("danger", max(rule.line for rule in meeting), what, f"compare what they ask of {column}")


def _some_pass(filters: Sequence[RowFilter]) -> bool:
    least = max((each.least for each in filters if each.least is not None), default=-math.inf)
    most = min((each.most for each in filters if each.most is not None), default=math.inf)
    listed = [frozenset(each.one_of) for each in filters if each.one_of is not None]
    if listed:
        return any(least <= value <= most for value in frozenset.intersection(*listed))
    return least <= most


def _decided(policy: Policy, case: Case) -> Decision:
    role, purpose, action, resource = case
    return policy.decide(Principal("", role, purpose), action, resource)
