"""What a descriptor may say of people's several ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.datasets.descriptor import parse_descriptor
from privacy.errors import BadInput
from tests.identities import document


def change_column(name: str, **changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda given: given["tables"]["customers"]["columns"][name].update(changes)


def change_rules(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda given: given["identity"].update(changes)


def without_ids(given: dict[str, Any]) -> None:
    for column in given["tables"]["customers"]["columns"].values():
        column.pop("identifies", None)


def products(given: dict[str, Any]) -> None:
    columns = {"sku": {"from": "sku", "sensitivity": "direct_identifier", "identifies": "card"}}
    given["tables"]["products"] = {"source": "products.parquet", "columns": columns}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_column("email", identifies="passport"), "column 'customers.email': identifies: input should be"),
        (change_column("customer_id", identifies="account"), "'customers.customer_id' identifies itself"),
        (change_column("email", sensitivity="behavioural"), "must be a direct_identifier or a key"),
        (change_column("card", type="float"), "must be a string or an int"),
        (products, "column 'products.sku' identifies nobody"),
        (without_ids, "no column identifies anybody"),
        (lambda given: given.pop("identity"), "no 'region' says whose numbers"),
        (change_rules(region="XX"), "unknown 'region'"),
        (change_rules(region="china"), "identity.region: string should match"),
        (change_rules(shared=3), "unknown key 'identity.shared'"),
        (change_rules(shared_by=1), "identity.shared_by: input should be greater than or equal to 2"),
        (change_rules(weak=["fax"]), "identity.weak"),
        (change_rules(unique=["customers.passport"]), "there is no column 'customers.passport'"),
        (change_rules(unique=["born"]), "identity.unique"),
        (change_rules(unique=["customers.customer_id"]), "nothing that two customers could have alike"),
        (change_rules(junk={"device": ["abc"]}), "identity.junk: no column identifies by device"),
        (change_rules(junk={"card": []}), "identity.junk.card"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: Callable[[dict[str, Any]], object], told: str) -> None:
    given = document()
    change(given)
    with pytest.raises(BadInput) as caught:
        parse_descriptor(given, Path(), "shop.yaml")
    assert told in str(caught.value)
