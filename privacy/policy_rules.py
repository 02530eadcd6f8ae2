"""What a policy is made of: the words it may use, its rules, and the cases each was written for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from privacy.classification import Purpose, Role

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privacy.masks._base import Mask

__all__ = [
    "ACTIONS",
    "EFFECTS",
    "FILTERED",
    "GAP",
    "KINDS",
    "MASKED",
    "NAMED",
    "NO_LEDGER",
    "READS_PEOPLE",
    "Case",
    "Effect",
    "Finding",
    "RowFilter",
    "Rule",
    "owner_of",
]

Case = tuple[Role, Purpose | None, str, str]
"""Role, purpose, action, resource: what the policy is asked."""
Effect = Literal["forbid", "permit", "mask", "filter"]
EFFECTS: Final[tuple[Effect, ...]] = ("forbid", "permit", "mask", "filter")

ACTIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ingest": ("dataset",),
        "push": ("dataset",),
        "build": ("dataset",),
        "materialize": ("dataset",),
        "train": ("service", "model"),
        "promote": ("model",),
        "score": ("service", "model"),
        "predict": ("service", "model"),
        "features.read": ("service",),
        "attack": ("dataset", "service", "model"),
        "count": ("service", "model"),
        "inference.test": ("dataset",),
        "identify": ("vault",),
        "erase": ("vault",),
        "grant": ("access",),
        "audit.read": ("audit",),
        "report.read": ("report",),
        "keys.manage": ("keyring",),
        "keys.read": ("keyring",),
        "metrics.read": ("metrics",),
    }
)
"""Action -> the kinds of resources it is asked about."""
KINDS: Final = tuple(sorted({kind for kinds in ACTIONS.values() for kind in kinds}))
NAMED: Final = frozenset({"dataset", "model", "service"})
"""Kinds of which there are several, told apart by name; of the others there is one."""
READS_PEOPLE: Final = frozenset({"attack", "count", "features.read", "materialize", "predict", "score", "train"})
"""Actions that read or score people for their principal's purpose."""
MASKED: Final[Mapping[str, str]] = MappingProxyType({"features.read": "service", "predict": "model", "score": "model"})
"""Actions whose answers are masked -> the kind whose fields they are."""
FILTERED: Final = frozenset({"attack", "count", "features.read", "predict", "score"})
"""Actions whose rows are filtered, where they leave the `service:` that holds them."""
GAP: Final = "gap"
"""What decided where no rule was written."""
NO_LEDGER: Final = "no-consent-ledger"
"""What decided where a purpose rests on consent, and none is on record."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a policy, and at which line (0: nowhere in particular).

    `error`: the policy isn't used at all. `danger`: something that was meant to protect doesn't, or everything of
    its kind will be refused. `warning`: a rule without effect, or two that meet.
    """

    level: Literal["error", "danger", "warning"]
    line: int
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class RowFilter:
    """Which people's rows may be answered about, by one column; a null never passes.

    >>> RowFilter("regulars", "lifetime_orders", least=2).text()
    'lifetime_orders at least 2'
    """

    rule: str
    column: str
    one_of: tuple[float, ...] | None = None
    least: float | None = None
    most: float | None = None

    def passes(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(n,) bool: which of `values` (n,) pass, where NaN stands for null."""
        passed = values == values  # NaN differs from itself
        if self.one_of is not None:
            passed = values == self.one_of[0]
            for value in self.one_of[1:]:
                passed = passed | (values == value)
        if self.least is not None:
            passed = passed & (values >= self.least)
        if self.most is not None:
            passed = passed & (values <= self.most)
        return passed

    def text(self) -> str:
        """The condition in words."""
        parts = []
        if self.one_of is not None:
            values = ", ".join(f"{value:g}" for value in self.one_of)
            parts.append(f"equals {values}" if len(self.one_of) == 1 else f"in {values}")
        if self.least is not None:
            parts.append(f"at least {self.least:g}")
        if self.most is not None:
            parts.append(f"at most {self.most:g}")
        return f"{self.column} {' and '.join(parts)}"


@dataclass(frozen=True)
class Rule:
    """One rule: `purposes` None means any purpose, or none; `line` is where the file states it."""

    name: str
    effect: Effect
    roles: frozenset[Role]
    purposes: frozenset[Purpose] | None
    actions: frozenset[str]
    resources: tuple[str, ...]
    line: int = 0
    why: str = ""
    mask: Mask | None = None
    match: Mapping[str, str] = field(default_factory=dict, hash=False)
    row_filter: RowFilter | None = None

    def why_not(self, case: Case) -> tuple[str, ...]:
        """Why the rule wasn't written for this case, in words; empty when it was."""
        role, purpose, action, resource = case
        reasons = []
        if action not in self.actions:
            reasons.append(f"action {action} is not in {_listed(self.actions)}")
        if role not in self.roles:
            reasons.append(f"role {role} is not in {_listed(self.roles)}")
        if self.purposes is not None and purpose not in self.purposes:
            reasons.append(f"purpose {purpose or 'none'} is not in {_listed(self.purposes)}")
        if not self.fits(resource):
            reasons.append(f"resource {resource} is not in {', '.join(self.resources)}")
        return tuple(reasons)

    def fits(self, resource: str) -> bool:
        """Whether the rule was written for this resource, among others: itself, or all of its kind.

        >>> rule = Rule("r", "permit", frozenset(), None, frozenset(), ("model:*", "dataset:x", "vault"))
        >>> [rule.fits(asked) for asked in ("model:churn", "vault", "dataset:x", "dataset:y", "audit")]
        [True, True, True, False, False]
        """
        return resource in self._named or resource.partition(":")[0] in self._kinds

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(self.resources) - self._kinds

    @cached_property
    def _kinds(self) -> frozenset[str]:
        parts = (pattern.partition(":") for pattern in self.resources)
        return frozenset(kind for kind, _, name in parts if name in ("", "*"))

    def masks_tags(self, tags: Mapping[str, str]) -> bool:
        """Whether a field with these tags is masked by this rule."""
        return all(tags.get(tag) == value for tag, value in self.match.items())


def owner_of(tagged: str) -> str:
    """The model or service that a tagged field belongs to, as a resource.

    >>> owner_of("churn.probability"), owner_of("service:churn_v1.recency_days")
    ('model:churn', 'service:churn_v1')
    """
    owner = tagged.partition(".")[0]
    return owner if ":" in owner else f"model:{owner}"


def _listed(words: frozenset[str] | frozenset[Role] | frozenset[Purpose]) -> str:
    return ", ".join(sorted(words))
