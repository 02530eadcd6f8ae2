"""Features as of a moment beside a plain ASOF join: 5,000,000 feature rows, 100,000 questions, through the gateway.

The yardstick is one `ASOF LEFT JOIN` by DuckDB of the same questions with the same columns of the same files, its
answer in Arrow. The gateway besides asks the policy, leaves out the suppressed, checks that every question was answered
once and in order, and notes who was read in the audit log.

Example: python -m tests.bench.historical
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from features.build import FEATURES
from features.datasets.descriptor import load_descriptor
from features.gateway import FeatureGateway
from features.manifest import MANIFEST
from features.services import shop_features
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.features.conftest import Home, principal

RATIO = 1.3
PEOPLE, MOMENTS, ASKED = 100_000, 50, 100_000
END = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
SERVICE = "clv_v1"
UTC = pa.timestamp("us", "UTC")
CUTOFFS = [END - dt.timedelta(weeks=back) for back in range(MOMENTS - 1, -1, -1)]


def bars() -> list[Bar]:
    """The ratio, and how many of the questions weren't answered."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home.create(Path(folder) / "home")
        try:
            gateway = made(home)
            asked = questions()
            info = next(info for info in gateway.services() if info.name == SERVICE)
            files = home.paths.feature_store("complete_journey").files(FEATURES)
            answers: list[pa.Table] = []
            gateway.historical(principal(), SERVICE, asked.slice(0, 10))  # imports Feast
            ours = cpu_seconds(lambda: answers.append(gateway.historical(principal(), SERVICE, asked)), rounds=3)
            plain = cpu_seconds(lambda: answers.append(asof(files, asked, info.features)), rounds=3)
        finally:
            home.vault.close()
    lost = sum(table.num_rows != ASKED for table in answers)
    same = all(answers[0][name].combine_chunks() == answers[-1][name].combine_chunks() for name in info.features)
    return [
        Bar("historical 5 M x 100,000 / ASOF join", ours / plain if same else None, RATIO, True),
        Bar("historical, answers that lost a row", float(lost), 0.0, True),
    ]


def asof(files: list[Path], asked: pa.Table, features: tuple[str, ...]) -> pa.Table:
    """The yardstick."""
    listed, columns = ", ".join(f"'{file}'" for file in files), ", ".join(f"f.{name}" for name in features)
    with duckdb.connect(config={"memory_limit": "8GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        numbered = asked.append_column("row", pa.array(range(asked.num_rows)))
        connection.register("asked", numbered)
        return connection.execute(
            f"SELECT a.customer_token, a.event_timestamp, {columns}"
            f" FROM asked a ASOF LEFT JOIN read_parquet([{listed}]) f"
            f" ON a.customer_token = f.customer_token AND a.event_timestamp >= f.event_timestamp ORDER BY a.row"
        ).to_arrow_table()


def questions() -> pa.Table:
    """Random people at random cut-offs."""
    drawn = np.random.default_rng(5)
    people = drawn.integers(0, PEOPLE, ASKED)
    moments = pa.array([CUTOFFS[at] for at in drawn.integers(0, MOMENTS, ASKED)], UTC)
    return pa.table({"customer_token": [token_of(person) for person in people], "event_timestamp": moments})


def token_of(person: int) -> str:
    """Nobody's token."""
    return f"fs_aa{person * 2_654_435_761 % 2**32:08x}{person:026x}"


def made(home: Home) -> FeatureGateway:
    """A home whose feature table holds 5,000,000 random rows."""
    descriptor = load_descriptor("complete_journey")
    features = home.paths.feature_store(descriptor.name)
    snapshot = features.root / "snapshots" / "00000001"
    (snapshot / FEATURES).mkdir(parents=True)
    listed = shop_features(descriptor)
    columns = ", ".join(
        f"'{feature.bands[0]}' AS {feature.name}" if feature.bands else
        f"(hash(person, week, {at}) % 100000) / 100.0 AS {feature.name}"
        for at, feature in enumerate(listed)
    )  # fmt: skip
    token = "printf('fs_aa%08x%026x', person * 2654435761 % 4294967296, person)"
    names = [f"{bucket:03d}-0000000000000000.parquet" for bucket in range(8)]
    with duckdb.connect(config={"memory_limit": "4GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for bucket, name in enumerate(names):
            connection.execute(
                f"COPY (SELECT {token} AS customer_token, moment AS event_timestamp,"
                f" moment AS created_timestamp, {columns},"
                f" 'ref_' || person AS audit_reference FROM (SELECT person, week,"
                f" TIMESTAMPTZ '{CUTOFFS[0].isoformat()}' + to_days((7 * week)::INTEGER) AS moment"
                f" FROM range({PEOPLE}) AS people(person), range({MOMENTS}) AS weeks(week)"
                f" WHERE ('0x' || substr({token}, 6, 2))::INTEGER % 8 = {bucket}) ORDER BY ALL)"
                f" TO '{snapshot}/{FEATURES}/{name}' (COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            )
    entry = {
        "rows": PEOPLE * MOMENTS, "total": 0, "digest": "", "files": names, "buckets": 8, "keyed": True, "k": None
    }  # fmt: skip
    notes = {"dataset": descriptor.name, "as_of": END.isoformat(), "cutoffs": [each.isoformat() for each in CUTOFFS]}
    (snapshot / MANIFEST).write_text(json.dumps({**notes, "tables": {FEATURES: entry}}))
    (features.root / "current").symlink_to(Path("snapshots") / snapshot.name)
    gateway = home.gateway()
    gateway.apply(descriptor)
    return gateway


if __name__ == "__main__":
    sys.exit(tell(bars()))
