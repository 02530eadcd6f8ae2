"""What the scorecard costs an ingest: CPU of Complete Journey over that of its rest, and the memory of its counters.

Both are of one run, so that others on the machine slow them alike; the median of three runs counts.

Example: python -m tests.bench.quality
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

import features.ingest as door
from features.contracts import Contract
from features.datasets.descriptor import Descriptor, load_descriptor
from features.inference_flags import InferenceFlags
from features.quality.history import QualityHistory
from features.quality.meter import Meter
from features.quarantine import Quarantine
from features.storage import TableStore
from privacy.consent import ConsentLedger
from privacy.treatment import Protector
from privacy.vault import Vault
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import keyring_in
from tests.bench.tokens import Memory

RATIO, MEGABYTES, ROUNDS = 1.10, 16.0, 3
BATCH, BATCHES = 131_072, 76
NOW = dt.datetime(2018, 1, 2, tzinfo=dt.UTC)


def bars() -> list[Bar]:
    """CPU of an ingest over that of its rest; what ten million lines leave in memory."""
    descriptor = load_descriptor("complete_journey")
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            with timed() as spent:
                whole = cpu_seconds(lambda: ingested(descriptor, Path(folder) / str(number)), rounds=1)  # noqa: B023
            ratios.append(whole / (whole - sum(spent)))
    return [
        Bar("ingest with its scorecard / its rest, CPU", median(ratios), RATIO, True),
        Bar("counters of 10 M lines, MB of memory", grown(descriptor), MEGABYTES, True),
    ]


def ingested(descriptor: Descriptor, home: Path) -> None:
    """Bring the shop into a new home."""
    keyring = keyring_in(home)
    vault = Vault.open(f"sqlite:///{home / 'vault.db'}", keyring)
    door.ingest(
        descriptor,
        protector=Protector(vault, keyring),
        into=door.Destinations(
            TableStore(home / "protected"),
            Quarantine(home / "quarantine", keyring),
            InferenceFlags(home / "flags", keyring),
            ConsentLedger(home / "consents.ledger", keyring),
            QualityHistory(home / "quality.jsonl"),
        ),
    )
    vault.close()


@contextmanager
def timed() -> Iterator[list[float]]:
    """The CPU seconds of all that an ingest does for its scorecard, one entry a call."""
    spent: list[float] = []

    def watched(clock: Callable[[], float], work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = clock()
            try:
                return work(*arguments)
            finally:
                spent.append(clock() - start)

        return run

    kept = Meter.meet, Meter.keep, door.judged
    # While batches stream, the source's own threads work on: only this one counts. Later there are no others.
    Meter.meet, Meter.keep = (watched(time.thread_time, work) for work in kept[:2])  # type: ignore[method-assign]
    door.judged = watched(time.process_time, kept[2])
    try:
        yield spent
    finally:
        Meter.meet, Meter.keep, door.judged = kept  # type: ignore[method-assign]


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
