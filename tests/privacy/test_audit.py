from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from privacy.audit import AuditLog, commitment, new_event_id, verify_audit
from privacy.classification import Purpose, Role
from privacy.errors import CheckFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.policy import Principal

from .conftest import Home

ANN = Principal("ann", Role.ANALYST, Purpose.RETENTION)


def add(log: AuditLog, count: int = 1) -> list[str]:
    return [
        log.append(action="predict", principal=ANN, resource="model:churn", outcome="allow", rule="r", count=n)
        for n in range(count)
    ]


@pytest.fixture
def log(home: Home, keyring: Keyring) -> AuditLog:
    return AuditLog(home.root / "audit", keyring)


@pytest.fixture
def path(home: Home) -> Path:
    return home.root / "audit" / "audit.jsonl"


def test_events_are_stored_in_order_under_a_signed_head(log: AuditLog, path: Path) -> None:
    assert log.verify().events == 0
    ids = add(log, 3)
    ids.append(
        log.append(
            action="identify",
            principal=Principal("root", Role.ADMIN, None),
            resource="vault",
            outcome="deny",
            reference="ab" * 16,
            commitment="c",
            detail={"reason": "一个理由"},
        )
    )
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["id"] for event in events] == ids
    assert events[0]["principal"] == {"name": "ann", "role": "analyst", "purpose": "retention"}
    assert events[3]["detail"] == {"reason": "一个理由"}
    summary = log.verify()
    assert (summary.events, summary.head) == (4, events[3]["hash"])
    assert (summary.first_at, summary.last_at) == (events[0]["at"], events[3]["at"])


def test_a_reopened_log_and_a_sealed_keyring_go_on(home: Home, keyring: Keyring, log: AuditLog) -> None:
    add(log, 2)
    keyring.seal(home.root / "service.json", home.kms(), ["retention"])
    service = AuditLog(home.root / "audit", SealedKeyring.open(home.root / "service.json", home.kms()))
    add(service)
    add(log)
    add(AuditLog(home.root / "audit", keyring))
    assert verify_audit(home.root / "audit", keyring.audit_public_key).events == 5


def edit(line: str) -> str:
    return line.replace('"allow"', '"deny"')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], edit(lines[1]), *lines[2:]], "edited.*line 2"),
        (lambda lines: [lines[0], *lines[2:]], "deleted, inserted or reordered.*line 2"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "reordered.*line 1"),
        (lambda lines: lines[:3], "cut off after line 3"),
        (lambda lines: [], "cut off after line 0"),
        (lambda lines: [*lines, lines[-1]], "reordered.*line 5"),
        (lambda lines: [*lines[:2], "garbage", *lines[3:]], "unreadable.*line 3"),
    ],
)
def test_tampering_is_detected_and_nothing_is_added(log: AuditLog, path: Path, change: object, message: str) -> None:
    add(log, 4)
    lines = change(path.read_text().splitlines())  # type: ignore[operator]
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(CheckFailed, match=message):
        log.verify()
    before = path.read_bytes()
    with pytest.raises(CheckFailed):
        add(log)
    assert path.read_bytes() == before


def test_lines_signed_by_another_key_are_detected(home: Home, log: AuditLog, tmp_path: Path) -> None:
    add(log, 2)
    other = Keyring.create(tmp_path / "other.json", home.kms())
    with pytest.raises(CheckFailed, match="not signed by this home's key"):
        verify_audit(home.root / "audit", other.audit_public_key)
    with pytest.raises(CheckFailed):
        add(AuditLog(home.root / "audit", other))


def test_a_changed_or_missing_head_is_detected(home: Home, log: AuditLog) -> None:
    add(log, 2)
    head = home.root / "audit" / "head.json"
    good = head.read_text()
    head.write_text(good.replace('"events":2', '"events":1'))
    with pytest.raises(CheckFailed, match="head is not signed"):
        log.verify()
    head.unlink()
    with pytest.raises(CheckFailed, match="head is missing"):
        log.verify()


def test_a_torn_last_line_is_overwritten(home: Home, keyring: Keyring, log: AuditLog, path: Path) -> None:
    add(log, 2)
    with path.open("ab") as file:
        file.write(b'{"seq":2,"id":"evt_torn')
    assert log.verify().events == 2
    add(AuditLog(home.root / "audit", keyring))
    assert log.verify().events == 3
    assert b"torn" not in path.read_bytes()


def test_a_crash_between_line_and_head_loses_nothing(home: Home, keyring: Keyring, log: AuditLog) -> None:
    add(log, 2)
    head = home.root / "audit" / "head.json"
    old = head.read_bytes()
    add(log)
    head.write_bytes(old)
    assert log.verify().events == 3
    add(AuditLog(home.root / "audit", keyring))
    assert log.verify().events == 4


@pytest.fixture
def begun(home: Home, keyring: Keyring) -> AuditLog:
    return AuditLog.begin(home.root / "audit", keyring)


def again(home: Home, keyring: Keyring, *, must_exist: bool = True) -> AuditLog:
    """The log as another process opens it."""
    return AuditLog(home.root / "audit", keyring, must_exist=must_exist)


def refused_everywhere(log: AuditLog, message: str) -> None:
    for attempt in (lambda: add(log), log.verify):
        with pytest.raises(CheckFailed, match=message):
            attempt()


def test_a_begun_log_is_empty_and_stays_when_begun_again(home: Home, keyring: Keyring, begun: AuditLog) -> None:
    assert begun.verify().events == 0
    add(begun, 2)
    assert AuditLog.begin(home.root / "audit", keyring).verify().events == 2


@pytest.mark.parametrize("events", [0, 3])
def test_a_begun_log_that_is_gone_is_not_an_empty_one(
    home: Home, keyring: Keyring, begun: AuditLog, events: int
) -> None:
    add(begun, events)
    shutil.rmtree(home.root / "audit")
    refused_everywhere(again(home, keyring), "head is missing")
    refused_everywhere(begun, "head is missing")
    with pytest.raises(CheckFailed, match="head is missing"):
        verify_audit(home.root / "audit", keyring.audit_public_key, must_exist=True)
    assert not (home.root / "audit" / "audit.jsonl").exists()


@pytest.mark.parametrize("must_exist", [True, False])
@pytest.mark.parametrize("kept", [1, 3])
def test_a_cut_log_without_head_is_not_laundered(
    home: Home, keyring: Keyring, path: Path, must_exist: bool, kept: int
) -> None:
    add(again(home, keyring, must_exist=False), 3)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    (home.root / "audit" / "head.json").unlink()
    before = path.read_bytes()
    refused_everywhere(again(home, keyring, must_exist=must_exist), "head is missing")
    with pytest.raises(CheckFailed, match="head is missing"):
        AuditLog.begin(home.root / "audit", keyring)
    assert path.read_bytes() == before
    assert not (home.root / "audit" / "head.json").exists()


def test_a_cut_log_is_refused_by_a_new_process(home: Home, keyring: Keyring, log: AuditLog, path: Path) -> None:
    add(log, 3)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    before = path.read_bytes()
    with pytest.raises(CheckFailed, match="shortened"):
        add(again(home, keyring))
    assert path.read_bytes() == before


def test_log_and_head_put_back_together_are_noticed_by_who_saw_more(home: Home, log: AuditLog, path: Path) -> None:
    head = home.root / "audit" / "head.json"
    add(log, 2)
    old = path.read_bytes(), head.read_bytes()
    add(log, 2)
    path.write_bytes(old[0])
    head.write_bytes(old[1])
    refused_everywhere(log, "shortened")


def test_another_head_of_ours_is_noticed(home: Home, keyring: Keyring, log: AuditLog, tmp_path: Path) -> None:
    add(log, 2)
    add(AuditLog(tmp_path / "elsewhere", keyring), 2)
    shutil.copy(tmp_path / "elsewhere" / "head.json", home.root / "audit" / "head.json")
    with pytest.raises(CheckFailed, match="names another event"):
        log.verify()
    with pytest.raises(CheckFailed, match="names another event"):
        add(log)


def test_only_what_was_added_since_is_checked_at_an_append(
    home: Home, keyring: Keyring, log: AuditLog, path: Path
) -> None:
    add(log, 3)
    other = again(home, keyring)
    add(other)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0].replace('"analyst"', '"auditor"'), *lines[1:]]))
    add(log)  # it grew, and only the new line is looked at
    add(again(home, keyring))  # a new process trusts the signed head
    with pytest.raises(CheckFailed, match=r"edited.*line 1"):
        log.verify()


@pytest.mark.parametrize("own", [True, False])
def test_bad_lines_behind_the_checked_end_are_refused(
    home: Home, keyring: Keyring, log: AuditLog, path: Path, own: bool
) -> None:
    add(log, 2)
    forged = path.read_text().splitlines(keepends=True)[1].replace('"allow"', '"deny"')
    with path.open("a") as file:
        file.write(forged)
    before = path.read_bytes()
    with pytest.raises(CheckFailed, match=r"edited.*line 3"):
        add(log if own else again(home, keyring))
    assert path.read_bytes() == before


def test_a_rewritten_log_of_the_same_length_is_checked_whole(log: AuditLog, path: Path) -> None:
    add(log, 3)
    before = path.stat()
    path.write_text(path.read_text().replace('"analyst"', '"auditor"', 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(CheckFailed, match=r"edited.*line 1"):
        add(log)


def test_an_event_with_an_id_is_stored_once(home: Home, keyring: Keyring, log: AuditLog) -> None:
    event = {"action": "erase", "principal": ANN, "resource": "vault", "outcome": "allow", "id": new_event_id()}
    for one in (log, log, again(home, keyring)):
        assert one.append(**event) == event["id"]  # type: ignore[arg-type]
    add(log)
    quoting = {"reason": f'"id":"{new_event_id()}"'}
    log.append(action="erase", principal=ANN, resource="vault", outcome="allow", detail=quoting)
    fresh = quoting["reason"][6:-1]
    assert log.append(**{**event, "id": fresh}) == fresh  # type: ignore[arg-type]
    assert log.verify().events == 4


def _write(root: Path, count: int) -> None:
    add(AuditLog(root / "audit", Home(root).open_keyring()), count)


def test_several_processes_append(home: Home, log: AuditLog) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(home.root, 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    add(log, 20)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert log.verify().events == 60


def test_commitments_hide_and_differ() -> None:
    one, other = commitment(["ret_a", "ret_b"]), commitment(["ret_b", "ret_a"])
    assert "ret_a" not in one
    assert one != other
