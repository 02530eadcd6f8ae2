"""The matrix a model sees: the same by the quick way (floats only) and column by column, with the same refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import BadInput
from training.models._base import feature_matrix

NAMES = ["a", "b", "c", "d"]
_cell = st.one_of(st.floats(allow_nan=True, allow_infinity=False), st.sampled_from([0.0, -0.0, np.nan]))


def mixed(frame: pd.DataFrame) -> pd.DataFrame:
    """The same columns beside one of text, which bars the quick way."""
    return frame.assign(town="Springfield")


@given(
    st.lists(st.tuples(_cell, _cell, _cell, _cell), max_size=6),
    st.lists(st.sampled_from(NAMES), unique=True),
)
def test_both_ways_agree_bit_for_bit(rows: list[tuple[float, ...]], names: list[str]) -> None:
    frame = pd.DataFrame(np.array(rows, dtype=float).reshape(len(rows), 4), columns=NAMES)
    quick, slow = feature_matrix(frame, names), feature_matrix(mixed(frame), names)
    assert quick.shape == slow.shape == (len(rows), len(names))
    assert quick.tobytes() == slow.tobytes()
    assert quick.flags.c_contiguous


def test_the_frame_is_never_written_to() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    feature_matrix(frame, ["a"])[:] = 9.0
    assert frame["a"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("prepare", [lambda frame: frame, mixed], ids=["floats", "mixed"])
class TestRefusals:
    def test_missing(self, prepare: object) -> None:
        self.refused(prepare, pd.DataFrame({"a": [1.0]}), r"1 feature column\(s\) missing: z", ["a", "z"])

    def test_twice(self, prepare: object) -> None:
        twice = pd.DataFrame(np.ones((1, 3)), columns=["a", "a", "b"])
        self.refused(prepare, twice, "'a' is there more than once", ["a"])
        given = prepare(twice)  # type: ignore[operator]
        assert feature_matrix(given, ["b"]).tolist() == [[1.0]]

    def test_infinite(self, prepare: object) -> None:
        frame = pd.DataFrame({"a": [1.0, 2.0], "b": [np.inf, -np.inf]})
        self.refused(prepare, frame, r"'b' has 2 infinite", ["a", "b"])

    def test_empty(self, prepare: object) -> None:
        frame = pd.DataFrame({"a": [1.0, np.nan], "b": [np.nan, np.nan]})
        self.refused(prepare, frame, r"'b' has 2 empty", ["a", "b"], ["b"])

    @staticmethod
    def refused(
        prepare: object, frame: pd.DataFrame, says: str, names: list[str], no_nulls: list[str] | None = None
    ) -> None:
        with pytest.raises(BadInput, match=says):
            feature_matrix(prepare(frame), names, no_nulls=no_nulls or [])  # type: ignore[operator]
