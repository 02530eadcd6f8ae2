from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from privacy.audit import AuditLog, commitment, verify_audit
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
