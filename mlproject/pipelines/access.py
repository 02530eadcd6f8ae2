"""Bearer tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from privacy.classification import LawfulBasis, Purpose, Role

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["grant_access"]


def grant_access(house: House, role: str, purpose: str, user: str, life: timedelta | None = None) -> Iterator[str]:
    """Issue a bearer token, valid for `life` or as the settings say; the last line is the token alone."""
    from serving.auth import grant

    decision = house.permit("grant", "access")
    life = life or timedelta(days=house.settings.bearer_days)
    bearer = grant(house.keyring, name=user, role=Role(role), purpose=Purpose(purpose), ttl=life, now=house.now())
    house.note(decision, "grant", "access", detail={"role": role, "purpose": purpose, "user": user})
    if house.policy.lawful_basis(Purpose(purpose)) is LawfulBasis.CONSENT:
        who = "only who consented" if house.paths.consents.exists() else "nobody, while no consent is on record,"
        yield f"Mind: {purpose} rests on consent: {who} is served for it."
    yield f"{role} for {purpose}, valid until {(house.now() + life).date()}:"
    yield bearer
