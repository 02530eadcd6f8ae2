"""What an ingest points out of a descriptor."""

from __future__ import annotations

from pathlib import Path

from features.datasets.descriptor import load_descriptor, parse_descriptor
from mlproject.pipelines.ingest import contact_columns
from tests.shops import shop_document


def test_a_column_named_like_a_contact_detail_and_stored_as_it_is_is_pointed_out() -> None:
    document = shop_document()
    assert contact_columns(parse_descriptor(document, Path(), "shop.yaml")) == []
    columns = document["tables"]["customers"]["columns"]
    columns["phone"]["sensitivity"] = "non_personal"
    columns["reach"] = {"from": "E-Mail", "sensitivity": "behavioural"}
    assert contact_columns(parse_descriptor(document, Path(), "shop.yaml")) == ["customers.phone", "customers.reach"]


def test_the_sample_shop_gives_no_cause() -> None:
    assert contact_columns(load_descriptor("complete_journey")) == []
