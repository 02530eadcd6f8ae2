"""An ingest that links people, killed at any of its turning points."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.former import FORMER
from tests.privacy.forked import kill_at, killed

from .conftest import Home, principal
from .linked_shop import APART, OFFICER, TOGETHER, Shop, nothing_remains


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


MOMENTS = (
    ("/privacy/linking.py", "settle", "call"),
    ("/privacy/vault_keys.py", "destroy", "call"),
    ("/privacy/vault_intake.py", "keep", "call"),
)
MORE = (
    ("/privacy/linking.py", "resolve", "return"),
    ("/privacy/vault_links.py", "_merge", "return"),
    ("/privacy/linking.py", "settle", "return"),
    ("/features/storage.py", "_publish", "return"),
    ("/privacy/vault_intake.py", "keep", "return"),
)
NAMED = [pytest.param(*at, id=f"{at[1]} {at[2]}") for at in MOMENTS]
NAMED += [pytest.param(*at, id=f"{at[1]} {at[2]}", marks=pytest.mark.slow) for at in MORE]


@pytest.mark.slow
@pytest.mark.parametrize(("within", "name", "event"), NAMED)
def test_killed_anywhere_the_next_ingest_comes_to_the_same_end(shop: Shop, within: str, name: str, event: str) -> None:
    gateway = shop.serve(APART)
    issued = [shop.token(who, "retention") for who in ("web-1", "till-9", "web-2")]
    shop.home.vault.close()
    descriptor = shop.descriptor(TOGETHER)

    def work() -> None:
        home = Home.open(shop.home.root)
        kill_at(lambda frame, now: now == event and frame.f_code.co_name == name, within=within)
        home.ingest(descriptor)

    assert killed(work)
    shop.home = Home.open(shop.home.root)
    gateway = shop.home.gateway()
    assert gateway.online(principal(), "churn_v1", issued).present.tolist() == [True] * 3
    gateway = shop.serve(TOGETHER)
    assert shop.people("web-1", "till-9", "web-2") == len(shop.home.vault) == shop.home.vault.keys_held() == 2
    answer = gateway.online(principal(), "churn_v1", issued)
    assert answer.values[:, answer.columns.index("lifetime_orders")].tolist() == [3, 3, 1]
    stored = shop.home.paths.protected_store("till_and_web")
    assert stored.read(FORMER).num_rows == 1
    assert len(set(stored.read("transactions")["customer_token"].to_pylist())) == 2
    shop.home.vault.close()


def test_killed_between_link_and_tables_either_id_is_erased_from_both(shop: Shop) -> None:
    shop.serve(APART)
    stored = [shop.token(who) for who in ("web-1", "till-9", "web-2")]
    shop.home.vault.close()
    descriptor = shop.descriptor(TOGETHER)

    def work() -> None:
        home = Home.open(shop.home.root)
        kill_at(lambda frame, now: now == "call" and frame.f_code.co_name == "_publish", within="/features/storage.py")
        home.ingest(descriptor)

    assert killed(work)
    shop.home = Home.open(shop.home.root)
    assert shop.rights(shop.home.gateway()).erase("till-9", OFFICER, "request").stores
    assert nothing_remains(shop, stored[:2])
    assert not nothing_remains(shop, stored[2:])
    shop.home.vault.close()
