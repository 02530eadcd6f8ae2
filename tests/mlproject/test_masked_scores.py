"""The columns of a file of scores, by the mask that the policy puts on the exact number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlproject.pipelines.score import _told
from privacy.masking import mask_of
from privacy.policy import Decision


@pytest.mark.parametrize(
    ("masks", "columns"),
    [
        ({}, {"clv": [412.7, None]}),
        ({"clv.value": "band"}, {"clv_band": ["250-500", None]}),
        ({"clv.value": {"fn": "band", "edges": [400]}}, {"clv_band": ["400 and above", None]}),
        ({"clv.value": {"fn": "rounded", "decimals": -2}}, {"clv": [400.0, None]}),
        ({"clv.value": {"fn": "constant", "value": "withheld"}}, {"clv": ["withheld", None]}),
        ({"clv.value": "redact"}, {}),
        ({"clv.value": "band", "clv.band": "redact"}, {}),
    ],
)
def test_a_file_of_scores_holds_what_the_mask_leaves(masks: dict[str, Any], columns: dict[str, list[Any]]) -> None:
    decision = Decision("mask", "r", masks={field: mask_of(spec, own_bands=True) for field, spec in masks.items()})
    told = _told("clv", decision, np.array([412.7, np.nan]))
    assert {name: column.to_pylist() for name, column in told.items()} == columns
