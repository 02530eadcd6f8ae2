"""Small classes: the same are found in Arrow and in SQLite, and both agree with a plain count."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.small_classes import delete_small_classes, in_small_classes

people = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["1", "11", ""])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(people=people, k=st.integers(1, 6))
def test_both_find_whoever_has_too_few_alike(people: list[tuple[str | None, str]], k: int) -> None:
    sizes = Counter(people)
    expected = [sizes[texts] < k for texts in people]
    first, second = zip(*people, strict=True) if people else ((), ())
    rows = pa.table({"customer_token": [str(at) for at in range(len(people))], "x": pa.array(first, pa.string()),
                     "y": pa.array(second, pa.string())})  # fmt: skip
    assert in_small_classes(rows, k).to_pylist() == expected
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE told (entity_key BLOB, feature_name TEXT, value BLOB)")
        for at, texts in enumerate(people):
            for name, text in zip("xy", texts, strict=True):  # Feast's value of a null has no bytes; b"\\x01" is a text
                value = b"" if text is None else b"\x01" + text.encode()
                connection.execute("INSERT INTO told VALUES (?, ?, ?)", (b"%d" % at, name, value))
        connection.execute(f"PRAGMA user_version = {k}")
        delete_small_classes(connection, "told")
        left = {int(row[0]) for row in connection.execute("SELECT DISTINCT entity_key FROM told")}
    assert left == {at for at, small in enumerate(expected) if not small}


def test_by_columns_that_are_named_and_of_none() -> None:
    rows = pa.table({"customer_token": ["p", "q"], "event_timestamp": [1, 2], "x": ["a", "a"], "y": ["b", "c"]})
    assert in_small_classes(rows, 2).to_pylist() == [True, True]
    assert in_small_classes(rows, 2, ["x"]).to_pylist() == [False, False]
    assert in_small_classes(rows, 3, []).to_pylist() == [True, True]
