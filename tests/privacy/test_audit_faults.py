"""Many writers, full disks and kills: what was acknowledged is in the log, and the log verifies."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from privacy.audit import AuditLog, verify_audit
from privacy.durable import locked
from privacy.errors import CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring
from tests.small_disk import all_but, mounted

from .audited import ANN, Trail
from .conftest import Home
from .forked import after, kill_at, killed


def test_threads_share_groups_and_every_event_is_acknowledged_once(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.add()
    syncs: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (sync(descriptor), syncs.append(descriptor)))
    acknowledged: list[str] = []
    threads = [threading.Thread(target=lambda: acknowledged.extend(trail.add())) for _ in range(20)]
    group = trail.log._group
    with locked(trail.lock):  # the first writer is held up with its group, and the others come to wait behind it
        threads[0].start()
        while not group._at_work.locked() or group._waiting:
            os.sched_yield()
        for thread in threads[1:]:
            thread.start()
        while len(group._waiting) < 19:
            os.sched_yield()
    for thread in threads:
        thread.join()
    assert len(syncs) == 2 * 3  # two groups, and for each: the lines, the checkpoint, its directory
    assert sorted(acknowledged) == sorted(event["id"] for event in trail.events_stored()[1:])
    assert trail.log.verify().events == 21


def test_who_waits_for_a_log_that_was_cut_off_is_refused(trail: Trail) -> None:
    trail.add(3)
    errors: list[str] = []

    def append() -> None:
        try:
            trail.add()
        except CheckFailed as error:
            errors.append(error.what)

    threads = [threading.Thread(target=append) for _ in range(6)]
    with locked(trail.lock):
        for thread in threads:
            thread.start()
        trail.change(lambda lines: lines[:1])
    for thread in threads:
        thread.join()
    assert errors == ["the audit log was cut off: 1 of 3 signed events are left"] * 6


def test_a_fork_appends_while_a_thread_of_its_parent_is_at_work(trail: Trail) -> None:
    trail.add()
    thread = threading.Thread(target=trail.add)
    with locked(trail.lock):
        thread.start()
        while not trail.log._group._at_work.locked():
            os.sched_yield()
        child = os.fork()
        if child == 0:
            trail.add()  # waits for the lock that the parent holds, of which the child has a copy
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert trail.log.verify().events == 3


def _write(root: Path, count: int) -> None:
    trail = Trail(root / "audit", Home(root).open_keyring())
    threads = [threading.Thread(target=trail.add, args=(count,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_several_processes_append(home: Home, trail: Trail) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(home.root, 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    trail.add(20)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    events = trail.events_stored()
    assert trail.log.verify().events == len({event["id"] for event in events}) == len(events) == 100


def test_verifying_while_others_append_never_fails(home: Home, trail: Trail) -> None:
    trail.add()
    writer = multiprocessing.get_context("fork").Process(target=_write, args=(home.root, 40))
    writer.start()
    seen = [trail.again().verify().events]
    while writer.is_alive():
        seen.append(trail.log.verify().events)
    writer.join()
    assert seen == sorted(seen)
    assert trail.log.verify().events == 81


def test_a_torn_line_is_overwritten(trail: Trail) -> None:
    trail.add(2)
    with trail.events.open("ab") as file:
        file.write(b'{"action":"torn')
    assert (trail.log.verify().events, trail.log.verify().unacknowledged) == (2, 1)
    trail.add(1, trail.again())
    assert trail.log.verify().events == 3
    assert b"torn" not in trail.events.read_bytes()


@pytest.mark.parametrize("own", [True, False])
def test_lines_whose_checkpoint_was_not_published_are_told_and_overwritten(
    trail: Trail, keyring: Keyring, own: bool
) -> None:
    trail.add(2)
    old = trail.checkpoint.read_bytes()
    trail.add(3, trail.again())
    trail.checkpoint.write_bytes(old)
    found = verify_audit(trail.directory, keyring.audit_public_key)
    assert (found.events, found.unacknowledged) == (2, 3)
    kept = trail.add(1, trail.log if own else trail.again())
    found = verify_audit(trail.directory, keyring.audit_public_key)
    assert (found.events, found.unacknowledged) == (3, 0)
    assert [event["id"] for event in trail.events_stored()][2:] == kept
    assert len(trail.leaves.read_bytes()) == 3 * 32


def killed_child(trail: Trail, steps: int) -> tuple[bool, list[str]]:
    """Append in a child that kills itself at its n-th step inside privacy: whether it did, and what it was told."""
    reading, writing = os.pipe()

    def work() -> None:
        log = trail.again()
        kill_at(after(steps), events=("call", "return", "c_call", "c_return"))
        for _ in range(3):
            told = log.append_many(
                [{"action": "a", "principal": ANN, "resource": "r", "outcome": "allow"} for _ in range(2)]
            )
            os.write(writing, "".join(f"{name}\n" for name in told).encode())

    was_killed = killed(work)
    os.close(writing)
    with os.fdopen(reading) as answers:
        return was_killed, answers.read().split()


@pytest.mark.slow
def test_killed_anywhere_nothing_acknowledged_is_lost(trail: Trail, keyring: Keyring, tmp_path: Path) -> None:
    before = trail.add(2)
    saved = trail.saved(tmp_path / "saved")
    killed, behind = 0, 0
    for attempt in range(500):
        trail.put_back(saved)
        was_killed, told = killed_child(trail, 3 + 7 * attempt)
        found = verify_audit(trail.directory, keyring.audit_public_key)
        stored = [event["id"] for event in trail.events_stored()][: found.events]
        # In order, and nothing else but the one group that was published and not yet acknowledged.
        assert stored[: 2 + len(told)] == before + told
        assert len(stored) - 2 - len(told) in (0, 2)
        behind += found.unacknowledged > 0
        more = trail.add(1, trail.again())
        assert [event["id"] for event in trail.events_stored()] == stored + more
        assert trail.again().verify().unacknowledged == 0
        if not was_killed:
            break
        killed += 1
    assert 50 < killed < 500
    assert behind > 3  # some died between the lines and their checkpoint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a hundred pages."""
    with mounted(tmp_path / "disk", 400) as disk:
        yield disk


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(small_disk: Path, keyring: Keyring) -> None:
    trail = Trail(small_disk / "audit", keyring)
    acknowledged = trail.add(5)
    page = resource.getpagesize()
    for spare in range(5):  # so that lines, checkpoint and derived files are each the first not to fit
        refused: list[str] = []
        with all_but(small_disk, spare * page):
            while len(refused) < 3:
                try:
                    acknowledged += trail.add(1, trail.log if len(refused) % 2 else trail.again())
                except EnvironmentFailed as error:
                    refused.append(error.what)
                found = verify_audit(trail.directory, keyring.audit_public_key)
                assert found.events == len(acknowledged)
        assert all("No space left" in what for what in refused)
        acknowledged += trail.add(2)
        acknowledged += trail.add(1, trail.again())
        assert [event["id"] for event in trail.events_stored()] == acknowledged
        assert trail.log.verify().unacknowledged == 0
        assert not list(trail.directory.glob("*.tmp"))


def test_a_line_that_is_taken_in_part_only_is_taken_back(trail: Trail) -> None:
    acknowledged = trail.add(3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (trail.events.stat().st_size + 100, before[1]))
    try:
        for log in (trail.log, trail.again()):
            with pytest.raises(EnvironmentFailed, match="nothing was acknowledged"):
                trail.add(1, log)
            found = log.verify()
            assert (found.events, found.unacknowledged) == (3, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    acknowledged += trail.add(2)
    assert [event["id"] for event in trail.events_stored()] == acknowledged


def test_a_directory_that_cannot_be_made_is_an_environment_error(tmp_path: Path, keyring: Keyring) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailed):
        AuditLog.begin(tmp_path / "file" / "audit", keyring)
