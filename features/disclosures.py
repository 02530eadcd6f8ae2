"""What the gateway tells the audit log: refusals at once, reads when it is known who is in the answer.

An event is written before the answer leaves: nothing is handed over that the log did not acknowledge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from privacy.audit import AuditLog, commitment
from privacy.policy import Policy, Principal

__all__ = ["Access", "Disclosures"]


@dataclass(frozen=True)
class Access:
    """What the policy let a principal do; not in the log yet."""

    principal: Principal
    action: str
    resource: str
    outcome: str
    rule: str


class Disclosures:
    """Asks the policy and keeps the log."""

    def __init__(self, policy: Policy, audit: AuditLog) -> None:
        self._policy, self._audit = policy, audit

    def require(self, principal: Principal, action: str, resource: str, asked: int = 0) -> Access:
        """Return what the policy allows; a refusal is noted with the number `asked`, then raised as Refused."""
        decision = self._policy.decide(principal, action, resource)
        access = Access(principal, action, resource, decision.outcome, decision.rule)
        if not decision.allowed:
            self.refused(access, asked)
        self._policy.require(principal, action, resource)
        return access

    def refused(self, access: Access, asked: int) -> None:
        """Note a refusal, with how many rows were asked for."""
        self._audit.append(
            action=access.action,
            principal=access.principal,
            resource=access.resource,
            outcome=access.outcome,
            rule=access.rule,
            count=asked,
        )

    def disclosed(self, access: Access, tokens: Iterable[str], rows: int, references: Iterable[str | None]) -> None:
        """Note who is in an answer of `rows` rows: `count` people.

        One person is named by the only reference among `references`; several, or one without a
        reference, by a commitment to their distinct tokens, as the caller gave or got them.
        """
        people = set(tokens)
        named = {text for text in references if text} if len(people) == 1 else set()
        single = named.pop() if len(named) == 1 else None
        self._audit.append(
            action=access.action,
            principal=access.principal,
            resource=access.resource,
            outcome=access.outcome,
            rule=access.rule,
            count=len(people),
            reference=single,
            commitment=commitment(people) if people and single is None else None,
            detail={"rows": rows},
        )
