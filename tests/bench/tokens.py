"""Ids to tokens in bulk, beside a list loop of `hmac.digest`: CPU ratios of one thread in one run, and memory.

The loop runs over half a million of the ids, before and after, and is scaled by the row; everything else takes all
ten million, but for the Python list (two million). The vaults are filled with identities in the index only: who is
found there is never asked of the database.

Example: python -m tests.bench.tokens
"""

from __future__ import annotations

import hmac
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.keyring import Keyring
from privacy.tokens import Pseudonymiser, _permute, handles_to_tokens, rekey, translate
from privacy.vault import Vault
from privacy.vault_changes import note_change
from privacy.vault_database import transaction
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import alone, keyring_in

ROWS, LOOP_ROWS, LIST_ROWS = 10_000_000, 500_000, 2_000_000
SMALL, LARGE = 1_000_000, 10_000_000


def bars() -> list[Bar]:
    """Index, permutation, whole way with two vaults, translate and rekey."""
    with alone() as folder:
        return _bars(folder)


def _bars(folder: Path) -> list[Bar]:
    keyring = keyring_in(folder)
    ids = emails(np.random.default_rng(1).permutation(ROWS))
    loop = Loop(ids.slice(0, LOOP_ROWS).to_pylist())
    index = seconds_per_row(lambda: keyring.index.of_ids(ids), ROWS)
    found = [Bar("CMAC index of 10 M e-mails / loop", index / loop.again(), 1 / 10, True)]
    found += _permuted(keyring)
    for people in (SMALL, LARGE):
        found += _whole_way(keyring, folder, people, loop)
    found += _moved(keyring, loop)
    return found


def _permuted(keyring: Keyring) -> list[Bar]:
    handles = np.frombuffer(os.urandom(16 * ROWS), np.uint8).reshape(-1, 16)
    keys = keyring.token_keys("retention")
    raw = Cipher(algorithms.AES256(os.urandom(32)), modes.ECB()).encryptor()
    room = bytearray(16 * ROWS + 15)
    ours, bare = [], []
    for _ in range(3):
        ours.append(seconds_per_row(lambda: _permute(keys.by_id[keys.primary], handles), ROWS))
        bare.append(seconds_per_row(lambda: raw.update_into(handles.data.cast("B"), room), ROWS))
    return [Bar("16-byte tokens, 10 M / raw AES-256-ECB", min(ours) / min(bare), 2.5, True)]


def _whole_way(keyring: Keyring, folder: Path, people: int, loop: Loop) -> list[Bar]:
    name = f"{people // 1_000_000} M people"
    vault = filled(folder / str(people), keyring, people)
    door = Pseudonymiser(keyring, vault)
    ids = emails(np.random.default_rng(2).permutation(ROWS) % people)
    memory = Memory()
    arrow = seconds_per_row(lambda: door.pseudonymise(ids, "retention"), ROWS)
    peak = memory.grown() / ids.nbytes
    texts = ids.slice(0, LIST_ROWS).to_pylist()
    listed = seconds_per_row(lambda: door.pseudonymise(pa.array(texts, pa.string()), "retention"), LIST_ROWS)
    vault.close()
    per_loop = loop.again()
    return [
        Bar(f"10 M e-mails to tokens, {name} / loop", arrow / per_loop, 1 / 5, True),
        Bar(f"2 M from a list, {name} / loop", listed / per_loop, 1 / 3, True),
        Bar(f"10 M e-mails, {name}, memory / input", peak, 4.0, True),
    ]


def _moved(keyring: Keyring, loop: Loop) -> list[Bar]:
    handles = np.frombuffer(os.urandom(16 * ROWS), np.uint8).reshape(-1, 16)
    written = seconds_per_row(lambda: handles_to_tokens(keyring, handles, "retention"), ROWS)
    tokens = handles_to_tokens(keyring, handles, "retention")
    memory = Memory()
    moved = seconds_per_row(lambda: translate(keyring, tokens, "retention", "features"), ROWS)
    peak = memory.grown() / tokens.nbytes
    renewed = seconds_per_row(lambda: rekey(keyring, tokens, "retention"), ROWS)
    per_loop = loop.again()
    return [
        Bar("token text of 10 M handles / loop", written / per_loop, 1 / 10, True),
        Bar("translate 10 M tokens / loop", moved / per_loop, 1 / 10, True),
        Bar("translate 10 M tokens, memory / input", peak, 4.0, True),
        Bar("rekey 10 M tokens / loop", renewed / per_loop, 1 / 10, True),
    ]


class Loop:
    """The yardstick: one `hmac.digest` after another; measured again beside each figure."""

    def __init__(self, texts: list[str]) -> None:
        self._texts, self._key = texts, os.urandom(32)
        self._last = self._run()

    def again(self) -> float:
        """Seconds a row: the mean of this run and the last, between which the figure was measured."""
        before, self._last = self._last, self._run()
        return (before + self._last) / 2

    def _run(self) -> float:
        key = self._key
        return seconds_per_row(
            lambda: [hmac.digest(key, text.encode(), "sha256").hex() for text in self._texts], len(self._texts)
        )


class Memory:
    """How much the process has grown at its highest, mapped files included."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # begins the high-water mark anew
        self._before = self._kilobytes("VmRSS")

    def grown(self) -> float:
        """In bytes."""
        return 1024.0 * (self._kilobytes("VmHWM") - self._before)

    def _kilobytes(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def emails(numbers: np.ndarray) -> pa.Array:
    """One address a number, 37 bytes in the mean."""
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 8, "0")
    return pc.binary_join_element_wise("customer.", digits, "@mail.example.org", "")


def filled(folder: Path, keyring: Keyring, people: int) -> Vault:
    """A vault that knows that many people by index."""
    vault = Vault.open(f"sqlite:///{folder / 'vault.db'}", keyring)
    keys = keyring.index.of_ids(emails(np.arange(people)))
    handles = np.frombuffer(os.urandom(16 * people), np.uint8).reshape(-1, 16)
    with transaction(vault._engine, "vault") as connection:
        state = note_change(connection, people)
    vault._index.add(keys, handles, state)
    vault.close()
    return Vault.open(f"sqlite:///{folder / 'vault.db'}", keyring)


def seconds_per_row(work: Callable[[], object], rows: int) -> float:
    """CPU of this process, user and system, once."""
    return cpu_seconds(work, rounds=1) / rows


if __name__ == "__main__":
    sys.exit(tell(bars()))
