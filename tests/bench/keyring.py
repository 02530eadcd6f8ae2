"""Opening the root keyring by its passphrase: CPU seconds, with the Argon2id parameters that a home is made with.

Example: python -m tests.bench.keyring
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from privacy.keyring import Keyring
from privacy.kms import LocalKms
from tests.bench.bars import Bar, cpu_seconds, tell

PASSPHRASE, SECONDS = "only for the bench", 0.5


def bars() -> list[Bar]:
    """All threads together, the least of several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keyring.json"
        Keyring.create(path, LocalKms(passphrase=PASSPHRASE))

        def opened() -> Keyring:
            return Keyring.open(path, LocalKms(passphrase=PASSPHRASE))  # anew: a Kms remembers its derived key

        return [Bar("opening the keyring, s", cpu_seconds(opened), SECONDS, True)]


if __name__ == "__main__":
    sys.exit(tell(bars()))
