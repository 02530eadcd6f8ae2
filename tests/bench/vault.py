"""A first ingest of a million people beside a bare `executemany`: the CPU ratio of one thread in one run.

Ours: one sealed record of six fields, one wrapped data key and one identity each, in batches as an ingest hands
them over. Bare: the index and six plain columns into one table with the same 16-byte key, in the order of arrival and
in one transaction, as durable (WAL, full syncs) and as thoroughly deleted later; everything else is SQLite's default.

Example: python -m tests.bench.vault
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from privacy.vault import Vault
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import alone, keyring_in

PEOPLE, BATCH = 1_000_000, 131_072
COLUMNS = ("name", "email", "phone", "street", "city", "born")


def bars() -> list[Bar]:
    """One figure; each side runs once, in a folder of its own."""
    with alone() as folder:
        people = synthetic(PEOPLE)
        bare = _bare(folder / "bare.db", people)
        return [Bar("first ingest of 1 M people / executemany", _ours(folder, people) / bare, 2.5, True)]


def _ours(folder: Path, people: pa.RecordBatch) -> float:
    keyring = keyring_in(folder)
    vault = Vault.open(f"sqlite:///{folder / 'vault.db'}", keyring)

    def ingest() -> None:
        for start in range(0, PEOPLE, BATCH):
            batch = people.slice(start, BATCH)
            vault.register(batch.column("email"), batch)
        vault.close()

    seconds = cpu_seconds(ingest, rounds=1)
    again = Vault.open(f"sqlite:///{folder / 'vault.db'}", keyring)
    assert len(again) == again.keys_held() == PEOPLE
    again.close()
    return seconds


def _bare(path: Path, people: pa.RecordBatch) -> float:
    keys = os.urandom(16 * PEOPLE)
    columns = [column.to_pylist() for column in people.columns]
    rows = list(zip((keys[at : at + 16] for at in range(0, len(keys), 16)), *columns, strict=True))
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    declared = ", ".join(f"{name} TEXT NOT NULL" for name in COLUMNS)
    connection.execute(f"CREATE TABLE people (idx BLOB PRIMARY KEY, {declared}) WITHOUT ROWID")

    def insert() -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    seconds = cpu_seconds(insert, rounds=1)
    connection.close()
    return seconds


def synthetic(people: int) -> pa.RecordBatch:
    """Six direct identifiers a person, about 100 bytes together."""
    digits = pc.utf8_lpad(pa.array(range(people)).cast(pa.string()), 8, "0")

    def spelt(before: str, after: str) -> pa.Array:
        return pc.binary_join_element_wise(before, digits, after, "")

    columns = [
        spelt("Customer ", ""),
        spelt("customer.", "@mail.example.org"),
        spelt("+86 138", ""),
        spelt("", " Long Street"),
        pa.array(["Hangzhou"] * people),
        pa.array(["1980-01-02"] * people),
    ]
    return pa.RecordBatch.from_arrays(columns, list(COLUMNS))


if __name__ == "__main__":
    sys.exit(tell(bars()))
