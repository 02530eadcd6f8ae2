from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import BadInput
from privacy.masking import MASKS, apply_mask


@pytest.mark.parametrize(
    ("mask", "value", "shown"),
    [
        ("name", "欧阳娜娜", "欧阳**"),
        ("name", "諸葛孔明", "諸葛**"),
        ("name", "王芳", "王**"),
        ("name", "欧阳", "欧**"),
        ("name", "Ada Lovelace", "A**"),
        ("name", "", "***"),
        ("email", "ada@example.org", "a**@example.org"),
        ("email", "邮箱 a@b.cn", "***"),
        ("email", "not an address", "***"),
        ("phone", "13812345678", "138****5678"),
        ("phone", "+86 138-1234-5678", "138****5678"),
        ("phone", "008613812345678", "138****5678"),
        ("phone", "+44 20 7946 0958", "+44**58"),
        ("phone", "(555) 123-4567", "**67"),
        ("phone", "call me", "***"),
        ("national_id", "110101199003078515", "**5"),
        ("national_id", "11010519491231002x", "**X"),
        ("national_id", "11010119900307851X", "***"),
        ("national_id", "110105491231002", "**2"),
        ("national_id", "110105491331002", "***"),
        ("national_id", "123-45-6789", "***"),
        ("national_id", "ab", "***"),
        ("address", "北京市朝阳区建国路88号", "北京市朝阳区"),
        ("address", "广东省深圳市南山区科技园1栋", "广东省深圳市南山区"),
        ("address", "湖南省长沙市宁乡县某路2号", "湖南省长沙市宁乡县"),
        ("address", "12 High St, Springfield, IL 62704", "IL"),
        ("address", "12 High St\nLondon", "London"),
        ("address", "12 High St", "***"),
        ("year", "1990-03-07", "1990"),
        ("year", "7/3/90", None),
        ("redact", "anything", "***"),
        ("partial", "abcdefgh", "a**h"),
        ("partial", "abc", "***"),
    ],
)
def test_masks(mask: str, value: str, shown: str | None) -> None:
    assert apply_mask(pa.array([value, None]), mask).to_pylist() == [shown, None]


def test_birth_dates_to_years_and_bands() -> None:
    days = pa.array(
        [date(1990, 3, 7), date(1989, 12, 31), date(1930, 1, 1), date(1929, 12, 31), date(2031, 1, 1), None]
    )
    assert apply_mask(days, "year").to_pylist() == ["1990", "1989", "1930", "1929", "2031", None]
    decades = ["1990s", "1980s", "1930s", "before 1930", "2030s", None]
    assert apply_mask(days, "age_band").to_pylist() == decades
    assert apply_mask(pa.array(["1990-03-07", "not a date", None]), "age_band").to_pylist() == ["1990s", None, None]
    assert apply_mask(pa.array([datetime(1990, 1, 1, tzinfo=UTC)]), "year").to_pylist() == ["1990"]
    assert apply_mask(pa.array([1990, 12]), "year").to_pylist() == ["1990", None]


def test_parameters_and_names_are_checked() -> None:
    assert apply_mask(pa.array(["123456789012"]), {"fn": "partial", "first": 4, "last": 2}).to_pylist() == ["1234**12"]
    with pytest.raises(BadInput, match="unknown mask"):
        apply_mask(pa.array(["x"]), "blur")


@given(st.sampled_from(sorted(MASKS)), st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=20))
def test_any_text_is_masked_with_nulls_kept(mask: str, values: list[str | None]) -> None:
    shown = apply_mask(pa.array(values, pa.string()), mask).to_pylist()
    assert len(shown) == len(values)
    assert all(after is None for before, after in zip(values, shown, strict=True) if before is None)


@given(
    st.sampled_from(sorted(set(MASKS) - {"year", "age_band"})),
    st.from_regex(r"[a-z]{3,9} [a-z0-9!]{6,20}", fullmatch=True),
)
def test_what_has_no_expected_form_is_not_passed_through(mask: str, value: str) -> None:
    assert apply_mask(pa.array([value]), mask).to_pylist()[0] != value
