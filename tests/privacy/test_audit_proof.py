from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privacy.audit import AuditLog
from privacy.audit_proof import check_proof
from privacy.errors import BadInput, CheckFailed
from privacy.keyring import Keyring
from privacy.signed_note import NoteKey

from .audited import Trail
from .conftest import Home


@pytest.fixture
def key(trail: Trail) -> NoteKey:
    return NoteKey.parsed(trail.log.verifier_key)


def test_every_event_is_proven_by_its_bundle_and_the_key_alone(trail: Trail, key: NoteKey) -> None:
    ids = trail.add(11)
    for index, name in enumerate(ids):
        proven = check_proof(json.loads(json.dumps(trail.log.prove(name))), key)
        assert (proven.index, proven.size, proven.origin, proven.since) == (index, 11, key.name, None)
        assert proven.event == trail.events_stored()[index]
    assert base64.b64encode(proven.root).decode() == trail.log.verify().root


def test_a_proof_stays_good_while_the_log_grows(trail: Trail, key: NoteKey) -> None:
    [name, _] = trail.add(2)
    bundle = trail.log.prove(name)
    trail.add(5)
    assert check_proof(bundle, key).size == 2
    assert check_proof(trail.again().prove(name), key).size == 7


def test_a_proof_since_an_older_checkpoint_shows_that_the_log_only_grew(trail: Trail, keyring: Keyring) -> None:
    AuditLog.begin(trail.directory, keyring)
    notes = [trail.checkpoint.read_bytes()]
    names = []
    for _ in range(9):
        names += trail.add()
        notes.append(trail.checkpoint.read_bytes())
    key = NoteKey.parsed(trail.log.verifier_key)
    for size, note in enumerate(notes):
        assert check_proof(trail.log.prove(names[3], note), key).since == size


def test_a_log_that_does_not_extend_the_older_checkpoint_gives_no_proof(
    trail: Trail, keyring: Keyring, tmp_path: Path
) -> None:
    [name] = trail.add()
    other = Trail(tmp_path / "elsewhere", keyring)
    other.add(2)
    with pytest.raises(CheckFailed, match="rolled back"):
        trail.log.prove(name, other.checkpoint.read_bytes())
    trail.add(3)
    with pytest.raises(CheckFailed, match="rewritten"):
        trail.log.prove(name, other.checkpoint.read_bytes())


def test_an_event_that_is_not_there_has_no_proof(trail: Trail) -> None:
    with pytest.raises(BadInput, match="no event of this id"):
        trail.log.prove("evt_x")
    [name] = trail.add()
    for wrong in ("evt_x", "", "ann", name[:-1]):
        with pytest.raises(BadInput, match="no event of this id"):
            trail.log.prove(wrong)


def test_a_damaged_log_proves_nothing(trail: Trail) -> None:
    ids = trail.add(4)
    trail.change(lambda lines: [*lines[:3], lines[3].replace(b"allow", b"deny")])
    with pytest.raises(CheckFailed, match="line 4"):
        trail.log.prove(ids[0])


def other_event(bundle: dict[str, Any]) -> None:
    bundle["event"] = bundle["event"].replace("allow", "deny")


def other_index(bundle: dict[str, Any]) -> None:
    bundle["index"] += 1


def other_size(bundle: dict[str, Any]) -> None:
    bundle["tree_size"] += 1


def shorter_path(bundle: dict[str, Any]) -> None:
    bundle["inclusion"].pop()


def other_path(bundle: dict[str, Any]) -> None:
    bundle["inclusion"].reverse()


def short_hash(bundle: dict[str, Any]) -> None:
    bundle["inclusion"][0] = "AAAA"


def other_root(bundle: dict[str, Any]) -> None:
    lines = bundle["checkpoint"].split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    bundle["checkpoint"] = "\n".join(lines)


def older_checkpoint(bundle: dict[str, Any]) -> None:
    bundle["checkpoint"] = bundle["since"]["checkpoint"]


def newer_since(bundle: dict[str, Any]) -> None:
    bundle["since"]["checkpoint"] = bundle["checkpoint"]


def shorter_consistency(bundle: dict[str, Any]) -> None:
    bundle["since"]["consistency"].pop()


@pytest.mark.parametrize(
    "change",
    [
        other_event,
        other_index,
        other_size,
        shorter_path,
        other_path,
        short_hash,
        other_root,
        older_checkpoint,
        newer_since,
        shorter_consistency,
    ],
)
def test_a_changed_bundle_is_refused(trail: Trail, key: NoteKey, change: Callable[[dict[str, Any]], None]) -> None:
    trail.add(5)
    since = trail.checkpoint.read_bytes()
    ids = trail.add(6)
    bundle: Any = trail.log.prove(ids[2], since)
    assert check_proof(bundle, key).since == 5
    changed = copy.deepcopy(bundle)
    change(changed)
    with pytest.raises(CheckFailed):
        check_proof(changed, key)


def test_a_proof_of_another_log_is_refused(home: Home, trail: Trail, tmp_path: Path) -> None:
    [name] = trail.add()
    other = Trail(tmp_path / "elsewhere", Keyring.create(tmp_path / "other.json", home.kms()))
    theirs = NoteKey.parsed(other.log.verifier_key)
    with pytest.raises(CheckFailed, match="another log"):
        check_proof(trail.log.prove(name), theirs)
    ours = NoteKey(NoteKey.parsed(trail.log.verifier_key).name, theirs.public_key)
    with pytest.raises(CheckFailed, match="not signed by key"):
        check_proof(trail.log.prove(name), ours)


def without(field: str) -> Callable[[dict[str, Any]], object]:
    return lambda bundle: {name: value for name, value in bundle.items() if name != field}


def with_value(field: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda bundle: {**bundle, field: value}


@pytest.mark.parametrize(
    "change",
    [
        *map(without, ["format", "event", "index", "tree_size", "inclusion", "checkpoint"]),
        with_value("format", "custos/audit-proof/v0"),
        with_value("event", 1),
        with_value("event", "\ud800"),
        with_value("index", "0"),
        with_value("index", True),
        with_value("index", 0.0),
        with_value("inclusion", "AAAA"),
        with_value("inclusion", ["!"]),
        with_value("inclusion", [None]),
        with_value("since", {}),
        with_value("since", "x"),
        lambda bundle: [bundle],
        lambda bundle: None,
    ],
)
def test_what_is_no_bundle_is_bad_input(trail: Trail, key: NoteKey, change: Callable[[dict[str, Any]], object]) -> None:
    [name, _] = trail.add(2)
    with pytest.raises(BadInput, match="no proof of an audit event"):
        check_proof(change(trail.log.prove(name)), key)
