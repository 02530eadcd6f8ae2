"""Who may do what, for which purpose: default deny, forbid wins, and every decision names its rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from privacy.classification import LawfulBasis, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.masking import mask_of
from privacy.masks._base import Mask
from privacy.policy_file import FieldTypes, PolicyText, read_policy
from privacy.policy_rules import ACTIONS, EFFECTS, GAP, MASKED, NO_LEDGER, READS_PEOPLE, RowFilter, Rule, owner_of

__all__ = ["Decision", "Outcome", "Policy", "Principal", "built_in_policy"]

Outcome = Literal["allow", "mask", "deny", "gap"]
_Rules = tuple[tuple[Rule, ...], ...]
"""The forbids, permits, masks and filters of a role, purpose and action, in the order of EFFECTS."""
_NO_RULES: Final[_Rules] = ((),) * 4
_NO_MASKS: Final[Mapping[str, Mask]] = MappingProxyType({})
_REDACT: Final = mask_of("redact")
_NOBODY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True)
class Principal:
    """Who asks, in which role, for which purpose."""

    name: str
    role: Role
    purpose: Purpose | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome and what decided.

    `rules` are all that determined allow or deny, as in Cedar: every permit of what is allowed, every forbid of
    what is denied, none of a gap; sorted by name. `rule` is the one to tell first: the first mask, where fields
    are masked, else the first of `rules`, else `gap`.

    With outcome `mask`, each field of `masks` may be told as its mask leaves it only: not at all by `redact`, by the
    field's own band instead by a `band` without edges. `masked_by` says which rules did it. Only rows that pass every
    one of `filters` may be answered about, whatever the outcome. Where it is `on_consent`, only people who consent.
    """

    outcome: Outcome
    rule: str
    rules: tuple[str, ...] = ()
    masks: Mapping[str, Mask] = field(default_factory=lambda: _NO_MASKS)
    masked_by: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOBODY)
    filters: tuple[RowFilter, ...] = ()
    on_consent: bool = False

    @property
    def allowed(self) -> bool:
        """Whether to go on, with masks and filters or without."""
        return self.outcome in ("allow", "mask")


class Policy:
    """Compiled rules; `version` is the digest (16 hex digits) of the text and lawful bases they came from.

    Without a `ledger` of consents nobody is known to have consented: for a purpose that rests on consent, reading or
    scoring people is denied by the rule `no-consent-ledger`, whatever else permits it. With one the gateway asks it.

    >>> policy = Policy.load()
    >>> masks = policy.decide(Principal("ann", Role.ANALYST, Purpose.RETENTION), "predict", "model:churn").masks
    >>> {field: str(mask) for field, mask in masks.items()}
    {'churn.probability': 'band'}
    >>> policy.decide(Principal("ann", Role.ANALYST, Purpose.MARKETING), "predict", "model:churn").rules
    ('churn-serves-retention-only', 'no-consent-ledger')
    """

    def __init__(
        self, text: PolicyText, bases: Mapping[str, LawfulBasis] | None = None, *, ledger: bool = False
    ) -> None:
        effective = {**text.bases, **_checked_bases(bases or {})}
        self.version, self.where, self.rules, self.tags = text.version, text.where, text.rules, text.tags
        if effective != text.bases:
            changed = "|".join(f"{purpose}={effective[purpose]}" for purpose in sorted(effective))
            self.version = hashlib.sha256(f"{text.version}|{changed}".encode()).hexdigest()[:16]
        self._bases, self._ledger = effective, ledger
        self._index = _compiled(text.rules)
        self._fields: dict[str, list[str]] = {}
        for tagged in text.tags:
            self._fields.setdefault(owner_of(tagged), []).append(tagged)
        self._decided: dict[tuple[str, str | None, str, str], Decision] = {}

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        bases: Mapping[str, LawfulBasis] | None = None,
        types: FieldTypes | None = None,
        *,
        ledger: bool = False,
    ) -> Policy:
        """The policy at `path`, else the built-in one; `bases` (purpose -> basis) go before those it names.

        `ledger` says that consents are kept, which whoever reads people for it then asks.

        Raises BadInput naming what is wrong with it and the line, such as a mask that can't read a field of the
        `types` known, or an unknown purpose or basis.
        """
        return cls(read_policy(path or built_in_policy(), types).usable(), bases, ledger=ledger)

    def decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """What the rules say, whatever their order; a forbid beats every permit, and masks and filters add up."""
        case = (principal.role, principal.purpose, action, resource)
        decision = self._decided.get(case)
        if decision is None:
            decision = self.evaluate(principal, action, resource)
            if len(self._decided) < _REMEMBERED:  # resources come from callers: don't grow without end
                self._decided[case] = decision
        return decision

    def require(self, principal: Principal, action: str, resource: str) -> Decision:
        """The decision when it lets the principal go on; Refused, naming the rule, otherwise."""
        decision = self.decide(principal, action, resource)
        if not decision.allowed:
            purpose = principal.purpose or "no purpose"
            because = "no rule was written for this" if decision.outcome == GAP else f"rule {decision.rule}"
            asked = f"--role {principal.role}" + (f" --purpose {purpose}" if principal.purpose else "")
            remedy = (
                "ask with another role (the operator's is in settings.yaml of the home) or purpose, or change "
                f"policy.yaml there; `custos policy explain {asked} --action {action} --resource {resource}` says why"
            )
            if decision.rule == NO_LEDGER:
                remedy = (
                    f"{purpose} rests on consent, and no consent is on record: give the shop a table `consents`, "
                    "or the purpose another lawful basis"
                )
            raise Refused(f"role {principal.role} may not {action} {resource} for {purpose} ({because})", remedy=remedy)
        return decision

    def lawful_basis(self, purpose: Purpose) -> LawfulBasis:
        """Why data may be processed for `purpose`, as it is in effect."""
        return self._bases[purpose]

    def awaits_consent(self, purpose: Purpose | None, action: str) -> bool:
        """Whether the action reads people for a purpose that rests on consents, of which no ledger is kept."""
        return not self._ledger and self._rests_on_consent(purpose, action)

    def fields_of(self, action: str, resource: str) -> list[str]:
        """The tagged fields in the answers of `action` about `resource`, which masks may hide."""
        masked = MASKED.get(action) == resource.partition(":")[0]
        return self._fields.get(resource, []) if masked else []

    def evaluate(self, principal: Principal, action: str, resource: str) -> Decision:
        """Decide anew, without what `decide` remembers."""
        forbids, permits, masks, filters = self._index.get((principal.role, principal.purpose, action), _NO_RULES)
        against = [rule.name for rule in forbids if rule.fits(resource)]
        if self.awaits_consent(principal.purpose, action):
            against.append(NO_LEDGER)
        if against:
            return Decision("deny", against[0], tuple(sorted(against)))
        permitted = tuple([rule.name for rule in permits if rule.fits(resource)])
        if not permitted:
            return Decision(GAP, GAP)
        rows = tuple([rule.row_filter for rule in filters if rule.row_filter and rule.fits(resource)])
        masked = self._masks([rule for rule in masks if rule.fits(resource)], self.fields_of(action, resource))
        on_consent = self._rests_on_consent(principal.purpose, action)
        if not masked:
            return Decision("allow", permitted[0], permitted, filters=rows, on_consent=on_consent)
        first = min(name for _, names in masked.values() for name in names)
        holding = MappingProxyType({tagged: mask for tagged, (mask, _) in masked.items()})
        names = MappingProxyType({tagged: names for tagged, (_, names) in masked.items()})
        return Decision("mask", first, permitted, holding, names, rows, on_consent)

    def _rests_on_consent(self, purpose: Purpose | None, action: str) -> bool:
        return action in READS_PEOPLE and purpose is not None and self._bases.get(purpose) is LawfulBasis.CONSENT

    def _masks(self, rules: list[Rule], fields: list[str]) -> dict[str, tuple[Mask, tuple[str, ...]]]:
        """Field -> its mask and who asked for it; where rules ask for different ones, nothing of the field is told."""
        masked = {}
        for tagged in fields if rules else ():
            own = [rule for rule in rules if rule.mask and rule.masks_tags(self.tags[tagged])]
            asked = {rule.mask for rule in own if rule.mask}
            if asked:
                mask = asked.pop() if len(asked) == 1 else _REDACT
                strict = tuple(rule.name for rule in own if rule.mask == mask)
                masked[tagged] = mask, strict or tuple(rule.name for rule in own)
        return masked


def built_in_policy() -> Path:
    """Where the policy is that holds in a home without one of its own."""
    return Path(__file__).with_name("policy.yaml")


def _compiled(rules: tuple[Rule, ...]) -> dict[tuple[str, str | None, str], _Rules]:
    """Role, purpose and action -> the rules written for them, by name: so no decision depends on the file's order."""
    ordered = sorted(rules, key=lambda rule: rule.name)
    index: dict[tuple[str, str | None, str], _Rules] = {}
    for role, purpose, action in product(Role, (None, *Purpose), ACTIONS):
        own = [
            rule
            for rule in ordered
            if role in rule.roles and action in rule.actions and (rule.purposes is None or purpose in rule.purposes)
        ]
        index[role, purpose, action] = tuple(tuple(rule for rule in own if rule.effect == effect) for effect in EFFECTS)
    return index


def _checked_bases(bases: Mapping[str, LawfulBasis]) -> dict[Purpose, LawfulBasis]:
    try:
        return {Purpose(purpose): LawfulBasis(basis) for purpose, basis in bases.items()}
    except ValueError:
        raise BadInput("a lawful basis is given for an unknown purpose, or is unknown itself") from None


_REMEMBERED: Final = 4096
