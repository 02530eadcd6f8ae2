"""The as-of read of consents beside DuckDB's ASOF joins over the same entries, which know tokens and no key.

Both answer a million questions: did this token's last entry up to a moment grant, and its last one up to now.

Example: python -m tests.bench.consent
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from privacy.consent import ConsentLedger
from privacy.tokens import handles_to_tokens
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import keyring_in

PEOPLE, ENTRIES, QUESTIONS, BAR = 100_000, 300_000, 1_000_000, 1.0
START, NOW = 1_600_000_000_000_000, 1_700_000_000_000_000
MOMENT = pa.timestamp("us", "UTC")
ASKED = """
    SELECT coalesce(a.granted, false) AND coalesce(b.granted, false) AS granted
    FROM (SELECT *, TIMESTAMPTZ 'epoch' + to_microseconds({now}) AS now FROM asked) AS q
    ASOF LEFT JOIN entries AS a ON q.token = a.customer_token AND q.moment >= a.at
    ASOF LEFT JOIN entries AS b ON q.token = b.customer_token AND q.now >= b.at
    ORDER BY q.row
"""


def bars() -> list[Bar]:
    """CPU of the ledger, keys and all, over that of the joins; None where their answers differ."""
    draw = np.random.default_rng(8)
    with tempfile.TemporaryDirectory() as folder:
        keyring = keyring_in(Path(folder))
        handles = draw.integers(0, 256, (PEOPLE, 16)).astype(np.uint8)
        tokens = handles_to_tokens(keyring, handles, "features")
        entries = pa.table(
            {
                "customer_token": tokens.take(pa.array(draw.integers(0, PEOPLE, ENTRIES))),
                "purpose": pa.array(["marketing"] * ENTRIES),
                "granted": pa.array(draw.random(ENTRIES) < 0.7),
                # No two at one instant: what DuckDB would then take is chance.
                "at": pa.array(START + draw.permutation(ENTRIES) * ((NOW - START) // ENTRIES), MOMENT),
            }
        )
        ledger = ConsentLedger(
            Path(folder) / "consents.ledger", keyring, lambda: datetime.fromtimestamp(NOW / 1e6, UTC)
        )
        ledger.append(entries)
        asked = tokens.take(pa.array(draw.integers(0, PEOPLE, QUESTIONS)))
        moments = pa.array(draw.integers(START, NOW, QUESTIONS), MOMENT)
        own = cpu_seconds(lambda: ledger.consented(asked, "marketing", moments), 3)
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("entries", entries)
            connection.register("asked", pa.table({"row": np.arange(QUESTIONS), "token": asked, "moment": moments}))
            query = ASKED.format(now=NOW)
            joined = cpu_seconds(lambda: connection.sql(query).to_arrow_table(), 3)
            same = connection.sql(query).to_arrow_table()["granted"].to_numpy()
        equal = bool((same == ledger.consented(asked, "marketing", moments)).all()) and 0 < same.sum() < QUESTIONS
    name = "consents as of 1 M moments, x DuckDB ASOF joins"
    return [Bar(name, own / joined if equal else None, BAR, True)]


if __name__ == "__main__":
    sys.exit(tell(bars()))
