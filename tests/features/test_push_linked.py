"""Events of a person who has several ids: each id, and each token from before a link, leads to the one customer."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from features.definitions import define
from features.former import FORMER
from features.inboxed import inboxed_events
from features.registered import Registered
from features.services import shop_features
from privacy.errors import Refused
from tests.identities import line

from .conftest import CUTOFFS, principal
from .linked_shop import APART, LINES, TOGETHER, Shop
from .pushes import push, stores
from .tables import entities

NAMES = ("web-1", "till-9")
DAY = dt.date(2024, 1, 22)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def event(customer: str, order: str) -> dict[str, Any]:
    return {"customer_id": customer, "order_id": order, "ordered_at": f"{DAY}T12:00:00", "amount": 5.0}


def events_of(tokens: list[str]) -> list[dict[str, Any]]:
    """What the API takes: an event of each."""
    return [
        {"event": f"{at:032x}", "customer_token": token, "ordered_at": f"{DAY}T12:00:00Z", "lines": [{"amount": 5.0}]}
        for at, token in enumerate(tokens)
    ]


@pytest.mark.slow
def test_an_event_under_either_id_is_the_one_persons(shop: Shop) -> None:
    shop.serve(APART)
    issued = [shop.token(name, "retention") for name in NAMES]
    gateway, descriptor = shop.serve(TOGETHER), shop.descriptor(TOGETHER)
    for orders, name in enumerate(NAMES, 4):
        _, added, rows = push(shop.home, descriptor, [event(name, f"n{orders}")])
        assert (added.events, added.people) == (1, 0)
        assert rows is not None
        assert rows["customer_token"].to_pylist() == [shop.token("web-1")]
        assert rows["lifetime_orders"].to_pylist() == [orders]
    assert FORMER in stores(shop.home, descriptor).features.manifest()["tables"]
    answer = gateway.online(principal(), "churn_v1", issued)
    assert answer.values[:, answer.columns.index("lifetime_orders")].tolist() == [5, 5]


def test_what_is_pushed_after_a_link_is_what_an_ingest_of_it_gives(shop: Shop) -> None:
    shop.ingest(APART)
    shop.ingest(TOGETHER)
    _, added, _ = push(shop.home, shop.descriptor(TOGETHER), [event("till-9", "n1")])
    report = shop.ingest(TOGETHER, [*LINES, line("till-9", "n1", DAY, 5.0)])
    assert added.digest == report.digest


def test_what_the_api_took_before_a_link_counts_for_whom_they_are_now(shop: Shop) -> None:
    shop.ingest(APART)
    before = [shop.token(name) for name in NAMES]
    shop.ingest(TOGETHER)
    taken = events_of(before)
    descriptor, home = shop.descriptor(TOGETHER), shop.home
    safe = inboxed_events(descriptor, taken, home.vault, home.keyring, stores(home, descriptor))
    assert len(set(before)) == 2
    assert safe.tables["transactions"]["customer_token"].to_pylist() == [shop.token("web-1")] * 2
    assert safe.tokens == [shop.token("web-1")]


@pytest.mark.slow
def test_two_tokens_of_one_person_are_one_of_the_k_that_a_service_answers_about(shop: Shop) -> None:
    shop.serve(APART)
    names = ("web-1", "till-9", "web-2")
    issued, stored = ([shop.token(name, domain) for name in names] for domain in ("retention", "features"))
    gateway, home = shop.serve(TOGETHER), shop.home
    descriptor, moment = shop.descriptor(TOGETHER), CUTOFFS[-1]
    made = define(descriptor.name, home.paths.features / descriptor.name, shop_features(descriptor), ttl_days=35)
    for service in made.services:
        service.tags = {**service.tags, "k": "2"}
    Registered(home.paths.registry, home.paths.online, home.paths.features).apply(made)
    gateway = home.gateway()
    for one in ([0, 1], [1, 1], [0]):
        with pytest.raises(Refused, match="churn_v1 answers about 2 people or more"):
            gateway.online(principal(), "churn_v1", [issued[at] for at in one])
        with pytest.raises(Refused, match="churn_v1 answers about 2 people or more"):
            gateway.historical(principal(), "churn_v1", entities([stored[at] for at in one], [moment] * len(one)))
    assert gateway.online(principal(), "churn_v1", issued).present.all()
    assert gateway.historical(principal(), "churn_v1", entities(stored, [moment] * 3)).num_rows == 3
