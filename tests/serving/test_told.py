"""What a caller is told of a prediction by each kind of mask, with policy files as an operator writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.masking import mask_of
from privacy.policy import Policy, Principal, built_in_policy
from serving.bands import CHURN_BANDS, CLV_BANDS
from serving.predictor import Predictor, Shop
from serving.told import ANSWERED, told
from tests.serving.shop import Wired, token

ANALYST = Principal("ana", Role.ANALYST, Purpose.RETENTION)
BAND = {"fn": "band"}


def predictor(wired: Wired, folder: Path, *masks: tuple[str, dict[str, Any]], known: bool = True) -> Predictor:
    """The hand-made shop's predictor, whose policy masks fields with these tags for analysts."""
    body = yaml.safe_load(built_in_policy().read_text("utf-8"))
    body["policies"] = [rule for rule in body["policies"] if "column_mask" not in rule]
    for at, (tag, mask) in enumerate(masks):
        rule = {"name": f"mask-{at}", "to": ["analyst"], "actions": ["predict"], "resources": ["model:*"]}
        body["policies"].append(rule | {"column_mask": {**mask, "match": {"prediction": tag}}})
    (folder / "policy.yaml").write_text(yaml.safe_dump(body))
    policy = Policy.load(folder / "policy.yaml", types=ANSWERED if known else None)
    return Predictor(wired.gateway, policy, wired.audit, wired.champions, Shop("USD", 56))


@pytest.mark.parametrize(
    ("masks", "churn", "clv"),
    [
        ([], {"probability": 0.56, "band": "high"}, {"value": 1200.0, "band": "1000+"}),
        ([("exact", BAND)], {"band": "high"}, {"band": "1000+"}),
        ([("exact", {"fn": "band", "edges": [0.6, 2000]})], {"band": "below 0.6"}, {"band": "0.6 to 2000"}),
        (
            [("exact", {"fn": "rounded", "decimals": 1})],
            {"probability": 0.6, "band": "high"},
            {"value": 1200.0, "band": "1000+"},
        ),
        ([("exact", {"fn": "rounded"})], {"probability": 1.0, "band": "very_high"}, {"value": 1200.0, "band": "1000+"}),
        (
            [("exact", {"fn": "rounded", "decimals": -3})],
            {"probability": 0.0, "band": "low"},
            {"value": 1000.0, "band": "1000+"},
        ),
        ([("exact", {"fn": "redact"})], {"band": "high"}, {"band": "1000+"}),
        ([("exact", {"fn": "redact"}), ("banded", {"fn": "redact"})], {}, {}),
        ([("exact", BAND), ("banded", BAND)], {}, {}),
        ([("exact", {"fn": "band", "edges": [1]}), ("banded", {"fn": "redact"})], {}, {}),
        (
            [("exact", {"fn": "constant", "value": "withheld"}), ("banded", {"fn": "partial", "last": 0})],
            {"probability": "withheld", "band": "h**"},
            {"value": "withheld", "band": "1**"},
        ),
    ],
)
def test_each_field_is_told_as_its_mask_leaves_it(
    wired: Wired, tmp_path: Path, masks: list[Any], churn: dict[str, Any], clv: dict[str, Any]
) -> None:
    answer = predictor(wired, tmp_path, *masks).predict(ANALYST, [token(6)], ["churn", "clv"])
    (result,) = answer["results"]
    assert result["churn"] == churn | {"horizon_days": 28}
    assert result["clv"] == clv | {"currency": "USD", "horizon_days": 112}


def test_a_batch_is_masked_as_each_alone_and_who_has_no_answer_has_none(wired: Wired, tmp_path: Path) -> None:
    own = predictor(wired, tmp_path, ("exact", {"fn": "rounded", "decimals": 1}))
    people = [token(number) for number in (1, 4, 99, 2, 1)]
    answer = own.predict(ANALYST, people, ["churn", "clv"])
    assert [result["churn"] and result["churn"]["probability"] for result in answer["results"]] == [
        0.1, None, None, 0.5, 0.1,
    ]  # fmt: skip
    assert answer["results"] == [own.predict(ANALYST, [each], ["churn", "clv"])["results"][0] for each in people]


def test_a_mask_that_cannot_read_the_number_answers_nobody(wired: Wired, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"policy.yaml, line \d+"):
        predictor(wired, tmp_path, ("exact", {"fn": "email"}))
    careless = predictor(wired, tmp_path, ("exact", {"fn": "email"}), known=False)
    with pytest.raises(BadInput, match="mask email can't read a column of double"):
        careless.predict(ANALYST, [token(1)], ["churn"])
    (line,) = [path.read_text().splitlines()[-1] for path in wired.audit_directory.rglob("*.jsonl")]
    assert '"error"' in line


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=20), st.integers(1, 3))
def test_a_band_tells_no_more_than_the_rounded_number_beside_it(values: list[float], decimals: int) -> None:
    mask = mask_of({"fn": "rounded", "decimals": decimals})
    fields = told("churn", np.array(values), {"churn.probability": mask}, CHURN_BANDS)
    for number, band in zip(fields["probability"], fields["band"], strict=True):
        assert band == (None if number is None else CHURN_BANDS.of(number))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_own_bands_are_those_of_the_number(values: list[float]) -> None:
    fields = told("clv", np.array(values), {"clv.value": mask_of("band", own_bands=True)}, CLV_BANDS)
    assert fields == {"band": [CLV_BANDS.of(value) for value in values]}
