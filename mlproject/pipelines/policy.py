"""What a policy is worth: what is wrong with it, what it comes to, and why it decides as it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.targets import field_types
from privacy.classification import Purpose, Role
from privacy.counted import counted
from privacy.policy import Policy, Principal, built_in_policy
from privacy.policy_check import Names, check_policy
from privacy.policy_explain import Explanation, explain
from privacy.policy_file import read_policy
from privacy.policy_matrix import Cell, gap_lines, gaps_of, matrix_lines, matrix_of
from privacy.policy_rules import Finding

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["PolicyReport", "check_file", "explain_decision"]


@dataclass(frozen=True)
class PolicyReport:
    """A policy, checked; `cells` is empty where it can't be used."""

    where: str
    version: str
    findings: tuple[Finding, ...]
    cells: tuple[Cell, ...]

    @property
    def sound(self) -> bool:
        """Whether it can be used and protects what it says it does; warnings don't count."""
        return all(finding.level == "warning" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "policy": self.where,
            "version": self.version,
            "sound": self.sound,
            "findings": [asdict(finding) for finding in self.findings],
            "matrix": [cell.to_dict() for cell in self.cells],
            "gaps": gaps_of(self.cells),
        }

    def lines(self) -> Iterator[str]:
        """Return it to be read: the matrix, the gaps, then what was found, as the last lines are seen first."""
        if self.cells:
            yield from matrix_lines(self.cells)
            yield from gap_lines(self.cells)
            yield ""
        yield f"{self.where} (version {self.version})"
        for finding in self.findings:
            place = f"line {finding.line}: " if finding.line else ""
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            yield f"{finding.level:<8} {place}{finding.what}{remedy}"
        yield _summary(self.findings)


def check_file(house: House, file: Path | None) -> PolicyReport:
    """Check a policy file, or the one in effect in this home, with the lawful bases of the home's settings."""
    text = read_policy(file or _effective(house), field_types())
    policy = Policy(text, house.settings.lawful_bases, ledger=house.paths.consents.exists())
    findings = tuple(check_policy(text, policy, _names()))
    usable = not any(finding.level == "error" for finding in findings)
    return PolicyReport(text.where, policy.version, findings, tuple(matrix_of(policy)) if usable else ())


def explain_decision(
    house: House, file: Path | None, role: str, purpose: str | None, action: str, resource: str
) -> Explanation:
    """Explain one decision of a policy file, or of the policy in effect in this home; nothing is audited."""
    text = read_policy(file or _effective(house), field_types()).usable()
    principal = Principal(house.settings.operator, Role(role), Purpose(purpose) if purpose else None)
    policy = Policy(text, house.settings.lawful_bases, ledger=house.paths.consents.exists())
    return explain(policy, principal, action, resource)


def _effective(house: House) -> Path:
    return house.paths.policy if house.paths.policy.exists() else built_in_policy()


def _names() -> Names:
    """What the rooms above privacy know; any shop's columns, as a policy may come before its shop."""
    from features.profile import PROFILE_SERVICE
    from features.services import SERVICES
    from features.transforms.registry import feature_set
    from mlproject.pipelines.targets import SERVICES as TARGETS

    services = frozenset({*(service.name for service in SERVICES), PROFILE_SERVICE})
    columns = frozenset(feature.name for slow in (False, True) for feature in feature_set(slow))
    held = {service: columns for service, _ in TARGETS.values()}
    # Of the other services nothing is checked: a filter by a column that one lacks closes it.
    return Names({"model": frozenset(TARGETS), "service": services}, held)


def _summary(findings: Sequence[Finding]) -> str:
    counts = {level: sum(finding.level == level for finding in findings) for level in ("error", "danger", "warning")}
    if not findings:
        return "clean: every rule has an effect, and none contradicts another"
    told = ", ".join(counted(count, level) for level, count in counts.items() if count)
    if counts["error"]:
        return f"{told}: this policy is refused, and nothing is decided by it"
    return f"{told}: this policy is used" + (", but does not protect as it says" if counts["danger"] else "")
