"""Whatever is done to the files: found by `verify`, refused by `append`, and never written over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from privacy.audit import AuditLog, verify_audit
from privacy.errors import CheckFailed
from privacy.keyring import Keyring
from privacy.merkle import leaf_hash, root_of
from privacy.signed_note import Checkpoint, NoteKey

from .audited import Trail
from .conftest import Home

Change = Callable[[list[bytes]], list[bytes]]


def edit(line: bytes) -> bytes:
    return line.replace(b'"allow"', b'"deny"')


def refused_everywhere(trail: Trail, message: str, *logs: AuditLog) -> None:
    """By whoever appends and whoever verifies, with nothing written."""
    before = {path: path.read_bytes() for path in (trail.events, trail.checkpoint) if path.exists()}
    for log in logs or (trail.log, trail.again()):
        for attempt in (lambda log=log: trail.add(1, log), log.verify):
            with pytest.raises(CheckFailed, match=message):
                attempt()
    assert {path: path.read_bytes() for path in (trail.events, trail.checkpoint) if path.exists()} == before


TAMPERED: list[tuple[Change, str]] = [
    (lambda lines: [edit(lines[0]), *lines[1:]], r"an audit line was edited \(.* line 1\)"),
    (lambda lines: [lines[0], edit(lines[1]), *lines[2:]], r"an audit line was edited \(.* line 2\)"),
    (lambda lines: [*lines[:4], edit(lines[4])], r"an audit line was edited \(.* line 5\)"),
    (lambda lines: [lines[0], *map(edit, lines[1:3]), *lines[3:]], r"audit lines were changed \(.* line 2\)"),
    (lambda lines: [lines[0], *lines[2:]], r"an audit line was deleted \(.* line 2\)"),
    (lambda lines: [lines[0], *lines[3:]], r"2 audit lines were deleted \(.* line 2\)"),
    (lambda lines: lines[1:], r"an audit line was deleted \(.* line 1\)"),
    (lambda lines: [lines[1], lines[0], *lines[2:]], r"reordered \(.* line 1\)"),
    (lambda lines: [lines[0], *lines[:0:-1]], r"reordered \(.* line 2\)"),
    (lambda lines: [lines[0], edit(lines[0]), *lines[1:]], r"an audit line was inserted \(.* line 2\)"),
    (lambda lines: [lines[2], lines[2], *lines], r"2 audit lines were inserted \(.* line 1\)"),
    (lambda lines: lines[:3], r"cut off: 3 of 5 signed events are left \(.* line 4\)"),
    (lambda lines: [], r"cut off: 0 of 5 signed events are left \(.* line 1\)"),
    (lambda lines: [*lines[:2], b"garbage", *lines[3:]], r"edited \(.* line 3\)"),
    (lambda lines: [*lines[:2], b"", *lines[3:]], r"edited \(.* line 3\)"),
    (lambda lines: [b"".join(lines[:2]), *lines[2:]], r"audit lines were changed \(.* line 1\)"),
    (lambda lines: [*lines[:4], lines[4] + b" "], r"edited \(.* line 5\)"),
]


@pytest.mark.parametrize(("change", "message"), TAMPERED, ids=range(len(TAMPERED)))
def test_tampering_is_located_and_nothing_is_added(
    trail: Trail, keyring: Keyring, change: Change, message: str
) -> None:
    trail.add(5)
    trail.change(change)
    with pytest.raises(CheckFailed, match=message):
        trail.log.verify()
    with pytest.raises(CheckFailed, match=message):
        verify_audit(trail.directory, keyring.audit_public_key)
    before = trail.events.read_bytes()
    with pytest.raises(CheckFailed, match=message):
        trail.add()
    assert trail.events.read_bytes() == before


@pytest.mark.parametrize(("change", "message"), TAMPERED, ids=range(len(TAMPERED)))
def test_tampering_is_found_without_the_derived_files_too(trail: Trail, change: Change, message: str) -> None:
    trail.add(5)
    trail.change(change)
    trail.forget_derived()
    refused_everywhere(trail, "signed root.*leaf hashes beside it are gone")


def test_leaf_hashes_that_were_changed_too_blame_no_line(trail: Trail) -> None:
    trail.add(5)
    trail.change(lambda lines: [*lines[:3], edit(lines[3]), lines[4]])
    hashes = bytearray(trail.leaves.read_bytes())
    hashes[40] ^= 1
    trail.leaves.write_bytes(hashes)
    refused_everywhere(trail, r"5 lines do not come out at the signed root \([^ ]*events.jsonl\)")


def test_every_byte_counts(trail: Trail) -> None:
    trail.add(2)
    good = trail.events.read_bytes()
    for at in range(len(good)):
        trail.events.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CheckFailed):
            trail.again().verify()
    trail.events.write_bytes(good)
    assert trail.again().verify().events == 2


def test_every_byte_of_the_checkpoint_counts(trail: Trail) -> None:
    trail.add(2)
    good = trail.checkpoint.read_bytes()
    for at in range(len(good)):
        trail.checkpoint.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CheckFailed):
            trail.again().verify()


def test_a_log_of_another_key_does_not_verify(home: Home, trail: Trail, tmp_path: Path) -> None:
    trail.add(2)
    other = Keyring.create(tmp_path / "other.json", home.kms())
    with pytest.raises(CheckFailed, match="not signed by key"):
        verify_audit(trail.directory, other.audit_public_key)
    refused_everywhere(trail, "checkpoint is of another log", AuditLog(trail.directory, other))


@pytest.mark.parametrize("events", [0, 3])
def test_a_begun_log_that_is_gone_is_not_an_empty_one(trail: Trail, keyring: Keyring, events: int) -> None:
    begun = AuditLog.begin(trail.directory, keyring)
    trail.add(events, begun)
    shutil.rmtree(trail.directory)
    refused_everywhere(trail, "checkpoint is missing", begun, trail.again())
    with pytest.raises(CheckFailed, match="checkpoint is missing"):
        verify_audit(trail.directory, keyring.audit_public_key, must_exist=True)
    assert not trail.events.exists()
    assert verify_audit(trail.directory, keyring.audit_public_key).events == 0


@pytest.mark.parametrize("must_exist", [True, False])
@pytest.mark.parametrize("kept", [1, 3])
def test_lines_without_a_checkpoint_are_not_laundered(
    trail: Trail, keyring: Keyring, must_exist: bool, kept: int
) -> None:
    trail.add(3)
    trail.change(lambda lines: lines[:kept])
    trail.checkpoint.unlink()
    refused_everywhere(trail, "checkpoint is missing", trail.log, trail.again(must_exist=must_exist))
    with pytest.raises(CheckFailed, match="checkpoint is missing"):
        AuditLog.begin(trail.directory, keyring)
    with pytest.raises(CheckFailed, match="checkpoint is missing"):
        verify_audit(trail.directory, keyring.audit_public_key)
    assert not trail.checkpoint.exists()


def test_only_what_was_added_since_is_checked_at_an_append(trail: Trail) -> None:
    trail.add_many(600)
    trail.add(1, trail.again())
    trail.change(lambda lines: [lines[0].replace(b'"analyst"', b'"auditor"'), *lines[1:]])
    trail.add()  # another process appended, and only its line is looked at
    trail.add(1, trail.again())  # a new process looks at the last lines and trusts the signed root for the others
    with pytest.raises(CheckFailed, match=r"edited .* line 1\)"):
        trail.log.verify()


def test_a_new_process_looks_at_the_last_lines(trail: Trail) -> None:
    trail.add_many(600)
    trail.change(lambda lines: [*lines[:599], edit(lines[599])])
    refused_everywhere(trail, r"edited .* line 600\)")


def test_lines_of_another_process_are_checked_before_more_are_added(trail: Trail) -> None:
    trail.add(2)
    trail.add(2, trail.again())
    trail.change(lambda lines: [*lines[:2], edit(lines[2]), lines[3]])
    refused_everywhere(trail, r"edited .* line 3\)", trail.log)


def test_a_rewritten_log_of_the_same_length_is_checked_whole(trail: Trail) -> None:
    trail.add(3)
    before = trail.events.stat()
    trail.change(lambda lines: [lines[0].replace(b'"analyst"', b'"auditor"'), *lines[1:]])
    os.utime(trail.events, ns=(before.st_atime_ns, before.st_mtime_ns))  # the change time can't be set back
    refused_everywhere(trail, r"edited .* line 1\)", trail.log)


def test_a_line_added_by_hand_is_never_an_event(trail: Trail, keyring: Keyring) -> None:
    trail.add(2)
    trail.change(lambda lines: [*lines, edit(lines[1])])
    assert verify_audit(trail.directory, keyring.audit_public_key).unacknowledged == 1
    assert [event["outcome"] for event in trail.log.select(9)] == ["allow", "allow"]
    trail.add()
    assert trail.log.verify().events == 3
    assert [event["outcome"] for event in trail.events_stored()] == ["allow"] * 3


def test_log_and_checkpoint_rolled_back_together_are_noticed_by_who_saw_more(
    trail: Trail, keyring: Keyring, tmp_path: Path
) -> None:
    trail.add(2)
    old = trail.saved(tmp_path / "old")
    trail.add(2)
    kept = trail.checkpoint.read_bytes()
    trail.put_back(old)
    refused_everywhere(trail, "rolled back: .* counts 4 events, this one 2", trail.log)
    assert trail.again().verify().events == 2  # a new process can't know
    for attempt in (
        lambda: trail.again().verify([kept]),
        lambda: verify_audit(trail.directory, keyring.audit_public_key, kept=[kept]),
    ):
        with pytest.raises(CheckFailed, match=r"rolled back: .* counts 4 events, this one 2"):
            attempt()


def test_a_rolled_back_log_that_grew_again_is_noticed(trail: Trail, tmp_path: Path) -> None:
    trail.add(2)
    old = trail.saved(tmp_path / "old")
    trail.add(2)
    kept = trail.checkpoint.read_bytes()
    trail.put_back(old)
    trail.add(5, trail.again())
    refused_everywhere(trail, "rewritten: its first 4 events", trail.log)
    with pytest.raises(CheckFailed, match="rewritten: its first 4 events are not those of the checkpoint"):
        trail.again().verify([kept])


def test_two_logs_signed_for_the_same_size_are_a_fork(trail: Trail, keyring: Keyring, tmp_path: Path) -> None:
    trail.add(2)
    other = Trail(tmp_path / "elsewhere", keyring)
    other.add(2)
    kept = other.checkpoint.read_bytes()
    for attempt in (
        lambda: trail.log.verify([kept]),
        lambda: verify_audit(trail.directory, keyring.audit_public_key, kept=[kept]),
    ):
        with pytest.raises(CheckFailed, match="forked: it has other events than those signed for the same number"):
            attempt()
    trail.put_back(other.directory)
    refused_everywhere(trail, "forked", trail.log)


def test_another_checkpoint_of_ours_does_not_fit_the_lines(trail: Trail, keyring: Keyring, tmp_path: Path) -> None:
    trail.add(2)
    other = Trail(tmp_path / "elsewhere", keyring)
    other.add(2)
    shutil.copy(other.checkpoint, trail.checkpoint)
    refused_everywhere(trail, "signed root")


def test_a_tail_signed_anew_with_the_stolen_key_is_found_by_a_kept_checkpoint(
    trail: Trail, keyring: Keyring, tmp_path: Path
) -> None:
    """The thief cuts the tail off, and has our own code sign another one of the same length."""
    trail.add(4)
    old = trail.saved(tmp_path / "old")
    trail.add(6)
    kept = trail.checkpoint.read_bytes()
    trail.add(1)
    trail.put_back(old)
    trail.add(7, trail.again())
    assert trail.again().verify().events == 11  # by itself it is a good log
    with pytest.raises(CheckFailed, match="rewritten: its first 10 events"):
        verify_audit(trail.directory, keyring.audit_public_key, kept=[kept])
    refused_everywhere(trail, "forked", trail.log)  # this process saw eleven other events


def test_a_line_signed_anew_is_named_where_the_old_leaf_hashes_are_left(trail: Trail, keyring: Keyring) -> None:
    trail.add(6)
    kept, leaves = trail.checkpoint.read_bytes(), trail.leaves.read_bytes()
    lines = [edit(line) if at == 2 else line for at, line in enumerate(trail.lines())]
    trail.change(lambda _: lines)
    resign(trail, keyring, lines)
    trail.leaves.write_bytes(leaves)
    assert trail.again().verify().events == 6
    with pytest.raises(CheckFailed, match=r"forked: .* \(.* line 3\)"):
        trail.again().verify([kept])


def resign(trail: Trail, keyring: Keyring, lines: list[bytes]) -> None:
    """What a thief of the audit key can do."""
    key = NoteKey.parsed(trail.log.verifier_key)
    made = Checkpoint(key.name, len(lines), root_of(map(leaf_hash, lines)))
    trail.checkpoint.write_bytes(made.signed(key, keyring.audit_signer))


def test_kept_checkpoints_of_any_age_are_extended_by_the_log(trail: Trail, keyring: Keyring) -> None:
    AuditLog.begin(trail.directory, keyring)
    kept = [trail.checkpoint.read_bytes()]
    for _ in range(9):
        trail.add()
        kept.append(trail.checkpoint.read_bytes())
    assert verify_audit(trail.directory, keyring.audit_public_key, kept=kept).events == 9
    assert trail.log.verify(kept).events == 9
    shutil.rmtree(trail.directory)
    with pytest.raises(CheckFailed, match="missing"):
        verify_audit(trail.directory, keyring.audit_public_key, kept=kept[1:])


def test_a_kept_checkpoint_must_be_ours(home: Home, trail: Trail, keyring: Keyring, tmp_path: Path) -> None:
    trail.add(2)
    other = Trail(tmp_path / "elsewhere", Keyring.create(tmp_path / "other.json", home.kms()))
    other.add()
    kept = other.checkpoint.read_bytes()
    with pytest.raises(CheckFailed, match="another log"):
        trail.log.verify([kept])
    with pytest.raises(CheckFailed, match="not signed by key"):
        verify_audit(trail.directory, keyring.audit_public_key, kept=[kept])
    with pytest.raises(CheckFailed, match="no signed checkpoint"):
        trail.log.verify([b"nonsense"])


def test_a_log_on_read_only_media_verifies(trail: Trail, keyring: Keyring) -> None:
    trail.add(3)
    trail.forget_derived()
    for path in trail.directory.iterdir():
        path.chmod(0o400)
    trail.directory.chmod(0o500)
    assert verify_audit(trail.directory, keyring.audit_public_key).events == 3
    assert sorted(path.name for path in trail.directory.iterdir()) == ["checkpoint", "events.jsonl"]
    trail.directory.chmod(0o700)
