from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.kms import RFC_9106_LOW_MEMORY, FileKms, Kms, LocalKms

from .conftest import CHEAP


def local(passphrase: str = "correct horse") -> LocalKms:
    return LocalKms(passphrase=passphrase, parameters=CHEAP)


def test_wrap_round_trips_and_is_bound_to_its_context() -> None:
    wrapped = local().wrap(b"k" * 32, b"ring 1")
    assert local().unwrap(wrapped, b"ring 1") == b"k" * 32
    with pytest.raises(BadInput, match="wrong passphrase"):
        local().unwrap(wrapped, b"ring 2")


def test_wrong_passphrase_is_bad_input() -> None:
    with pytest.raises(BadInput, match="wrong passphrase"):
        local("another horse").unwrap(local().wrap(b"k" * 32, b""), b"")


@pytest.mark.parametrize("position", [0, 4, 6, 12, 30, 45, -1])
def test_any_changed_byte_is_refused(position: int) -> None:
    wrapped = bytearray(local().wrap(b"k" * 32, b""))
    wrapped[position] ^= 1
    with pytest.raises((BadInput, EnvironmentFailed)):
        local().unwrap(bytes(wrapped), b"")


def test_a_file_may_not_ask_for_absurd_memory() -> None:
    wrapped = bytearray(local().wrap(b"k" * 32, b""))
    wrapped[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(EnvironmentFailed, match="damaged"):
        local().unwrap(bytes(wrapped), b"")


def test_truncated_bytes_are_refused() -> None:
    with pytest.raises(EnvironmentFailed, match="truncated"):
        local().unwrap(local().wrap(b"k" * 32, b"")[:40], b"")


def test_the_default_cost_is_the_second_option_of_rfc_9106() -> None:
    assert (RFC_9106_LOW_MEMORY.passes, RFC_9106_LOW_MEMORY.memory_kib, RFC_9106_LOW_MEMORY.lanes) == (3, 65536, 4)
    kms = LocalKms(passphrase="correct horse")
    assert local().unwrap(kms.wrap(b"k" * 32, b""), b"") == b"k" * 32  # the cost travels with the bytes


def test_the_passphrase_file_is_made_private_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "passphrase"
    made = LocalKms.from_file(path, create=True, parameters=CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    again = LocalKms.from_file(path, create=True, parameters=CHEAP)
    assert again.unwrap(made.wrap(b"k" * 32, b""), b"") == b"k" * 32


def test_unusable_passphrase_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    with pytest.raises(EnvironmentFailed, match="missing"):
        LocalKms.from_file(path)
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(EnvironmentFailed, match="too short"):
        LocalKms.from_file(path)
    path.write_text("long enough\n")
    path.chmod(0o644)
    with pytest.raises(EnvironmentFailed, match="readable by others"):
        LocalKms.from_file(path)


def test_short_passphrases_are_refused() -> None:
    with pytest.raises(BadInput, match="too short"):
        LocalKms(passphrase="short")


def test_it_keeps_its_secret_to_itself() -> None:
    kms = local("correct horse")
    assert "correct" not in repr(kms)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(kms)


def test_a_key_file_wraps_and_unwraps_bound_to_its_context(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "root.key"
    made = FileKms.from_file(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    wrapped = made.wrap(b"k" * 32, b"ring 1")
    assert FileKms.from_file(path).unwrap(wrapped, b"ring 1") == b"k" * 32
    for data, context in (
        (wrapped, b"ring 2"),
        (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"ring 1"),
        (b"", b"ring 1"),
        (wrapped[:20], b""),
    ):
        with pytest.raises((BadInput, EnvironmentFailed)):
            made.unwrap(data, context)
    with pytest.raises(BadInput, match="another key file"):
        FileKms(bytes(32)).unwrap(wrapped, b"ring 1")


def test_unusable_key_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    with pytest.raises(EnvironmentFailed, match="missing"):
        FileKms.from_file(path)
    for text, told in (("xyz", "hex digits"), ("00" * 31, "64 hex digits"), ("", "64 hex digits"), ("é", "hex digits")):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(EnvironmentFailed, match=told):
            FileKms.from_file(path)
    path.chmod(0o640)
    with pytest.raises(EnvironmentFailed, match="readable by others"):
        FileKms.from_file(path)


def test_a_passphrase_may_come_from_the_environment() -> None:
    given = LocalKms.from_environment("PASS", {"PASS": "correct horse\n"}, CHEAP)
    assert given.unwrap(local().wrap(b"k" * 32, b""), b"") == b"k" * 32
    with pytest.raises(BadInput, match="PASS is not set"):
        LocalKms.from_environment("PASS", {}, CHEAP)


def test_a_variable_that_is_not_utf_8_holds_the_bytes_that_a_file_would(tmp_path: Path) -> None:
    secret = b"caf\xe9 correct horse"
    (tmp_path / "passphrase").write_bytes(secret)
    (tmp_path / "passphrase").chmod(0o600)
    given = LocalKms.from_environment("PASS", {"PASS": os.fsdecode(secret)}, CHEAP)
    filed = LocalKms.from_file(tmp_path / "passphrase", parameters=CHEAP)
    assert filed.unwrap(given.wrap(b"k" * 32, b""), b"") == b"k" * 32


def test_a_keyring_says_what_kind_of_guard_it_was_made_with(tmp_path: Path) -> None:
    guards: list[Kms] = [local(), FileKms.from_file(tmp_path / "root.key", create=True)]
    for mine, other in (guards, guards[::-1]):
        path = tmp_path / f"{mine.key_id}.json"
        Keyring.create(path, mine)
        assert Keyring.open(path, mine).keyset_id
        with pytest.raises(BadInput, match=f"opens with a {mine.key_id}, not with a {other.key_id}"):
            Keyring.open(path, other)


def test_a_key_file_keeps_its_key_to_itself() -> None:
    kms = FileKms(bytes(range(32)))
    assert repr(kms) == "<FileKms: secret>"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(kms)
