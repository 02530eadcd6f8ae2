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

import pyarrow as pa

from privacy.classification import LawfulBasis, Purpose
from privacy.durable import read_bytes
from privacy.errors import BadInput
from privacy.policy_entry import Entry, did_you_mean, one_of, read_rule, shown
from privacy.policy_rules import GAP, NO_LEDGER, Finding, Rule, owner_of
from privacy.strict_yaml import UnreadableYaml, read_document

__all__ = ["FieldTypes", "PolicyText", "parse_policy", "read_policy"]

FieldTypes = Mapping[str, pa.DataType]
"""Fields, such as `churn.probability` and `service:churn_v1.recency_days` -> their types, as layers above know them."""
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


def read_policy(path: Path, types: FieldTypes | None = None) -> PolicyText:
    """What a policy file says; BadInput when there is none."""
    data = read_bytes(path, "the policy")
    if data is None:
        raise BadInput("the policy file is missing", where=str(path))
    return parse_policy(data, str(path), types)


def parse_policy(data: bytes, where: str, types: FieldTypes | None = None) -> PolicyText:
    """What a policy's text says; never raises: what is wrong is in the findings, which stop `usable()`.

    A mask that can't read a field of the `types` known is wrong; where none is known, reading the field will fail.
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
    tags = _tags(top, types or {})
    bases = _bases(top)
    rules = _rules(top, tags, types or {})
    return PolicyText(where, version, rules, bases, tags, tuple(sorted(findings, key=lambda found: found.line)))


def _rules(top: Entry, tags: Mapping[str, Mapping[str, str]], types: FieldTypes) -> tuple[Rule, ...]:
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
            if not entry.broken:
                _check_masked(entry, rule, tags, types)
    return tuple(rules.values())


def _check_masked(entry: Entry, rule: Rule, tags: Mapping[str, Mapping[str, str]], types: FieldTypes) -> None:
    """A mask that finds nothing to mask lets everything through; one that can't read its field answers nobody."""
    if rule.mask is None:
        return
    masked = [tagged for tagged, own in tags.items() if rule.masks_tags(own) and rule.fits(owner_of(tagged))]
    for pattern in rule.resources:
        kind, _, name = pattern.partition(":")
        able = [owner_of(tagged) for tagged in masked]
        if not any(owner == pattern or (name in ("", "*") and owner.startswith(f"{kind}:")) for owner in able):
            what = f"{entry.label}: column_mask matches the tags of no field of {pattern}"
            entry.fault("column_mask", what, "correct `match`, or tag the field under `tags`")
    for tagged in masked:
        if rule.mask.own:
            if owner_of(tagged).startswith("service:"):
                what = f"{entry.label}: mask band needs edges: {tagged} has no bands of its own"
                entry.fault("column_mask", what, "such as edges: [10, 100]")
        elif (kind_of := types.get(tagged)) is not None:
            try:
                rule.mask.apply(pa.nulls(1, kind_of))
            except BadInput as error:
                entry.fault("column_mask", f"{entry.label}: {tagged}: {error.what}", error.remedy)


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


def _tags(top: Entry, types: FieldTypes) -> Mapping[str, Mapping[str, str]]:
    tags: dict[str, Mapping[str, str]] = {}
    if "tags" not in top.fields:
        return tags
    listed = top.entry("tags")
    for name in listed.fields:
        owner, dot, field = str(name).partition(".")
        kind, colon, own_name = owner.partition(":")
        if not (owner and dot and field) or (colon and not (kind == "service" and own_name)):
            remedy = "write it as churn.probability, or service:churn_v1.recency_days"
            listed.fault(name, f"tags: {shown(name)} is no field", remedy)
            continue
        known = [each for each in types if owner_of(each) == owner_of(str(name))]
        if known and name not in known:
            listed.fault(name, f"tags: there is no field {shown(name)}", did_you_mean(name, known))
        entry = listed.entry(name)
        own = {str(tag): str(level) for tag, level in entry.fields.items() if isinstance(level, str | int)}
        if not own or len(own) < len(entry.fields):
            entry.fault("", f"tags of {shown(name)} must map words to words", "such as {prediction: exact}")
        tags[str(name)] = MappingProxyType(own)
    return MappingProxyType(tags)
