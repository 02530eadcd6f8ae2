"""What every mask promises, whichever it is."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.errors import BadInput
from privacy.masking import MASKS, mask_of
from privacy.masks import _base
from tests.privacy.masks.cases import CASES, Case

WIDE = {code: code + 0xFEE0 for code in range(ord("0"), ord("9") + 1)}
UNTOUCHED = {"address", "scrub"}  # what is no finer than a district, or identifies nobody, is left as it is
quick = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.spec))


@each_case
class TestEveryMask:
    @quick
    @given(data=st.data())
    def test_hides_what_it_is_meant_to_hide(self, case: Case, data: st.DataObject) -> None:
        values = data.draw(st.lists(case.values, min_size=1, max_size=20))
        for value, shown in zip(values, masked(case, values), strict=True):
            assert shown is not None
            assert shown != _base.REDACTED or case.name == "redact"
            assert value not in str(shown)
            assert case.hidden(value) not in str(shown)

    @quick
    @given(data=st.data())
    def test_nulls_stay_null_and_rows_stay_in_place(self, case: Case, data: st.DataObject) -> None:
        values = data.draw(st.lists(st.one_of(st.none(), case.values, st.text(max_size=12)), max_size=20))
        shown = masked(case, values)
        assert len(shown) == len(values)
        for value, alone in zip(values, shown, strict=True):
            assert (masked(case, [value])) == [alone]
            assert alone is None if value is None else True

    @quick
    @given(data=st.data())
    def test_a_second_time_reveals_no_more(self, case: Case, data: st.DataObject) -> None:
        once = case.mask.apply(pa.array(data.draw(st.lists(case.values, max_size=9)), pa.string()))
        twice = case.mask.apply(once)
        for before, after in zip(once.to_pylist(), twice.to_pylist(), strict=True):
            assert after in (before, _base.REDACTED, None)

    @quick
    @given(data=st.data())
    def test_parts_are_masked_as_the_whole(self, case: Case, data: st.DataObject, monkeypatch) -> None:
        values = data.draw(st.lists(st.one_of(st.none(), case.values), min_size=4, max_size=12))
        whole, array = masked(case, values), pa.array(values, pa.string())
        chunks = pa.chunked_array([array[:1], array[1:1], array[1:]])
        assert case.mask.apply(chunks).to_pylist() == whole
        assert case.mask.apply(array[2:]).to_pylist() == whole[2:]
        with monkeypatch.context() as patch:
            patch.setattr(_base, "_SLICE", 3)
            assert masked(case, values) == whole

    @quick
    @given(data=st.data())
    def test_every_way_to_store_text_is_read_alike(self, case: Case, data: st.DataObject) -> None:
        values = data.draw(st.lists(st.one_of(st.none(), case.values), min_size=1, max_size=8))
        whole, array = masked(case, values), pa.array(values, pa.string())
        for other in (array.cast(pa.large_string()), array.cast(pa.string_view()), array.dictionary_encode()):
            assert case.mask.apply(other).to_pylist() == whole

    @quick
    @given(data=st.data())
    def test_blanks_and_wide_digits_hide_nothing_less(self, case: Case, data: st.DataObject) -> None:
        value = data.draw(case.values)
        for other in (f"  {value}\t", f"\u3000{value}\u00a0", value.translate(WIDE)):
            (shown,) = masked(case, [other])
            assert value not in str(shown)
            assert case.hidden(value) not in str(shown)
            if case.name not in UNTOUCHED:
                assert shown == masked(case, [value])[0]

    def test_without_the_form_it_is_redacted(self, case: Case) -> None:
        nulling = {"year", "month", "age_band", "band", "coordinate", "rounded"}
        redaction = None if case.name in nulling else _base.REDACTED
        if case.refuses is not None:
            assert masked(case, [case.refuses, None, f" {case.refuses} "]) == [redaction, None, redaction]
            assert masked(case, ["", " "]) == [redaction, redaction]

    def test_empty_and_all_null_columns(self, case: Case) -> None:
        mask = case.mask
        for empty in (pa.array([], pa.string()), pa.array([], pa.large_string()), pa.chunked_array([], pa.string())):
            assert (mask.apply(empty).type, len(mask.apply(empty))) == (mask.type, 0)
        for nulls in (pa.nulls(3), pa.nulls(3, pa.string())):
            assert mask.apply(nulls).to_pylist() == [None] * 3
            assert mask.apply(nulls).type == mask.type
        assert mask.apply(pa.array(["n/a"])).type == mask.type


@quick
@given(st.sampled_from(sorted(set(MASKS) - UNTOUCHED - {"constant", "band"})), st.text(min_size=3, max_size=30))
def test_no_text_at_all_is_passed_through(name: str, value: str) -> None:
    (shown,) = mask_of(name).apply(pa.array([value])).to_pylist()
    assert str(shown) != value or "*" in value or value.isdigit()


@pytest.mark.parametrize("name", sorted(set(MASKS) - {"redact", "constant", "band"}))
def test_a_column_that_a_mask_cannot_read_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"mask {name} can't read a column of list"):
        mask_of(name).apply(pa.array([["a"]]))


def masked(case: Case, values: list[str | None]) -> list[object]:
    return case.mask.apply(pa.array(values, pa.string())).to_pylist()
