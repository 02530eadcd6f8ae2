"""What the scorecard costs an ingest: CPU of Complete Journey with it and without, and the memory of its counters.

Both ingests run in turns in one process, each into a home of its own; the least of three counts.

Example: python -m tests.bench.quality
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

import features.ingest as door
from features.contracts import Contract
from features.datasets.descriptor import Descriptor, load_descriptor
from features.inference_flags import InferenceFlags
from features.quality.history import QualityHistory
from features.quality.meter import Meter
from features.quality.told import Card
from features.quarantine import Quarantine
from features.storage import TableStore
from privacy.keyring import Keyring
from privacy.kms import Argon2Parameters, LocalKms
from privacy.treatment import Protector
from privacy.vault import Vault
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.tokens import Memory

RATIO, MEGABYTES, ROUNDS = 1.10, 16.0, 3
BATCH, BATCHES = 131_072, 76
NOW = dt.datetime(2018, 1, 2, tzinfo=dt.UTC)


def bars() -> list[Bar]:
    """CPU of both ingests as a ratio; what ten million lines leave in memory."""
    descriptor = load_descriptor("complete_journey")
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        homes = (Path(folder) / str(number) for number in count())
        for _ in range(ROUNDS):
            ours.append(cpu_seconds(lambda: ingested(descriptor, next(homes)), rounds=1))
            with unscored():
                bare.append(cpu_seconds(lambda: ingested(descriptor, next(homes)), rounds=1))
    return [
        Bar("ingest with its scorecard / without, CPU", min(ours) / min(bare), RATIO, True),
        Bar("counters of 10 M lines, MB of memory", grown(descriptor), MEGABYTES, True),
    ]


def ingested(descriptor: Descriptor, home: Path) -> None:
    """Bring the shop into a new home."""
    kms = LocalKms(passphrase="only for the bench", parameters=Argon2Parameters(passes=1, memory_kib=8, lanes=1))
    keyring = Keyring.create(home / "keyring.json", kms)
    vault = Vault.open(f"sqlite:///{home / 'vault.db'}", keyring)
    door.ingest(
        descriptor,
        protector=Protector(vault, keyring),
        store=TableStore(home / "protected"),
        quarantine=Quarantine(home / "quarantine", keyring),
        flags=InferenceFlags(home / "flags", keyring),
        history=QualityHistory(home / "quality.jsonl"),
    )
    vault.close()


class Silent(Meter):
    """A meter that looks at nothing."""

    def meet(self, batch: pa.RecordBatch, failures: pa.Table) -> None:
        """Count nothing."""

    def keep(self, good: pa.RecordBatch) -> None:
        """Count nothing."""


@contextmanager
def unscored() -> Iterator[None]:
    """The same ingest without its scorecard: the yardstick."""

    def nothing(descriptor: Descriptor, *_: object) -> Card:
        tables: Mapping[str, object] = {}
        made = {"moment": NOW.isoformat(), "dataset": descriptor.name, "digest": "", "outcome": "kept", "k": 5}
        return Card.model_validate({**made, "tables": tables})

    kept = door.Meter, door.judged
    door.Meter, door.judged = Silent, nothing  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        door.Meter, door.judged = kept  # type: ignore[misc]


def grown(descriptor: Descriptor) -> float:
    """How much the process grows by while a meter sees the lines, which are made one batch at a time."""
    table = descriptor.tables["transactions"]
    contract, meter = Contract(table, NOW), Meter(table, NOW, 1)
    batch = lines(np.random.default_rng(0))
    failures = contract.failures(batch)
    meter.meet(batch, failures)
    meter.keep(batch)
    memory = Memory()
    for _ in range(BATCHES):
        meter.meet(batch, failures)
        meter.keep(batch)
    assert meter.scores().rows == (BATCHES + 1) * BATCH
    return memory.grown() / 1e6


def lines(draw: np.random.Generator) -> pa.RecordBatch:
    """A batch as the source of Complete Journey gives it."""
    whole = {name: draw.integers(1, 90_000, BATCH) for name in ("customer_id", "order_id", "product_id", "store_id")}
    parts = {name: draw.lognormal(1, 1, BATCH) for name in ("amount", "quantity", "discount", "coupon")}
    days = pa.array(draw.integers(17_167, 17_530, BATCH).astype(np.int32), pa.date32()).cast(pa.timestamp("us", "UTC"))
    category = pa.array(["GROCERY", "PRODUCE", None, ""]).take(pa.array(draw.integers(0, 4, BATCH)))
    return pa.RecordBatch.from_pydict({**whole, **parts, "ordered_at": days, "category": category})


if __name__ == "__main__":
    sys.exit(tell(bars()))
