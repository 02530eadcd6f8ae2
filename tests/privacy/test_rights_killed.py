from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import pyarrow as pa
import pytest

from privacy.errors import BadInput

from .conftest import Home
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
        again = _killed_after(home, name, 5 + 89 * attempt)
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
        again = _killed_after(home, name, 5 + 127 * attempt)
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


def _killed_after(home: Home, name: str, calls: int) -> bool:
    """Erase in a child that kills itself at its n-th step inside privacy; whether it got that far."""
    seen = 0

    def far_enough(_frame: FrameType, _event: str) -> bool:
        nonlocal seen
        seen += 1
        return seen >= calls

    return _killed(home, name, far_enough)


def _killed(home: Home, name: str, now: Callable[[FrameType, str], bool]) -> bool:
    """Erase in a child that kills itself at the first step inside privacy that `now` names; whether it did."""
    child = os.fork()
    if child == 0:

        def watch(frame: FrameType, event: str, _argument: object) -> None:
            if event in ("call", "return") and "/privacy/" in frame.f_code.co_filename and now(frame, event):
                os.kill(os.getpid(), signal.SIGKILL)

        shop = Shop(home)
        sys.setprofile(watch)
        shop.erase(name)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
