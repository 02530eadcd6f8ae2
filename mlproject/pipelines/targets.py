"""What each target learns from, and what for; the fields that a policy may mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from privacy.classification import Purpose

if TYPE_CHECKING:
    from privacy.policy_file import FieldTypes

__all__ = ["SERVICES", "field_types"]

SERVICES: Final = {"churn": ("churn_v1", Purpose.RETENTION.value), "clv": ("clv_v1", Purpose.VALUE.value)}
"""Target -> the feature service it learns from and the purpose it is trained for."""


def field_types() -> FieldTypes:
    """Every field of the models and column of their services -> its type, whatever shop it is."""
    import pyarrow as pa

    from features.transforms.registry import feature_set
    from serving.told import ANSWERED

    names = {feature.name for slow in (False, True) for feature in feature_set(slow)}
    columns = {f"service:{service}.{name}": pa.float64() for service, _ in SERVICES.values() for name in sorted(names)}
    return {**ANSWERED, **columns}
