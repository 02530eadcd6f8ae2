"""Several real processes at work in one vault."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from privacy.vault_index import PUBLISH_ROWS
from tests.postgres import Server

from .conftest import Home, on_both

FORKED = multiprocessing.get_context("fork")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


def at_once(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run `work(queue, *arguments)` in a process for each; what each put into the queue."""
    queue = FORKED.Queue()
    workers = [FORKED.Process(target=work, args=(queue, *one)) for one in arguments]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return answers


def _register(queue: Any, home: Home, first: int, last: int, step: int) -> None:
    vault = home.open_vault()
    found: dict[str, bytes] = {}
    for start in range(first, last, step):
        ids = pa.array([str(number) for number in range(start, start + step)])
        handles = vault.register(ids, [{"name": name} for name in ids.to_pylist()])
        found |= dict(zip(ids.to_pylist(), [handle.tobytes() for handle in handles], strict=True))
    vault.close()
    queue.put(found)


@pytest.mark.parametrize("step", [60, 3000])
def test_processes_that_register_the_same_people_agree(home: Home, step: int) -> None:
    home.open_vault().close()
    ranges = [(home, first * step, (first + 3) * step, step) for first in (0, 1, 0)]
    one, other, third = at_once(_register, ranges)
    everybody = one | other | third
    assert len(everybody) == 4 * step
    for found in (one, other, third):
        assert all(everybody[name] == handle for name, handle in found.items())
    vault = home.open_vault()
    assert (len(vault), vault.keys_held()) == (4 * step, 4 * step)
    names = sorted(everybody)
    handles, known = vault.find(pa.array(names))
    assert known.all()
    assert [handle.tobytes() for handle in handles] == [everybody[name] for name in names]
    record = vault.record(everybody["7"])
    assert record is not None
    assert record.attributes == {"name": "7"}
    vault.close()


def _live(queue: Any, home: Home, seed: int) -> None:
    """Register, look up, erase and link at random."""
    random = np.random.default_rng(seed)
    vault = home.open_vault()
    for _ in range(6):
        ids = pa.array([f"p{number}" for number in random.integers(0, 3 * PUBLISH_ROWS, PUBLISH_ROWS)])
        handles = vault.register(ids)
        found, known = vault.find(ids)
        assert found[known].any(axis=1).all()
        vault.sever(handles[0].tobytes())
        own = pa.array([f"own {seed} 1", f"own {seed} 2"])
        vault.register(own)
        vault.link(own[:1], own[1:])
    vault.close()
    queue.put(seed)


@pytest.mark.slow
def test_index_and_database_agree_after_everything_at_once(home: Home) -> None:
    home.open_vault().close()
    at_once(_live, [(home, seed) for seed in range(4)])
    vault = home.open_vault()
    ids = pa.array(
        [f"p{number}" for number in range(3 * PUBLISH_ROWS)] + [f"own {n} {m}" for n in range(4) for m in (1, 2)]
    )
    handles, known = vault.find(ids)
    stored = {bytes(index): bytes(handle) for index, handle in home.rows("vault", "SELECT idx, handle FROM identities")}
    indexes = [index.tobytes() for index in home.open_keyring().index.of_ids(ids)]
    assert [stored.get(index, bytes(16)) for index in indexes] == [handle.tobytes() for handle in handles]
    assert known.sum() == len(stored)
    assert len(vault) == vault.keys_held() == len(set(stored.values()))
    assert {bytes(row[0]) for row in home.rows("vault", "SELECT handle FROM people")} == set(stored.values())
    state = home.rows("vault", "SELECT identities FROM changes ORDER BY number DESC LIMIT 1")
    assert state == [(len(stored),)]
    vault.close()
