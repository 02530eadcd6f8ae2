"""The use case of `POST /v1/events`, without a web framework: policy, tokens, columns, inbox, audit, answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from features.inbox import Inbox
from features.own_tokens import OwnTokens
from privacy.audit import AuditLog, commitment
from privacy.errors import Refused
from privacy.policy import Policy, Principal

from .callers_tokens import require_own
from .errors import EventsRefused

__all__ = ["Receiver"]

ACTION: Final = "push"
SLACK: Final = timedelta(days=1)
"""How far in the future an event may be dated, as the contract of order lines has it."""


class Receiver:
    """Takes events of one shop; `columns` are what their lines may tell. Thread-safe as far as its parts are."""

    def __init__(
        self,
        policy: Policy,
        audit: AuditLog,
        dataset: str,
        own: OwnTokens,
        inbox: Inbox,
        columns: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        self._policy, self._audit, self._resource = policy, audit, f"dataset:{dataset}"
        self._own, self._inbox, self._columns, self._now = own, inbox, frozenset(columns), now

    def take(self, principal: Principal, events: Sequence[Mapping[str, Any]], request_id: str = "") -> int:
        """Keep `events` until somebody with the root key adds them; return how many there are.

        Whoever must not be served or isn't known any more is left out, which nobody is told. Raises Refused (policy),
        TokensRefused, EventsRefused (a column the shop doesn't have, a date in the future), EnvironmentFailed.
        """
        self._audit.check()
        told = {"request_id": request_id, "events": len(events)}
        decision = self._policy.decide(principal, ACTION, self._resource)
        if not decision.allowed:
            self._note(principal, decision.outcome, decision.rule, len(events), None, told)
        self._policy.require(principal, ACTION, self._resource)
        if principal.purpose is None:
            self._note(principal, "deny", "", len(events), None, told)
            raise Refused("events need a purpose, whose tokens they carry", remedy="ask for a bearer granted for one")
        tokens = [str(event["customer"]) for event in events]
        require_own(tokens, principal.purpose)
        self._require_fitting(events)
        own, known = self._own.of(tokens, str(principal.purpose), None)
        kept = [event for event, there in zip(events, known.tolist(), strict=True) if there]
        self._inbox.put([_own_event(event, token) for event, token in zip(kept, own, strict=True)])
        self._note(principal, decision.outcome, decision.rule, len(set(tokens)), commitment(set(tokens)), told)
        return len(events)

    def _require_fitting(self, events: Sequence[Mapping[str, Any]]) -> None:
        latest = self._now() + SLACK
        places = [
            at
            for at, event in enumerate(events)
            if datetime.fromisoformat(event["ordered_at"]) > latest
            or any(
                value is not None and name not in self._columns
                for line in event["lines"]
                for name, value in line.items()
            )
        ]
        if places:
            raise EventsRefused(places, len(events), sorted(self._columns))

    def _note(
        self, principal: Principal, outcome: str, rule: str, count: int, proof: str | None, told: Mapping[str, Any]
    ) -> None:
        self._audit.append(
            action=ACTION,
            principal=principal,
            resource=self._resource,
            outcome=outcome,
            rule=rule,
            count=count,
            commitment=proof,
            detail=told,
        )


def _own_event(event: Mapping[str, Any], token: str) -> dict[str, Any]:
    lines = [{name: value for name, value in line.items() if value is not None} for line in event["lines"]]
    at = datetime.fromisoformat(event["ordered_at"]).astimezone(UTC)
    return {
        "event": event["event"],
        "customer_token": token,
        "ordered_at": at.isoformat(),
        "lines": lines,
    }
