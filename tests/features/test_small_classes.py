"""Small classes are found as a plain count finds them."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.small_classes import in_small_classes

people = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["1", "11", ""])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(people=people, k=st.integers(1, 6))
def test_whoever_has_too_few_alike_is_found(people: list[tuple[str | None, str]], k: int) -> None:
    sizes = Counter(people)
    expected = [sizes[texts] < k for texts in people]
    first, second = zip(*people, strict=True) if people else ((), ())
    rows = pa.table({"customer_token": [str(at) for at in range(len(people))], "x": pa.array(first, pa.string()),
                     "y": pa.array(second, pa.string())})  # fmt: skip
    assert in_small_classes(rows, k).to_pylist() == expected


def test_by_columns_that_are_named_and_of_none() -> None:
    rows = pa.table({"customer_token": ["p", "q"], "event_timestamp": [1, 2], "x": ["a", "a"], "y": ["b", "c"]})
    assert in_small_classes(rows, 2).to_pylist() == [True, True]
    assert in_small_classes(rows, 2, ["x"]).to_pylist() == [False, False]
    assert in_small_classes(rows, 3, []).to_pylist() == [True, True]
