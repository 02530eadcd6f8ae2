from __future__ import annotations

import pyarrow as pa
import pytest

from privacy.errors import BadInput

from .conftest import Home
from .forked import Step, after, kill_at, killed
from .shop import NOWHERE_BUT_IN_QUARANTINE, Shop

pytestmark = pytest.mark.slow


def test_killed_anywhere_then_run_again_ends_the_same(home: Home) -> None:
    """Each person dies at another step, a bit further on, until a run gets through."""
    names = [f"customer {number}" for number in range(200)]
    killed = 0
    for attempt, name in enumerate(names):
        shop = Shop(home)
        token = shop.customer(name)
        shop.vault.close()
        again = _killed(home, name, after(5 + 89 * attempt))
        shop = Shop(home)
        receipt = shop.erase(name)
        assert [(s.name, s.before, s.after) for s in receipt.stores] == [
            ("features", 3, 0),
            ("online", 3, 0),
            ("quarantine", 0, 0),
            ("vault", 1, 0),
        ]
        assert shop.suppressed(token) == [True]
        assert not shop.vault.find(pa.array([name]))[1].any()
        assert shop.vault.tombstoned(pa.array([name])).all()
        assert shop.erase(name) == receipt
        assert len(list(shop.receipts.glob("er_*.json"))) == attempt + 1
        assert not list(shop.receipts.glob(".er_*"))
        assert shop.audit.verify().events == attempt + 1
        shop.vault.close()
        if not again:
            break
        killed += 1
    assert 5 < killed < len(names)


def test_a_stranger_erasure_killed_anywhere_ends_the_same(home: Home) -> None:
    killed = 0
    for attempt in range(200):
        name = f"customer {attempt}"
        shop = Shop(home)
        shop.bad_row(name)
        shop.vault.close()
        again = _killed(home, name, after(5 + 127 * attempt))
        shop = Shop(home)
        receipt = shop.erase(name)
        assert [(s.name, s.before, s.after) for s in receipt.stores] == NOWHERE_BUT_IN_QUARANTINE
        assert shop.vault.tombstoned(pa.array([name])).all()
        assert shop.erase(name) == receipt
        assert not list(shop.receipts.glob(".er_*"))
        assert shop.audit.verify().events == attempt + 1
        assert len(shop.suppression) == 0
        shop.vault.close()
        if not again:
            break
        killed += 1
    assert 5 < killed < 200


@pytest.mark.parametrize("stranger", [True, False])
@pytest.mark.parametrize("step", ["bury", "_emptied", "sever", "append", "write_receipt"])
@pytest.mark.parametrize("event", ["call", "return"])
def test_killed_at_any_border_there_is_one_event_and_one_receipt(
    home: Home, stranger: bool, step: str, event: str
) -> None:
    shop = Shop(home)
    if stranger:
        shop.bad_row("ann")
    else:
        shop.customer("ann")
    shop.vault.close()
    assert _killed(home, "ann", lambda frame, now: now == event and frame.f_code.co_name == step)
    shop = Shop(home)
    receipt = shop.erase("ann")
    assert shop.audit.verify().events == 1
    assert [path.stem for path in shop.receipts.glob("er_*.json")] == [receipt.id]
    assert receipt.audit_event in (home.root / "audit" / "events.jsonl").read_text()
    shop.vault.close()


@pytest.mark.parametrize("then", ["met", "gone"])
def test_a_note_that_no_longer_fits_is_dropped(home: Home, then: str) -> None:
    shop = Shop(home)
    shop.bad_row("ann")
    shop.vault.close()
    assert _killed(home, "ann", lambda frame, now: now == "call" and frame.f_code.co_name == "bury")
    shop = Shop(home)
    assert len(list(shop.receipts.glob(".er_*.journal"))) == 1
    if then == "met":
        shop.customer("ann")
        assert shop.erase("ann").stores[-1].before == 1
    else:
        shop.bad_row("ann", 0)
        with pytest.raises(BadInput, match="nobody"):
            shop.erase("ann")
    assert not list(shop.receipts.glob(".er_*.journal"))


def _killed(home: Home, name: str, now: Step) -> bool:
    """Erase in a child that kills itself at the step inside privacy that `now` says; whether it got that far."""

    def work() -> None:
        shop = Shop(home)
        kill_at(now)
        shop.erase(name)

    return killed(work)
