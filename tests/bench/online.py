"""The packed online store beside SQLite itself: 100,000 people of 43 features, through Feast and through the gateway.

Writing is `FeatureStore.materialize` over a raw bulk write of the very same packed rows: one executemany of ready
tuples in one transaction, unsorted, then sorted by key. Reading is over a bare lookup of the same bytes by the same
keys. The yardsticks' tables have the store's own shape and pragmas.

Example: python -m tests.bench.online
"""

from __future__ import annotations

import datetime as dt
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.gateway_types import OnlineColumns, ServiceInfo
from features.online import rows_at
from features.online_rows import OnlineRows
from features.online_store import layout_of, microseconds
from features.packed_views import key_bytes
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.feast_stores import COLUMNS, JOIN_KEY, MOMENT, VIEW, opened, quietly, tokens_of, write_features

PEOPLE, MANY = 100_000, 1_000_000
UNSORTED, SORTED, FILE, MEGABYTES = 1.3, 2.2, 1.1, 300.0
GATEWAY_ONE, GATEWAY_HUNDRED, DICT_ONE, DICT_HUNDRED = 4.0, 2.0, 9.0, 2.5
MANY_MEGABYTES = 1000.0
"""Our own bar: DuckDB sorts a million rows in memory, everything else holds a batch of them."""
DAY = dt.timedelta(days=1)
ROUNDS = 7
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "mmap_size = 268435456")
_TABLE = (
    "CREATE TABLE r (entity_key BLOB, view TEXT, moment INTEGER NOT NULL, value BLOB NOT NULL,"
    " written INTEGER NOT NULL, PRIMARY KEY (entity_key, view)) WITHOUT ROWID"
)
Row = tuple[bytes, str, int, bytes, int]


def bars() -> list[Bar]:
    """Every figure; memory is measured in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_written(Path(folder)), *_read(Path(folder)), *_memory(Path(folder))]


def _written(folder: Path) -> list[Bar]:
    table = write_features(folder / "rows.parquet", PEOPLE)
    store, _ = opened(folder / "feast", folder / "rows.parquet", packed=True)
    with quietly():
        store.materialize(MOMENT - DAY, MOMENT + DAY)  # the first call of a process also sets Feast up
    rows = _rows_of(table, layout_of(store.get_feature_view(VIEW)))
    random.Random(1).shuffle(rows)
    file = folder / "feast" / "online.db"
    ours, unsorted, sorted_ = [], [], []
    for _ in range(ROUNDS):  # side by side, so that what the machine does besides falls on all three
        file.unlink()
        ours.append(cpu_seconds(lambda: _materialize(store), rounds=1))
        unsorted.append(_raw(folder / "unsorted.db", rows))
        sorted_.append(_raw(folder / "sorted.db", sorted(rows)))
    least, size = min(ours), (folder / "sorted.db").stat().st_size
    return [
        Bar("materialize / raw bulk write, unsorted", least / min(unsorted), UNSORTED, True),
        Bar("materialize / raw bulk write, sorted", least / min(sorted_), SORTED, True),
        Bar("online file / raw file", file.stat().st_size / size, FILE, True),
    ]


def _materialize(store: object) -> None:
    with quietly():
        store.materialize(MOMENT - DAY, MOMENT + DAY)  # type: ignore[attr-defined]


def _rows_of(table: pa.Table, layout: object) -> list[Row]:
    packed = layout.pack(table)  # type: ignore[attr-defined]
    keys, moment = key_bytes(JOIN_KEY, table[JOIN_KEY].combine_chunks()), microseconds(MOMENT)
    return [(key, VIEW, moment, row, 1) for key, row in zip(keys, packed, strict=True)]


def _raw(file: Path, rows: Sequence[Row]) -> float:
    """CPU seconds of writing ready rows to a new file."""
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    connection = _connected(file)
    connection.execute(_TABLE)

    def write() -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    seconds = cpu_seconds(write, rounds=1)
    connection.close()
    return seconds


def _connected(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, cached_statements=256)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _read(folder: Path) -> list[Bar]:
    store, service = opened(folder / "feast", folder / "rows.parquet", packed=True)
    tokens, bare = tokens_of(PEOPLE), _connected(folder / "sorted.db")
    keys = key_bytes(JOIN_KEY, pa.array(tokens))
    rows = OnlineRows(rows_at(f"sqlite:///{folder}/feast/online.db", store.project))
    info = ServiceInfo("everything", (), COLUMNS, "shop")
    views = [(VIEW, COLUMNS)]
    asked = random.Random(2)

    def answered(count: int) -> None:
        answer, start = OnlineColumns(info, count), asked.randrange(PEOPLE - count)
        rows.read(views, tokens[start : start + count], MOMENT - 35 * DAY, answer, np.arange(count))

    def as_dict(count: int) -> None:
        start = asked.randrange(PEOPLE - count)
        entities = [{JOIN_KEY: token} for token in tokens[start : start + count]]
        store.get_online_features(service, entities).to_dict()

    def looked_up(count: int) -> None:
        start = asked.randrange(PEOPLE - count)
        marks = ",".join("?" * count)
        bare.execute(f"SELECT value FROM r WHERE entity_key IN ({marks})", keys[start : start + count]).fetchall()

    figures = []
    for count, most_gateway, most_dict in ((1, GATEWAY_ONE, DICT_ONE), (100, GATEWAY_HUNDRED, DICT_HUNDRED)):
        acts = (lambda n=count: answered(n), lambda n=count: as_dict(n), lambda n=count: looked_up(n))
        gateway, feast, lookup = _side_by_side(acts, 4000 // count)
        people = "1 person" if count == 1 else f"{count} people"
        figures.append(Bar(f"online read of {people}, gateway / lookup", gateway / lookup, most_gateway, True))
        figures.append(Bar(f"online read of {people}, to_dict / lookup", feast / lookup, most_dict, True))
    return figures


def _side_by_side(acts: Sequence[Callable[[], None]], times: int) -> list[float]:
    """The least CPU seconds of each act, taken in turns."""
    found: list[list[float]] = [[] for _ in acts]
    for _ in range(ROUNDS):
        for act, seconds in zip(acts, found, strict=True):
            seconds.append(cpu_seconds(lambda act=act: [act() for _ in range(times)], rounds=1))  # type: ignore[misc]
    return [min(seconds) for seconds in found]


def _memory(folder: Path) -> list[Bar]:
    added = _added(folder / "few", PEOPLE)
    many = _added(folder / "many", MANY)
    return [
        Bar("materialize of 100,000 people, MB added", added, MEGABYTES, True),
        Bar("materialize of 1,000,000 people, MB added", many, MANY_MEGABYTES, True),
    ]


def _added(folder: Path, people: int) -> float | None:
    """Megabytes that materialising adds to the peak of a process which has Feast and one row behind it."""
    command = [sys.executable, "-m", "tests.bench.online", "--added", str(folder), str(people)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return float(json.loads(answer.stdout)) if answer.returncode == 0 else None


def _measure_added(folder: Path, people: int) -> None:
    folder.mkdir(parents=True)
    write = "from pathlib import Path; from tests.feast_stores import write_features as w; import sys"
    subprocess.run(  # whose memory isn't this process's peak
        [
            sys.executable,
            "-c",
            f"{write}; w(Path(sys.argv[1]), int(sys.argv[2]))",
            f"{folder}/rows.parquet",
            str(people),
        ],
        check=True,
    )
    write_features(folder / "one.parquet", 1)
    warm, _ = opened(folder / "warm", folder / "one.parquet", packed=True)
    _materialize(warm)
    store, _ = opened(folder / "feast", folder / "rows.parquet", packed=True)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, which the imports made
    before = _memory_of("VmRSS")
    _materialize(store)
    after = _memory_of("VmHWM")
    written = rows_at(f"sqlite:///{folder}/feast/online.db", store.project).people(VIEW)
    if written != people:
        raise SystemExit(f"{written} of {people} people are online")
    print(json.dumps(after - before))


def _memory_of(what: str) -> float:
    """Megabytes that the kernel counts for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(what + ":"))


if __name__ == "__main__":
    if "--added" in sys.argv:
        _measure_added(Path(sys.argv[-2]), int(sys.argv[-1]))
    else:
        sys.exit(tell(bars()))
