"""The words that features tell or count by, for declarations and expressions alike; light to import."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["CREATED", "GRID", "KINDS", "RFM_TIERS", "STAGES", "TRENDS", "VALUE_TIERS"]

CREATED: Final = "created"
"""The column of the lines that says when each came into the shop's books; most shops have none."""
RFM_TIERS: Final = ("champions", "loyal", "big spenders", "promising", "steady", "at risk", "hibernating")
VALUE_TIERS: Final = ("top", "high", "upper", "middle", "base")
TRENDS: Final = ("rising", "steady", "falling")
GRID: Final = tuple(f"{tier} {trend}" for tier in VALUE_TIERS for trend in TRENDS)
STAGES: Final = ("new", "active", "slipping", "dormant", "lost")
KINDS: Final = MappingProxyType(
    {
        "campaign": "campaign exposures",
        "coupon": "coupon redemptions",
        "service": "service contacts",
        "web": "web events",
    }
)
"""The kinds of interactions that count, as the column `kind` holds them; others don't."""
