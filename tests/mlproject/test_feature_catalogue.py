"""`custos features list | describe`, and the page of the docs that is made of the same declarations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from features.catalogue import catalogue_page
from features.transforms.registry import every_feature
from mlproject.cli import cli
from privacy.errors import BadInput

PAGE = Path(__file__).parents[2] / "docs" / "feature-catalogue.md"


def custos(tmp_path: Path, *arguments: str) -> str:
    answer = CliRunner().invoke(cli, [*arguments, "--home", str(tmp_path / "none")], catch_exceptions=False)
    assert answer.exit_code == 0
    assert not (tmp_path / "none").exists()
    return answer.output


def test_the_page_is_not_stale(tmp_path: Path) -> None:
    assert PAGE.read_text("utf-8") == catalogue_page(), "run `make catalogue`"
    assert custos(tmp_path, "features", "list", "--markdown") == catalogue_page()


def test_every_feature_is_listed_under_its_family(tmp_path: Path) -> None:
    text = custos(tmp_path, "features", "list")
    told = json.loads(custos(tmp_path, "features", "list", "--json"))
    assert [each["name"] for each in told] == [feature.name for feature in every_feature()]
    headings = [line for line in text.splitlines() if not line.startswith(" ")]
    assert [line.rpartition("(")[2].rstrip(")") for line in headings] == list(
        dict.fromkeys(each["family"] for each in told)
    )
    assert len(text.splitlines()) == len(told) + len(headings)


def test_a_feature_is_described_with_all_that_is_declared(tmp_path: Path) -> None:
    told = json.loads(custos(tmp_path, "features", "describe", "return_share", "--json"))
    assert told == {
        "name": "return_share",
        "family": "basket",
        "type": "float64",
        "unit": "share",
        "window": "84 d",
        "description": "money returned over money spent",
        "bands": [],
        "sources": ["transactions.order_id", "transactions.ordered_at", "transactions.amount"],
        "sensitivity": "behavioural",
        "level": "total",
        "use": "model",
        "purposes": ["retention", "value"],
        "services": ["churn_v1", "clv_v1"],
    }
    lines = custos(tmp_path, "features", "describe", "stage").splitlines()
    assert "services     insight_v1" in lines
    assert "purposes     value, marketing" in lines


def test_a_misspelt_feature_is_met_with_those_like_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no feature 'recency'; did you mean recency_days"):
        custos(tmp_path, "features", "describe", "recency")
