"""What the gateway tells the audit log: refusals at once, reads when it is known who is in the answer.

An event is written before the answer leaves: nothing is handed over that the log did not acknowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.audit import AuditLog, commitment
from privacy.errors import Refused
from privacy.masks._base import Mask
from privacy.policy import Policy, Principal
from privacy.policy_rules import RowFilter

__all__ = ["Access", "Disclosures"]


@dataclass(frozen=True)
class Access:
    """What the policy let a principal do; not in the log yet."""

    principal: Principal
    action: str
    resource: str
    outcome: str
    rule: str
    filters: tuple[RowFilter, ...] = ()
    masks: Mapping[str, Mask] = field(default_factory=dict)
    """Column -> the mask that it may be told through."""
    on_consent: bool = False
    """Whether only people who consent may be read."""
    counted: dict[str, int] = field(default_factory=dict, compare=False)
    """What the event is to tell beside the rows, such as how many were left out for want of a consent."""

    def masked(self, rows: pa.Table, features: Collection[str]) -> pa.Table:
        """The rows as they may be told: a redacted feature isn't there, others hold what their mask leaves."""
        for name, mask in self.masks.items():
            at = rows.schema.get_field_index(name)
            if at >= 0 and name in features:
                rest = rows.remove_column(at)
                rows = rest if mask.name == "redact" else rest.add_column(at, name, mask.apply(rows.column(at)))
        return rows

    def passing(self, column: Callable[[str], npt.NDArray[np.float64]], rows: int) -> npt.NDArray[np.bool_]:
        """(rows,) bool: which rows pass every filter; `column` gives a column's values by name, NaN for null."""
        passed = np.ones(rows, np.bool_)
        for row_filter in self.filters:
            passed &= row_filter.passes(column(row_filter.column))
        return passed


class Disclosures:
    """Asks the policy and keeps the log."""

    def __init__(self, policy: Policy, audit: AuditLog) -> None:
        self._policy, self._audit = policy, audit

    def require(
        self, principal: Principal, action: str, resource: str, asked: int = 0, columns: Sequence[str] = ()
    ) -> Access:
        """Return what the policy allows; a refusal is noted with the number `asked`, then raised as Refused.

        A row filter by a column that isn't among `columns` can't be held to: everything is refused.
        """
        decision = self._policy.decide(principal, action, resource)
        masks = {tagged.partition(".")[2]: mask for tagged, mask in decision.masks.items()}
        outcome, rule = decision.outcome, decision.rule
        access = Access(principal, action, resource, outcome, rule, decision.filters, masks, decision.on_consent)
        if not decision.allowed:
            self.refused(access, asked)
        self._policy.require(principal, action, resource)
        for row_filter in decision.filters:
            if row_filter.column not in columns:
                self.refused(Access(principal, action, resource, "deny", row_filter.rule), asked)
                what = f"{resource} has no column {row_filter.column}, by which rule {row_filter.rule} filters rows"
                raise Refused(
                    what, remedy="correct row_filter in the home's policy.yaml; `custos policy check` finds it"
                )
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

    def disclosed(
        self, access: Access, tokens: Iterable[str], rows: int, references: Iterable[str | None], filtered: int = 0
    ) -> None:
        """Note who is in an answer of `rows` rows: `count` people; and how many rows were `filtered` out of it.

        One person is named by the only reference among `references`; several, or one without a
        reference, by a commitment to their distinct tokens, as the caller gave or got them.
        """
        people = set(tokens)
        named = {text for text in references if text} if len(people) == 1 else set()
        single = named.pop() if len(named) == 1 else None
        detail: dict[str, Any] = {"rows": rows, **access.counted}
        if access.filters:
            detail |= {"filtered": filtered, "filters": [row_filter.rule for row_filter in access.filters]}
        self._audit.append(
            action=access.action,
            principal=access.principal,
            resource=access.resource,
            outcome=access.outcome,
            rule=access.rule,
            count=len(people),
            reference=single,
            commitment=commitment(people) if people and single is None else None,
            detail=detail,
        )
