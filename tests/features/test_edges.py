"""Shops at the edge of what works, and who may open the files of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.datasets.descriptor import load_descriptor
from privacy.errors import BadInput
from tests.shops import make_shop

from .conftest import AS_OF, Home, principal
from .tables import last_event, open_to_others
from .test_ingest import Make, change_lines


def test_a_shop_of_one_customer_works(home: Home, shop: Make) -> None:
    descriptor = shop(customers=1)
    home.ingest(descriptor)
    assert home.build(descriptor).rows > 0
    gateway = home.gateway()
    gateway.apply(descriptor)
    assert gateway.materialize(principal(), AS_OF) == 1
    event = last_event(home.root / "audit")
    assert (event["action"], event["count"]) == ("materialize", 1)
    assert event["reference"]
    [token] = home.tokens(["c00001"], "retention")
    assert gateway.online(principal(), "churn_v1", [token]).present.tolist() == [True]
    assert gateway.snapshot_rows(principal(), "churn_v1", AS_OF).num_rows == 1


def test_a_shop_where_nothing_costs_anything_is_told_so(home: Home, shop: Make) -> None:
    descriptor = shop(customers=4)
    change_lines(descriptor.base_dir, lambda rows: [row.update(price=0.0) for row in rows])
    assert home.ingest(descriptor).tables["transactions"].quarantined == {}
    with pytest.raises(BadInput, match="no order with a positive amount lies before as-of"):
        home.build(descriptor)
    assert home.paths.feature_store(descriptor.name).snapshot() is None


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        home = Home.create(tmp_path / "home")
        descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=12)))
        change_lines(descriptor.base_dir, lambda rows: rows[0].update(ts=None))
        home.ingest(descriptor)
        home.build(descriptor)
        gateway = home.gateway()
        gateway.apply(descriptor)
        assert open_to_others(home.root / "feast") == []
        gateway.materialize(principal(), AS_OF)
        gateway.apply(descriptor)
        gateway.online(principal(), "churn_v1", home.tokens(["c00001"], "retention"))
    finally:
        os.umask(before)
    for room in ("protected", "features", "quarantine", "feast"):
        assert (home.root / room).is_dir()
        assert open_to_others(home.root / room) == [], room
