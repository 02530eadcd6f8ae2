"""A person's right to be erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlproject.wiring import House
    from privacy.rights import Receipt

__all__ = ["erase_subject"]


def erase_subject(house: House, customer_id: str) -> Receipt:
    """Erase one person from every store and return the receipt; running it again goes on where it stopped."""
    decision = house.permit("erase", "vault")
    with house.lock():
        return house.rights.erase(customer_id, house.operator(), "request of the person", rule=decision.rule)
