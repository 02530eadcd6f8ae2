"""Reading `policy.yaml`: a typo in it must not open or close a door.

Every word that belongs to the privacy layer is checked here. The names of models, services and feature columns
belong to layers above, which hand them to `policy_check`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from privacy.classification import LawfulBasis, Purpose
from privacy.durable import read_bytes
from privacy.errors import BadInput
from privacy.policy_entry import Entry, one_of, read_rule, shown
from privacy.policy_rules import GAP, NO_LEDGER, Finding, Rule, model_of
from privacy.strict_yaml import UnreadableYaml, read_document

__all__ = ["PolicyText", "parse_policy", "read_policy"]

_TOP: Final = ("version", "purposes", "tags", "policies")


@dataclass(frozen=True)
class PolicyText:
    """A policy as it was written: what could be read of it, and what is wrong with it."""

    where: str
    version: str
    rules: tuple[Rule, ...]
    bases: Mapping[Purpose, LawfulBasis]
    tags: Mapping[str, Mapping[str, str]]
    findings: tuple[Finding, ...]

    def usable(self) -> PolicyText:
        """The policy itself; BadInput naming the first thing that is wrong with it, and how many there are."""
        if not self.findings:
            return self
        first, more = self.findings[0], len(self.findings) - 1
        where = f"{self.where}, line {first.line}" if first.line else self.where
        what = first.what + (f", and {more} more" if more else "")
        every = "; `custos policy check` lists them" if more else ""
        raise BadInput(what, where=where, remedy=(first.remedy or "correct the file") + every)


def read_policy(path: Path) -> PolicyText:
    """What a policy file says; BadInput when there is none."""
    data = read_bytes(path, "the policy")
    if data is None:
        raise BadInput("the policy file is missing", where=str(path))
    return parse_policy(data, str(path))


def parse_policy(data: bytes, where: str) -> PolicyText:
    """What a policy's text says; never raises: what is wrong is in the findings, which stop `usable()`.

    `version` is the digest of the text, 16 hex digits.
    """
    version = hashlib.sha256(data).hexdigest()[:16]
    findings: list[Finding] = []
    try:
        document, node = read_document(data)
    except UnreadableYaml as error:
        findings.append(Finding("error", error.line, f"the policy {error.why}"))
        return PolicyText(where, version, (), {}, {}, tuple(findings))
    top = Entry(document, node, "the policy", findings)
    if top.broken:
        return PolicyText(where, version, (), {}, {}, tuple(findings))
    top.only(_TOP)
    if top.fields.get("version") != 1:
        top.fault("version", "the policy's version must be 1")
    tags = _tags(top)
    bases = _bases(top)
    rules = _rules(top, tags)
    return PolicyText(where, version, rules, bases, tags, tuple(sorted(findings, key=lambda found: found.line)))


def _rules(top: Entry, tags: Mapping[str, Mapping[str, str]]) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    for entry in top.entries("policies"):
        rule = read_rule(entry)
        if rule is None:
            continue
        if rule.name in rules:
            entry.fault("name", f"two policies are named {rule.name}", "give each a name of its own")
        elif rule.name in (GAP, NO_LEDGER):
            entry.fault("name", f"policy {rule.name} has a name that decisions use for themselves")
        else:
            rules[rule.name] = rule
            _check_masked(entry, rule, tags)
    return tuple(rules.values())


def _check_masked(entry: Entry, rule: Rule, tags: Mapping[str, Mapping[str, str]]) -> None:
    """A mask that finds nothing to mask lets everything through."""
    if rule.effect != "mask":
        return
    masked = {model_of(tagged) for tagged, own in tags.items() if rule.masks_tags(own)}
    for pattern in rule.resources:
        if pattern.partition(":")[0] == "model" and not any(pattern in ("model", "model:*", model) for model in masked):
            what = f"{entry.label}: column_mask matches the tags of no field of {pattern}"
            entry.fault("column_mask", what, "correct `match`, or tag the field under `tags`")


def _bases(top: Entry) -> Mapping[Purpose, LawfulBasis]:
    bases: dict[Purpose, LawfulBasis] = {}
    stated = top.entry("purposes")
    stated.only(tuple(Purpose))
    for purpose in Purpose:
        if purpose not in stated.fields:
            if not stated.broken:
                stated.fault("", f"purpose {purpose} has no lawful basis", f"give it one: {one_of(LawfulBasis)}")
            continue
        entry = stated.entry(purpose)
        entry.only(("lawful_basis",))
        if (basis := entry.word("lawful_basis", tuple(LawfulBasis), "lawful basis")) is not None:
            bases[purpose] = LawfulBasis(basis)
    return MappingProxyType(bases)


def _tags(top: Entry) -> Mapping[str, Mapping[str, str]]:
    tags: dict[str, Mapping[str, str]] = {}
    if "tags" not in top.fields:
        return tags
    listed = top.entry("tags")
    for name in listed.fields:
        model, dot, field = str(name).partition(".")
        if not (model and dot and field):
            remedy = "write it as model.field, such as churn.probability"
            listed.fault(name, f"tags: {shown(name)} is no field", remedy)
            continue
        entry = listed.entry(name)
        own = {str(tag): str(level) for tag, level in entry.fields.items() if isinstance(level, str | int)}
        if not own or len(own) < len(entry.fields):
            entry.fault("", f"tags of {shown(name)} must map words to words", "such as {prediction: exact}")
        tags[str(name)] = MappingProxyType(own)
    return MappingProxyType(tags)
