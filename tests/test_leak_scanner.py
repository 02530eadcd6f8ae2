"""The scanner must find a planted leak in every kind of container, or its silence means nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import pickle
import sqlite3
import tarfile
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.leaks import Scanner

VALUE = "canary.wei+7@example.test"
NAME = "欧阳金丝雀"


def plain(path: Path) -> None:
    path.write_text(f"user {VALUE} asked")


def as_hex(path: Path) -> None:
    path.write_text(f"key={VALUE.encode().hex()}")


def as_base64(path: Path) -> None:
    path.write_bytes(base64.b64encode(b"x:" + VALUE.encode() + b":y"))


def as_url(path: Path) -> None:
    path.write_text("GET /?mail=" + urllib.parse.quote(VALUE))


def hashed(path: Path) -> None:
    path.write_text(hashlib.sha256(VALUE.encode()).hexdigest())


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(VALUE.encode() * 3))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", VALUE * 3)


def tarred(path: Path) -> None:
    data = gzip.compress(VALUE.encode())
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("inner.gz")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def sqlite_row(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (gzip.compress(VALUE.encode()),))


def sqlite_deleted(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (VALUE,))
        database.commit()
        database.execute("DELETE FROM t")


def parquet_page(path: Path) -> None:
    column = pa.array([VALUE, "aaa", "zzz"])
    pq.write_table(pa.table({"c": column}), path, compression="zstd", write_statistics=False, use_dictionary=False)


def parquet_statistics(path: Path) -> None:
    pq.write_table(pa.table({"c": pa.array([VALUE] * 3)}), path, compression="zstd")


def parquet_metadata(path: Path) -> None:
    table = pa.table({"c": [1]}).replace_schema_metadata({"who": VALUE})
    pq.write_table(table, path)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"who": VALUE}))


def named(path: Path) -> None:
    path.with_name(f"{VALUE}.txt").write_text("nothing inside")


LEAKS: tuple[Callable[[Path], None], ...] = (
    plain,
    as_hex,
    as_base64,
    as_url,
    hashed,
    gzipped,
    zipped,
    tarred,
    sqlite_row,
    sqlite_deleted,
    parquet_page,
    parquet_statistics,
    parquet_metadata,
    pickled,
    named,
)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_finds_a_planted_leak(leak: Callable[[Path], None], tmp_path: Path) -> None:
    leak(tmp_path / "file")
    assert Scanner([VALUE]).scan_tree(tmp_path)


def test_finds_a_chinese_name_in_escaped_json(tmp_path: Path) -> None:
    import json

    (tmp_path / "log.json").write_text(json.dumps({"name": NAME}))
    assert {hit.form for hit in Scanner([NAME]).scan_tree(tmp_path)} == {"json"}


def test_finds_an_integer_in_a_parquet_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 987_001_234, 5]}), tmp_path / "ids.parquet", write_statistics=False)
    assert Scanner(["987001234"]).scan_tree(tmp_path)


def test_silent_where_nothing_is_planted(tmp_path: Path) -> None:
    for leak in LEAKS:
        leak(tmp_path / leak.__name__)
    assert not Scanner(["another.person@example.test"]).scan_tree(tmp_path)


def test_skips_only_what_it_is_told_to(tmp_path: Path) -> None:
    for folder in ("vault", "vaulted"):
        (tmp_path / folder).mkdir()
        plain(tmp_path / folder / "file")
    hits = Scanner([VALUE]).scan_tree(tmp_path, skip=["vault/"])
    assert {hit.path for hit in hits} == {"vaulted/file"}
