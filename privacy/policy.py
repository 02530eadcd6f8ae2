"""Who may do what, for which purpose: default deny, forbid wins, and every decision names its rule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.policy_file import GAP, NO_LEDGER, Rule, load_rules

__all__ = ["Decision", "Outcome", "Policy", "Principal"]

Outcome = Literal["allow", "mask", "deny", "gap"]
_READS_PEOPLE: Final = frozenset({"features.read", "materialize", "predict", "score", "train"})
"""Actions that read or score people for their principal's purpose."""


@dataclass(frozen=True)
class Principal:
    """Who asks, in which role, for which purpose."""

    name: str
    role: Role
    purpose: Purpose | None


@dataclass(frozen=True)
class Decision:
    """The outcome, the rule that decided (`gap` when none was written), and masks by field.

    With outcome `mask`, each field of `masks` must be left out and shown through the named mask instead:
    `{"churn.probability": "band"}` means that the band is shown and the probability isn't.
    """

    outcome: Outcome
    rule: str
    masks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def allowed(self) -> bool:
        """Whether to go on, with or without masks."""
        return self.outcome in ("allow", "mask")


class Policy:
    """Compiled rules; `version` is the digest (16 hex digits) of the text and lawful bases they came from.

    No consent ledger is kept, so nobody is known to have consented: for a purpose that rests on consent,
    reading or scoring people is denied by the rule `no-consent-ledger`, whatever else permits it.

    >>> policy = Policy.load()
    >>> policy.decide(Principal("ann", Role.ANALYST, Purpose.RETENTION), "predict", "model:churn").masks
    mappingproxy({'churn.probability': 'band'})
    >>> policy.decide(Principal("ann", Role.ANALYST, Purpose.MARKETING), "predict", "model:churn").rule
    'churn-serves-retention-only'
    """

    def __init__(
        self,
        version: str,
        rules: tuple[Rule, ...],
        bases: Mapping[Purpose, LawfulBasis],
        tags: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.version, self.rules = version, rules
        self._bases, self._tags = bases, tags
        self._decided: dict[tuple[Role, Purpose | None, str, str], Decision] = {}

    @classmethod
    def load(cls, path: Path | None = None, bases: Mapping[str, LawfulBasis] | None = None) -> Policy:
        """The policy at `path`, else the built-in one; `bases` (purpose -> basis) go before those it names.

        Raises BadInput naming the rule that can't be read, or an unknown purpose or basis.
        """
        version, rules, stated, tags = load_rules(path or Path(__file__).with_name("policy.yaml"))
        effective = {**stated, **_checked_bases(bases or {})}
        if effective != stated:
            changed = "|".join(f"{purpose}={effective[purpose]}" for purpose in sorted(effective))
            version = hashlib.sha256(f"{version}|{changed}".encode()).hexdigest()[:16]
        return cls(version, rules, MappingProxyType(effective), tags)

    def decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """What the rules say; a forbid beats every permit, and masks of all matching rules add up."""
        case = (principal.role, principal.purpose, action, resource)
        decision = self._decided.get(case)
        if decision is None:
            decision = self._evaluate(principal, action, resource)
            if len(self._decided) < _REMEMBERED:  # resources come from callers: don't grow without end
                self._decided[case] = decision
        return decision

    def require(self, principal: Principal, action: str, resource: str) -> Decision:
        """The decision when it lets the principal go on; Refused, naming the rule, otherwise."""
        decision = self.decide(principal, action, resource)
        if not decision.allowed:
            purpose = principal.purpose or "no purpose"
            because = "no rule was written for this" if decision.outcome == GAP else f"rule {decision.rule}"
            remedy = "ask with another role or purpose, or change policy.yaml"
            if decision.rule == NO_LEDGER:
                remedy = f"{purpose} rests on consent, and no ledger of consents is kept yet; use another lawful basis"
            raise Refused(f"role {principal.role} may not {action} {resource} for {purpose} ({because})", remedy=remedy)
        return decision

    def lawful_basis(self, purpose: Purpose) -> LawfulBasis:
        """Why data may be processed for `purpose`, as it is in effect."""
        return self._bases[purpose]

    def _evaluate(self, principal: Principal, action: str, resource: str) -> Decision:
        fitting = [rule for rule in self.rules if rule.covers(principal.role, principal.purpose, action, resource)]
        for rule in fitting:
            if rule.forbid:
                return Decision("deny", rule.name)
        purpose = principal.purpose
        if action in _READS_PEOPLE and purpose and self._bases[purpose] is LawfulBasis.CONSENT:
            return Decision("deny", NO_LEDGER)
        permit = next((rule for rule in fitting if rule.mask is None), None)
        if permit is None:
            return Decision("gap", GAP)
        masks: dict[str, str] = {}
        deciding = permit.name
        for rule in fitting:
            if rule.mask is not None:
                fields = [name for name in self._fields_of(resource) if rule.masks_tags(self._tags[name])]
                masks |= dict.fromkeys(fields, rule.mask)
                deciding = rule.name if fields else deciding
        return Decision("mask" if masks else "allow", deciding, MappingProxyType(masks))

    def _fields_of(self, resource: str) -> list[str]:
        """The tagged fields of a model (or of a service, named model_version); all for anything else."""
        kind, _, name = resource.partition(":")
        stem = name.rpartition("_v")[0] or name
        own = [tagged for tagged in self._tags if tagged.partition(".")[0] == stem]
        return own if kind in ("model", "service") and own else list(self._tags)


def _checked_bases(bases: Mapping[str, LawfulBasis]) -> dict[Purpose, LawfulBasis]:
    try:
        return {Purpose(purpose): LawfulBasis(basis) for purpose, basis in bases.items()}
    except ValueError:
        raise BadInput("a lawful basis is given for an unknown purpose, or is unknown itself") from None


_REMEMBERED: Final = 4096
