"""A synthetic shop of any size as protected tables, written bucket by bucket by DuckDB; nobody's data."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from features.manifest import MANIFEST

__all__ = ["write_lines"]

BUCKETS = 64
LINES_AN_ORDER = 10
_LINES = """
SELECT printf('fs_aa%02x%030x00', {bucket} + {buckets} * (person % 4), person) AS customer_token,
  printf('%08x%024x', hash(person * 1000 + visit) % 4294967296, person * 1000 + visit) AS order_token,
  TIMESTAMPTZ '{end}' - to_seconds(1 + hash(person, visit) % (420 * 86400)) AS ordered_at,
  round(0.5 + (hash(person, visit, line) % 2000) / 100, 2) AS amount,
  round((hash(line, person, visit) % 50) / 100, 2) AS discount, 0.0 AS coupon,
  'category ' || (hash(visit, line, person) % 40) AS category
FROM range({first}, {last}) AS people(person), range({visits}) AS visits(visit), range({per_order}) AS lines(line)
"""


def write_lines(root: Path, *, people: int, lines: int, end: dt.datetime) -> None:
    """Write `lines` order lines of `people` people, ten an order, in the 60 weeks before `end`."""
    snapshot = root / "snapshots" / "00000001"
    visits = lines // people // LINES_AN_ORDER
    with duckdb.connect(config={"memory_limit": "4GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in ("transactions", "people"):
            (snapshot / table).mkdir(parents=True)
        for bucket in range(BUCKETS):
            first, last = (people * at // BUCKETS for at in (bucket, bucket + 1))
            made = _LINES.format(
                bucket=bucket, buckets=BUCKETS, end=end.isoformat(), first=first, last=last, visits=visits,
                per_order=LINES_AN_ORDER,
            )  # fmt: skip
            file = f"{snapshot}/transactions/{bucket:03d}-0000000000000000.parquet"
            connection.execute(f"COPY ({made}) TO '{file}' (COMPRESSION zstd)")
        connection.execute(
            f"COPY (SELECT DISTINCT customer_token, 'ref_' || customer_token AS audit_reference"
            f" FROM read_parquet('{snapshot}/transactions/*.parquet'))"
            f" TO '{snapshot}/people/000-0000000000000000.parquet'"
        )
    tables = {table: _entry(snapshot / table, keyed=True) for table in ("transactions", "people")}
    (snapshot / MANIFEST).write_text(json.dumps({"dataset": "synthetic", "tables": tables}))
    (root / "current").symlink_to(Path("snapshots") / snapshot.name)


def _entry(folder: Path, *, keyed: bool) -> dict[str, object]:
    files = sorted(path.name for path in folder.iterdir())
    rows = sum(pq.read_metadata(folder / name).num_rows for name in files)
    buckets = BUCKETS if len(files) > 1 else 1
    return {"rows": rows, "total": 0, "digest": "", "files": files, "buckets": buckets, "keyed": keyed, "k": None}
