"""Rows as bytes: what goes in comes out, whatever the types, nulls and sizes of batches."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.packing import Layout
from privacy.errors import CheckFailed

KINDS = {
    "float": (pa.float64(), st.floats()),
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "text": (pa.string(), st.text(max_size=12)),
}
COLUMNS = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6)


def same(left: object, right: object) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or (left == right and type(left) is type(right))


@given(st.data())
def test_rows_come_out_as_they_went_in(data: st.DataObject) -> None:
    kinds = data.draw(COLUMNS)
    number = data.draw(st.integers(0, 7))
    columns = [data.draw(st.lists(st.none() | KINDS[kind][1], min_size=number, max_size=number)) for kind in kinds]
    layout = Layout(tuple((f"c{at}", kind) for at, kind in enumerate(kinds)))  # type: ignore[misc]
    arrays = [pa.array(column, KINDS[kind][0], from_pandas=False) for column, kind in zip(columns, kinds, strict=True)]
    rows = layout.pack(pa.table(dict(zip(layout.names, arrays, strict=True))))
    assert len(rows) == number
    assert all(row[:8] == layout.id for row in rows)
    if number:
        for column, found in zip(columns, layout.lists(rows), strict=True):
            assert all(map(same, column, found))
        for at, kind in enumerate(kinds):
            if kind == "text":
                assert layout.texts(rows, at) == columns[at]
        numbers = [column for column, kind in zip(columns, kinds, strict=True) if kind != "text"]
        for at, column in enumerate(numbers):
            told = [math.nan if value is None else float(value) for value in column]
            assert all(map(same, layout.numbers(rows)[:, at].tolist(), told))


def test_a_layout_of_more_than_one_word_of_nulls() -> None:
    layout = Layout(tuple((f"c{at}", "int") for at in range(130)))
    table = pa.table({name: pa.array([None if at % 3 else at], pa.int64()) for at, name in enumerate(layout.names)})
    [row] = layout.pack(table)
    assert layout.lists([row]) == [[None if at % 3 else at] for at in range(130)]
    assert len(row) == 8 * (1 + 3 + 130)


def test_a_layout_is_read_from_its_text_and_told_apart_by_its_id() -> None:
    layout = Layout((("spend", "float"), ("tier", "text")))
    assert Layout.parse(layout.spec) == layout
    assert Layout((("spend", "int"), ("tier", "text"))).id != layout.id
    for text in ("", "[1]", '[["a","complex"]]'):
        with pytest.raises(CheckFailed, match="layout of the online rows is damaged"):
            Layout.parse(text)


def test_a_row_cut_short_is_refused() -> None:
    layout = Layout((("spend", "float"),))
    [row] = layout.pack(pa.table({"spend": [1.5]}))
    with pytest.raises(CheckFailed, match="a row of the online store is damaged"):
        layout.numbers([row[:-1]])
