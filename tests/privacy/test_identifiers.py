from __future__ import annotations

import pyarrow as pa
import pytest

from privacy.errors import BadInput
from privacy.identifiers import canonical_ids, is_integer_source


def test_integers_and_their_decimal_text_are_one_id() -> None:
    assert canonical_ids(pa.array([7, -1, None], pa.int32())).to_pylist() == ["7", "-1", None]
    assert canonical_ids(pa.array([2**64 - 1], pa.uint64())).to_pylist() == [str(2**64 - 1)]


def test_text_is_composed_but_not_compatibility_mapped() -> None:
    assert canonical_ids(pa.array(["e\u0301", "\u00e9"])).to_pylist() == ["\u00e9", "\u00e9"]
    assert canonical_ids(pa.array(["１２", "客户"])).to_pylist() == ["１２", "客户"]


def test_dictionaries_and_chunks_are_read() -> None:
    coded = pa.array(["a", "b", "a", None]).dictionary_encode()
    assert canonical_ids(coded).to_pylist() == ["a", "b", "a", None]
    assert canonical_ids(pa.chunked_array([["a"], ["b"]])).to_pylist() == ["a", "b"]
    assert is_integer_source(pa.array([1, 1]).dictionary_encode())
    assert not is_integer_source(coded)


def test_what_has_no_one_spelling_is_refused() -> None:
    with pytest.raises(BadInput, match="no one spelling"):
        canonical_ids(pa.array([1.0]))
    with pytest.raises(BadInput, match="not accepted"):
        canonical_ids(pa.array([True]))
    with pytest.raises(BadInput, match="2 ids are empty"):
        canonical_ids(pa.array(["", "a", "", None]))


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    broken = pa.array([b"\xff\xfeCANARY"], pa.binary()).view(pa.string())
    with pytest.raises(BadInput, match="UTF-8") as caught:
        canonical_ids(broken)
    assert "CANARY" not in str(caught.value)
