"""What of a model's answer a policy lets be told: the exact number, its band, or what their masks leave of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.masks._base import Mask

from .bands import Bands

__all__ = ["ANSWERED", "EXACT", "told"]

EXACT: Final[Mapping[str, str]] = MappingProxyType({"churn": "probability", "clv": "value"})
"""The exact field of each model; the policy masks it as `<model>.<field>`, its band as `<model>.band`."""
ANSWERED: Final[Mapping[str, pa.DataType]] = MappingProxyType(
    {f"{model}.{exact}": pa.float64() for model, exact in EXACT.items()}
    | {f"{model}.band": pa.string() for model in EXACT}
)
"""Every field that a policy may mask -> its type."""


def told(model: str, values: npt.NDArray[np.float64], masks: Mapping[str, Mask], bands: Bands) -> dict[str, list[Any]]:
    """Field -> what is told of (n,) `values`, None where there is NaN; a field that isn't told at all isn't there.

    Bands are of the number as it is told, so that band and rounded number together tell no more than the latter;
    where `band` has edges they are told in place of the model's own bands. Raises BadInput for a mask that can't read
    its field.

    >>> from privacy.masking import mask_of
    >>> from serving.bands import CHURN_BANDS
    >>> told("churn", np.array([0.24, np.nan]), {"churn.probability": mask_of({"fn": "rounded", "decimals": 1})},
    ...      CHURN_BANDS)
    {'probability': [0.2, None], 'band': ['low', None]}
    >>> told("churn", np.array([0.24]), {"churn.probability": mask_of({"fn": "band", "edges": [0.5]})}, CHURN_BANDS)
    {'band': ['below 0.5']}
    """
    exact = EXACT[model]
    mask, of_band = masks.get(f"{model}.{exact}"), masks.get(f"{model}.band")
    fields: dict[str, list[Any]] = {}
    numbers = [None if math.isnan(value) else value for value in values.tolist()]
    banded: list[Any] | None = None
    if mask is None:
        fields[exact] = numbers
    elif mask.name == "band" and not mask.own:
        banded = mask.apply(pa.array(values, pa.float64(), from_pandas=True)).to_pylist()
    elif mask.name not in ("band", "redact"):
        fields[exact] = mask.apply(pa.array(values, pa.float64(), from_pandas=True)).to_pylist()
        if pa.types.is_floating(mask.type):
            numbers = fields[exact]
    if of_band is not None and of_band.name in ("band", "redact"):
        return fields
    if banded is None:
        banded = [None if number is None else bands.of(number) for number in numbers]
    fields["band"] = banded if of_band is None else of_band.apply(pa.array(banded, pa.string())).to_pylist()
    return fields
