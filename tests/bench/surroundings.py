"""What benches begin with: a folder, one thread, a keyring that opens at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from privacy.keyring import Keyring
from privacy.kms import Argon2Parameters, LocalKms

__all__ = ["alone", "keyring_in"]


@contextmanager
def alone() -> Iterator[Path]:
    """A folder, and one thread of Arrow's for as long: ratios of one thread mean the same on every machine."""
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    finally:
        pa.set_cpu_count(threads)


def keyring_in(folder: Path) -> Keyring:
    """A keyring whose passphrase costs nothing to derive a key from."""
    kms = LocalKms(passphrase="only for the bench", parameters=Argon2Parameters(passes=1, memory_kib=8, lanes=1))
    return Keyring.create(folder / "keyring.json", kms)
