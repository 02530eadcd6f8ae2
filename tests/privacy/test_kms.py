from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from privacy.errors import BadInput
from privacy.kms import RFC_9106_LOW_MEMORY, LocalKms

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
    with pytest.raises(BadInput):
        local().unwrap(bytes(wrapped), b"")


def test_a_file_may_not_ask_for_absurd_memory() -> None:
    wrapped = bytearray(local().wrap(b"k" * 32, b""))
    wrapped[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(BadInput, match="damaged"):
        local().unwrap(bytes(wrapped), b"")


def test_truncated_bytes_are_refused() -> None:
    with pytest.raises(BadInput, match="truncated"):
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


def test_unusable_passphrase_files_are_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    with pytest.raises(BadInput, match="missing"):
        LocalKms.from_file(path)
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(BadInput, match="too short"):
        LocalKms.from_file(path)
    path.write_text("long enough\n")
    path.chmod(0o644)
    with pytest.raises(BadInput, match="readable by others"):
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
