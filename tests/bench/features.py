"""The feature table beside hand-written SQL, and at 100 million lines.

The yardstick computes the same 50 numbers in the same windows by DuckDB SQL as one would write it for this shop alone
(doubles, no bands, no digest), and writes them to one parquet file; its values must be ours. Scale is a synthetic shop
of 1,000,000 people and 100,000,000 order lines at one cut-off, beside Complete Journey at one cut-off.

Example: python -m tests.bench.features
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import sources
from features.build import FEATURES, build
from features.datasets.descriptor import load_descriptor
from features.storage import TableStore
from features.transforms.registry import feature_set
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.scale_shop import write_lines
from tests.bench.window_sql import EVENTS, NUMBERS

RATIO, THROUGHPUT, GIGABYTES = 3.0, 0.7, 8.0
PEOPLE, LINES = 1_000_000, 100_000_000
END = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
WEEKS = 45
NAMES = tuple(feature.name for feature in feature_set())


def bars() -> list[Bar]:
    """Every figure; the large shop is built in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        protected = complete_journey(root / "protected")
        moments = [END - dt.timedelta(weeks=back) for back in range(WEEKS - 1, -1, -1)]
        sql = cpu_seconds(lambda: by_sql(protected, moments, root / "sql.parquet"), rounds=2)
        ours = cpu_seconds(lambda: by_build(protected, root / "features", moments), rounds=2)
        wrong = differing(TableStore(root / "features"), root / "sql.parquet")
        one = cpu_seconds(lambda: by_build(protected, root / "one", moments[-1:]), rounds=3)
        lines = protected.manifest()["tables"]["transactions"]["rows"]
        large = scaled(root / "large")
    ratio = ours / sql if not wrong else None
    for name in wrong:
        print(f"the yardstick's {name} is another than ours", file=sys.stderr)
    throughput = None if large is None else (LINES / large[0]) / (lines / one)
    return [
        Bar("45 weekly cut-offs x 50 features / SQL", ratio, RATIO, True),
        Bar("100 M lines, lines a second / Complete Journey's", throughput, THROUGHPUT, False),
        Bar("100 M lines, peak GB", None if large is None else large[1], GIGABYTES, True),
    ]


def complete_journey(root: Path) -> TableStore:
    """Its order lines as protected tables, under tokens that are the households' numbers."""
    descriptor = load_descriptor("complete_journey")
    names = {"customer_id": "customer_token", "order_id": "order_token"}
    wanted = [*names, "ordered_at", "amount", "discount", "coupon", "category"]
    read = sources.batches(descriptor, descriptor.tables["transactions"])
    lines = pa.Table.from_batches([batch.select(wanted) for batch in read])
    tokens = pa.array([f"fs_aa{int(text):032x}00" for text in lines["customer_id"].to_pylist()])
    orders = pa.array([f"{int(text):032x}" for text in lines["order_id"].to_pylist()])
    lines = lines.set_column(0, "customer_token", tokens).set_column(1, "order_token", orders)
    lines = lines.rename_columns([names.get(name, name) for name in wanted])
    store = TableStore(root)
    with store.writer() as writer:
        writer.add("transactions", lines.to_batches())
        writer.add("people", _people(np.unique(tokens.to_numpy(zero_copy_only=False)).tolist()).to_batches())
        writer.commit({"dataset": descriptor.name})
    return store


def _people(tokens: list[str]) -> pa.Table:
    return pa.table({"customer_token": tokens, "audit_reference": [f"ref_{token[3:]}" for token in tokens]})


def by_build(protected: TableStore, root: Path, moments: list[dt.datetime]) -> None:
    """What `custos build` does with the protected tables."""
    everything = load_descriptor("complete_journey").model_copy(update={"withhold": ()})
    build(everything, protected, TableStore(root), moments, moments[-1])


def by_sql(protected: TableStore, moments: list[dt.datetime], out: Path) -> None:
    """The yardstick."""
    out.unlink(missing_ok=True)
    files = ", ".join(f"'{file}'" for file in protected.files("transactions"))
    with duckdb.connect(config={"memory_limit": "4GB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE VIEW lines AS SELECT * FROM read_parquet([{files}])")
        connection.register("cutoffs", pa.table({"t": pa.array(moments, pa.timestamp("us", "UTC"))}))
        connection.execute(EVENTS)
        connection.execute(f"COPY ({NUMBERS}) TO '{out}' (COMPRESSION zstd)")


def differing(store: TableStore, by_sql: Path) -> list[str]:
    """The features that the two tell differently, beyond what adding doubles in another order explains."""
    keys = [("customer_token", "ascending"), ("event_timestamp", "ascending")]
    ours, theirs = store.read(FEATURES).sort_by(keys), pq.read_table(by_sql).sort_by(keys)
    if ours.num_rows != theirs.num_rows or ours["customer_token"] != theirs["customer_token"]:
        return ["rows"]
    wrong = []
    for name in NAMES:
        mine, other = (table[name].cast(pa.float64()).to_numpy() for table in (ours, theirs))
        if not np.allclose(mine, other, rtol=1e-6, atol=1e-4, equal_nan=True):
            wrong.append(name)
    return wrong


def scaled(root: Path) -> tuple[float, float] | None:
    """CPU seconds and peak GB of building the large shop at one cut-off."""
    write_lines(root / "protected", people=PEOPLE, lines=LINES, end=END)
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.features", "--scaled", str(root)], stdout=subprocess.PIPE, text=True
    )
    if answer.returncode != 0:
        return None
    seconds, gigabytes = json.loads(answer.stdout)
    return seconds, gigabytes


def _build_scaled(root: Path) -> None:
    import resource

    protected, start = TableStore(root / "protected"), time.process_time()
    by_build(protected, root / "features", [END])
    seconds = time.process_time() - start
    if TableStore(root / "features").manifest()["tables"][FEATURES]["rows"] != PEOPLE:
        raise SystemExit("somebody's features are missing")
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9]))


if __name__ == "__main__":
    if "--scaled" in sys.argv:
        _build_scaled(Path(sys.argv[-1]))
    else:
        sys.exit(tell(bars()))
