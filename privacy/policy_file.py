"""Reading `policy.yaml`: a typo in it must not open or close a door.

Roles, purposes, actions, kinds of resources, masks and the tags they match are checked; the names of models,
services and fields belong to layers above, and aren't.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.durable import read_bytes
from privacy.errors import BadInput

__all__ = ["GAP", "NO_LEDGER", "Rule", "load_rules"]

_PIPELINE: Final = ("ingest", "build", "materialize", "train", "promote", "score")
_PEOPLE: Final = ("predict", "features.read", "identify", "erase", "grant", "audit.read", "report.read")
_SYSTEM: Final = ("keys.manage", "keys.read", "metrics.read")
_ACTIONS: Final = frozenset(_PIPELINE + _PEOPLE + _SYSTEM)
_RESOURCE_KINDS: Final = frozenset(
    {"access", "audit", "dataset", "keyring", "metrics", "model", "report", "service", "vault"}
)
GAP: Final = "gap"
"""What decided where no rule was written."""
NO_LEDGER: Final = "no-consent-ledger"
"""What decided where a purpose rests on consent, of which no ledger is kept."""
_MASKS: Final = frozenset({"band", "redact"})
_TOP: Final = frozenset({"version", "purposes", "tags", "policies"})
_RULE: Final = frozenset({"name", "to", "except", "purposes", "actions", "resources", "forbid", "column_mask"})

Loaded = tuple[str, tuple["Rule", ...], Mapping[Purpose, LawfulBasis], Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True)
class Rule:
    """One permit, forbid or mask; `purposes` None means any purpose, or none."""

    name: str
    roles: frozenset[Role]
    purposes: frozenset[Purpose] | None
    actions: frozenset[str]
    resources: tuple[str, ...]
    forbid: bool = False
    mask: str | None = None
    match: Mapping[str, str] = field(default_factory=dict)

    def covers(self, role: Role, purpose: Purpose | None, action: str, resource: str) -> bool:
        """Whether the rule was written for this case."""
        return (
            action in self.actions
            and role in self.roles
            and (self.purposes is None or purpose in self.purposes)
            and any(_fits(pattern, resource) for pattern in self.resources)
        )

    def masks_tags(self, tags: Mapping[str, str]) -> bool:
        """Whether a field with these tags is masked by this rule."""
        return all(tags.get(tag) == value for tag, value in self.match.items())


def load_rules(path: Path) -> Loaded:
    """Digest, rules, lawful bases and field tags of a policy file; BadInput naming what is wrong in it."""
    data = read_bytes(path, "the policy")
    if data is None:
        raise BadInput("the policy file is missing", where=str(path))
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInput("the policy is not readable YAML", where=str(path)) from None
    try:
        top = _mapping(document, _TOP, "the policy")
        if top.get("version") != 1:
            raise BadInput("the policy's version must be 1")
        bases = _bases(top.get("purposes"))
        tags = _tags(top.get("tags", {}))
        rules = tuple(_rule(entry, position) for position, entry in enumerate(_items(top.get("policies")), 1))
        names = [rule.name for rule in rules]
        for rule in rules:
            if names.count(rule.name) > 1:
                raise BadInput(f"two policies are named {rule.name}")
            if rule.mask is not None and not any(rule.masks_tags(own) for own in tags.values()):
                raise BadInput(f"policy {rule.name}: column_mask matches the tags of no field")
    except BadInput as error:
        raise BadInput(error.what, where=str(path), remedy=error.remedy or "correct the file") from None
    return hashlib.sha256(data).hexdigest()[:16], rules, bases, tags


def _rule(entry: object, position: int) -> Rule:
    fields = _mapping(entry, _RULE, f"policy {position}")
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise BadInput(f"policy {position} has no name")
    if name in (GAP, NO_LEDGER):
        raise BadInput(f"policy {position} is named {name}, which decisions use for themselves")
    where = f"policy {name}"
    forbid = fields.get("forbid", False)
    if not isinstance(forbid, bool):
        raise BadInput(f"{where}: forbid must be true or false")
    if "to" not in fields and not forbid:
        raise BadInput(f"{where}: a permit must name roles under `to`")
    roles = frozenset(Role(role) for role in _words(fields.get("to", [*Role]), [*Role], f"{where}: role"))
    roles -= {Role(role) for role in _words(fields.get("except", []), [*Role], f"{where}: role")}
    if not roles:
        raise BadInput(f"{where}: no role is left")
    purposes = None
    if "purposes" in fields:
        words = _words(fields["purposes"], [*Purpose], f"{where}: purpose")
        purposes = frozenset(Purpose(purpose) for purpose in words)
    actions = frozenset(_words(fields.get("actions"), _ACTIONS, f"{where}: action"))
    resources = tuple(str(pattern) for pattern in _items(fields.get("resources")))
    for pattern in resources:
        if pattern.partition(":")[0] not in _RESOURCE_KINDS:
            raise BadInput(f"{where}: unknown resource {pattern}", remedy=_one_of(_RESOURCE_KINDS))
    if not actions or not resources:
        raise BadInput(f"{where}: `actions` and `resources` must not be empty")
    mask, match = _column_mask(fields.get("column_mask"), where)
    if mask is not None and forbid:
        raise BadInput(f"{where}: it can't both forbid and mask")
    return Rule(name, roles, purposes, actions, resources, forbid, mask, match)


def _column_mask(value: object, where: str) -> tuple[str | None, Mapping[str, str]]:
    if value is None:
        return None, MappingProxyType({})
    fields = _mapping(value, frozenset({"fn", "match"}), f"{where}: column_mask")
    (mask,) = _words([fields.get("fn")], _MASKS, f"{where}: mask")
    match = fields.get("match")
    if not isinstance(match, dict) or not match:
        raise BadInput(f"{where}: column_mask must match tags")
    return mask, MappingProxyType({str(tag): str(wanted) for tag, wanted in match.items()})


def _bases(value: object) -> Mapping[Purpose, LawfulBasis]:
    fields = _mapping(value, frozenset(Purpose), "purposes")
    missing = sorted(set(Purpose) - set(fields))
    if missing:
        raise BadInput(f"purpose {missing[0]} has no lawful basis")
    bases = {}
    for name, entry in fields.items():
        basis = _mapping(entry, frozenset({"lawful_basis"}), f"purpose {name}").get("lawful_basis")
        (word,) = _words([basis], [*LawfulBasis], f"purpose {name}: lawful basis")
        bases[Purpose(name)] = LawfulBasis(word)
    return MappingProxyType(bases)


def _tags(value: object) -> Mapping[str, Mapping[str, str]]:
    if not isinstance(value, dict) or not all(isinstance(tags, dict) for tags in value.values()):
        raise BadInput("tags must map fields to tags")
    return MappingProxyType(
        {
            str(name): MappingProxyType({str(tag): str(level) for tag, level in tags.items()})
            for name, tags in value.items()
        }
    )


def _mapping(value: object, allowed: frozenset[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where} must be a mapping")
    unknown = sorted(str(key) for key in value if key not in allowed)
    if unknown:
        raise BadInput(f"{where}: unknown key {unknown[0]}", remedy=_one_of(allowed))
    return value


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadInput("a list is missing in the policy", remedy="write it as [a, b]")
    return value


def _words(value: object, allowed: Iterable[str], what: str) -> list[str]:
    known = {str(word) for word in allowed}
    for word in _items(value):
        if word not in known:
            raise BadInput(f"{what} {word} is unknown", remedy=_one_of(known))
    return [str(word) for word in _items(value)]


def _one_of(words: Iterable[str]) -> str:
    return f"use one of {', '.join(sorted(words))}"


def _fits(pattern: str, resource: str) -> bool:
    kind, colon, name = pattern.partition(":")
    if name == "*" or not colon:
        return resource == kind or resource.startswith(f"{kind}:")
    return resource == pattern
