"""The policy decided once more by Cedar itself: the same answer, and the same rules that determined it.

Source: Cedar's reference, https://docs.cedarpolicy.com/auth/authorization.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import cedarpy
import pytest
import yaml
from hypothesis import given, settings

from privacy.classification import Role
from privacy.policy import Decision, Policy, Principal, built_in_policy

from .policies import ASKED, PRINCIPALS, documents, policy_of

READ_PEOPLE = ["features.read", "materialize", "predict", "score", "train"]
Asked = tuple[Principal, str, str]


def quoted(kind: str, words: Sequence[str]) -> str:
    return "[" + ", ".join(f'{kind}::"{word}"' if kind else f'"{word}"' for word in words) + "]"


def to_cedar(rule: dict[str, Any], effect: str) -> str:
    """A rule of the file as a Cedar policy; masks and filters become permits, to see which ones were satisfied."""
    conditions = [f"principal in {quoted('Role', rule['to'])}"] if "to" in rule else []
    if "purposes" in rule:
        conditions.append(f"context has purpose && {quoted('', rule['purposes'])}.contains(context.purpose)")
    resources = []
    for pattern in rule["resources"]:
        kind, _, name = pattern.partition(":")
        resources.append(f'resource in Kind::"{kind}"' if name in ("", "*") else f'resource == Resource::"{pattern}"')
    conditions.append(" || ".join(resources))
    for tag, value in rule.get("column_mask", {}).get("match", {}).items():
        conditions.append(f'context.tags has "{tag}" && context.tags["{tag}"] == "{value}"')
    when = " && ".join(f"({condition})" for condition in conditions)
    unless = f" unless {{ principal in {quoted('Role', rule['except'])} }}" if "except" in rule else ""
    head = f"{effect} (principal, action in {quoted('Action', rule['actions'])}, resource)"
    return f'@id("{rule["name"]}") {head} when {{ {when} }}{unless};'


def policy_sets(document: dict[str, Any]) -> tuple[cedarpy.PolicySet, ...]:
    """What permits and forbids, what masks, what filters."""
    rules = document["policies"]
    on_consent = [name for name, entry in document["purposes"].items() if entry["lawful_basis"] == "consent"]
    deciding = [
        to_cedar(rule, "forbid" if rule.get("forbid") else "permit")
        for rule in rules
        if not {"column_mask", "row_filter"} & set(rule)
    ]
    if on_consent:
        when = f"context has purpose && {quoted('', on_consent)}.contains(context.purpose)"
        reading = f"action in {quoted('Action', READ_PEOPLE)}"
        deciding.append(f'@id("no-consent-ledger") forbid (principal, {reading}, resource) when {{ {when} }};')
    masking = [to_cedar(rule, "permit") for rule in rules if "column_mask" in rule]
    filtering = [to_cedar(rule, "permit") for rule in rules if "row_filter" in rule]
    return tuple(cedarpy.PolicySet.from_str("\n".join(texts)) for texts in (deciding, masking, filtering))


def entity(kind: str, name: str, *parents: tuple[str, str]) -> dict[str, Any]:
    above = [{"type": parent, "id": own} for parent, own in parents]
    return {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": above}


def entities(resources: Sequence[str]) -> cedarpy.Entities:
    listed = [entity("User", role, ("Role", role)) for role in Role]
    listed += [entity("Resource", resource, ("Kind", resource.partition(":")[0])) for resource in resources]
    return cedarpy.Entities.from_json_str(json.dumps(listed))


def asked_of_cedar(
    policies: cedarpy.PolicySet, known: cedarpy.Entities, asked: Sequence[Asked], tags: dict[str, str]
) -> Iterator[tuple[bool, set[str]]]:
    """Whether Cedar allows, and the names of the rules that determined it."""
    requests = [
        {
            "principal": {"type": "User", "id": who.role.value},
            "action": {"type": "Action", "id": action},
            "resource": {"type": "Resource", "id": resource},
            "context": {"tags": tags} | ({"purpose": who.purpose.value} if who.purpose else {}),
        }
        for who, action, resource in asked
    ]
    for result in cedarpy.is_authorized_batch(requests, policies, known):
        assert result.diagnostics.errors == []
        names = result.diagnostics.id_annotations_by_reason
        assert set(names) == set(result.diagnostics.reasons)
        yield result.allowed, set(names.values())


def agree(document: dict[str, Any], policy: Policy, asked: Sequence[Asked]) -> None:
    known = entities(sorted({resource for *_, resource in asked}))
    deciding, masking, filtering = policy_sets(document)
    made = [policy.evaluate(*each) for each in asked]
    for each, decision, (allowed, names) in zip(asked, made, asked_of_cedar(deciding, known, asked, {}), strict=True):
        assert decision.allowed == allowed, each
        assert set(decision.rules) == names, each
        assert (decision.outcome == "gap") == (not allowed and not names), each
    going_on = [(each, decision) for each, decision in zip(asked, made, strict=True) if decision.allowed]
    cases = [each for each, _ in going_on]
    for (_, decision), (_, names) in zip(going_on, asked_of_cedar(filtering, known, cases, {}), strict=True):
        assert {row_filter.rule for row_filter in decision.filters} == names
    fns = {rule["name"]: stated(rule["column_mask"]) for rule in document["policies"] if "column_mask" in rule}
    for tagged, tags in document["tags"].items():
        model = f"model:{tagged.partition('.')[0]}"
        own = [(each, decision) for each, decision in going_on if each[2] == model]
        answers = asked_of_cedar(masking, known, [each for each, _ in own], tags)
        for (_, decision), (_, names) in zip(own, answers, strict=True):
            masks_agree(decision, tagged, {name: fns[name] for name in names})


def masks_agree(decision: Decision, tagged: str, satisfied: dict[str, str]) -> None:
    different = set(satisfied.values())
    holding = "redact" if len(different) > 1 else next(iter(different), None)
    assert (str(decision.masks[tagged]) if tagged in decision.masks else None) == holding
    strict = {name for name, fn in satisfied.items() if fn == holding}
    assert set(decision.masked_by.get(tagged, ())) == (strict or set(satisfied))


def stated(column_mask: dict[str, Any]) -> str:
    parameters = ", ".join(f"{name}: {value}" for name, value in column_mask.items() if name not in ("fn", "match"))
    return f"{column_mask['fn']} {{{parameters}}}" if parameters else column_mask["fn"]


def test_cedar_agrees_on_every_cell_of_the_built_in_policy() -> None:
    document = yaml.safe_load(built_in_policy().read_text("utf-8"))
    others = [("build", "dataset:x"), ("grant", "access"), ("metrics.read", "metrics"), ("grant", "vault")]
    asked = [(who, *each) for who in PRINCIPALS for each in (*ASKED, *others)]
    assert len(asked) == 49 * (11 * 11 + 4)
    agree(document, Policy.load(), asked)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(documents())
def test_cedar_agrees_on_generated_policies(document: dict[str, Any]) -> None:
    """49 principals x 121 questions a policy, one in five of them: about 70,000 cases."""
    asked = [(who, *each) for at, who in enumerate(PRINCIPALS) for each in ASKED[at % 5 :: 5]]
    agree(document, policy_of(document), asked)
