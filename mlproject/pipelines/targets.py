"""What each target learns from, and what for."""

from __future__ import annotations

from typing import Final

from privacy.classification import Purpose

__all__ = ["SERVICES"]

SERVICES: Final = {"churn": ("churn_v1", Purpose.RETENTION.value), "clv": ("clv_v1", Purpose.VALUE.value)}
"""Target -> the feature service it learns from and the purpose it is trained for."""
