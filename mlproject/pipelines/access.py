"""Bearer tokens and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from privacy.classification import Purpose, Role

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["grant_access", "verify_log"]


def grant_access(house: House, role: str, purpose: str, user: str) -> Iterator[str]:
    """Issue a bearer token; the last line is the token alone."""
    from serving.auth import grant

    house.policy.require(house.operator(), "grant", "access")
    life = timedelta(days=house.settings.bearer_days)
    bearer = grant(house.keyring, name=user, role=Role(role), purpose=Purpose(purpose), ttl=life, now=house.now())
    house.audit.append(
        action="grant",
        principal=house.operator(),
        resource="access",
        outcome="allow",
        detail={"role": role, "purpose": purpose, "user": user},
    )
    yield f"{role} for {purpose}, valid until {(house.now() + life).date()}:"
    yield bearer


def verify_log(house: House) -> dict[str, Any]:
    """Verify the whole audit log; CheckFailed names the first event that doesn't hold."""
    house.policy.require(house.operator(), "audit.read", "audit")
    summary = house.audit.verify()
    return {"events": summary.events, "head": summary.head}
