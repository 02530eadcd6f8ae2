"""What a file of tokens may be before anybody is identified by it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlproject.pipelines.identify import read_tokens
from privacy.errors import BadInput

TOKENS = ["ret_aa1", None, "ret_aa2"]
NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TOKENS),
        pa.array(TOKENS, pa.large_string()),
        pa.array(TOKENS).dictionary_encode(),
        pa.array(TOKENS, pa.string_view()),
    ],
    ids=lambda column: str(column.type)[:12],
)
def test_any_kind_of_text_is_read_as_written(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"rank": [1, 2, 3], "customer_token": column}), tmp_path / "in.parquet")
    table = read_tokens(tmp_path / "in.parquet")
    assert table.column_names == ["rank", "customer_token"]
    assert table.schema.field("customer_token").type == pa.string()
    assert table["customer_token"].to_pylist() == TOKENS


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"customer_token": pa.array([b"ret_aa1"]).dictionary_encode()}), "not text"),
        (pa.table({"customer_token": pa.array([b"ret_aa1"])}), "not text"),
        (pa.table({"customer_token": [1.5]}), "not text"),
        (pa.table({"customer_token": NOT_UTF8}), "not UTF-8"),
        (pa.table([["a"], ["b"]], names=["customer_token", "customer_token"]), "there twice"),
        (pa.table([["a"], [1], [2]], names=["customer_token", "x", "x"]), "there twice"),
        (pa.table({"token": ["a"]}), "no column customer_token"),
    ],
    ids=["dictionary of bytes", "bytes", "numbers", "not UTF-8", "two of it", "two of another", "none"],
)
def test_what_holds_no_tokens_is_refused(table: pa.Table, told: str, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(BadInput, match=rf"{told} .*in\.parquet"):
        read_tokens(tmp_path / "in.parquet")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(BadInput, match="not a parquet file"):
        read_tokens(tmp_path / "in.parquet")
    with pytest.raises(BadInput, match="no such file"):
        read_tokens(tmp_path / "none.parquet")
