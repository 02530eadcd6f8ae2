from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.iso7064 import mod_11_2, mod_97_10

from privacy.errors import BadInput
from privacy.masking import apply_mask, mask_of
from tests.privacy.masks.cases import ibans, identities


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
        ("national_id", "110105491231002", "**X"),
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
        ("email", "a@b.cn", "***"),
        ("name", "买买提·艾力", "买**"),
        ("name", "王芳/李雷", "王**"),
        ("phone", "13812345678/13912345679", "***"),
        ("phone", "T13812345678", "***"),
        ("email", "user1@qq.com/user2@qq.com", "***"),
        ("email", "user1@qq.com;user2@qq.com", "***"),
        ("national_id", "110101199003074514、11010519491231002X", "***"),
        ("card", "4111111111111111 5555555555554444", "***"),
        ("iban", "GB82WEST12345698765432/DE89370400440532013000", "***"),
        ("ip", "192.0.2.55,192.0.2.56", "***"),
        ("phone", "+86 10 6234 5678", "+86**78"),
        ("phone", "+999 123 4567", "***"),
        ("phone", "１３８１２３４５６７８", "138****5678"),
        ("card", "4111-1111-1111-1111", "**1111"),
        ("card", "6222 0212 3456 7890 128", "**0128"),
        ("iban", "gb82 west 1234 5698 7654 32", "GB**5432"),
        ("postal_code", "SW1A 1AA", "SW1**"),
        ("region_code", "440305007001", "440300"),
        ("ip", "2001:DB8::1", "2001:db8:0::/48"),
        ("ip", "::1", "0:0:0::/48"),
        ("ip", "1::", "1:0:0::/48"),
        ("ip", "1:2::3:4:5:6:7:8:9", "***"),
        ("ip", "192.0.2.256", "***"),
        ("month", "1990/3/7", "1990-03"),
        ("month", "19900307", "1990-03"),
        ("month", "1990-13", None),
        ("year", "19900307", "1990"),
        ("year", "1990 Main Street", None),
        ("phone", "1-415-555-2671", "**71"),  # of North America, though its 11 digits begin as a 手机号
        ("phone", "1 (415) 555-2671", "**71"),
        ("phone", "139-1555-2671", "139****2671"),
        ("phone", "138 1234 5678/13912345678", "***"),
        ("address", "张三，北京市朝阳区建国路八十八号三单元", "北京市朝阳区"),  # no digit, and yet a house
        ("address", "幸福小区，三号楼", "***"),
        ("address", "吉林省长春市红旗街12号", "吉林省长春市"),  # a street, no banner
        ("address", "阿拉善盟阿拉善左旗巴彦浩特镇1号", "阿拉善盟阿拉善左旗"),
        ("address", "北京市幸福住宅区5号", "北京市"),
        ("address", "收件人张三北京市朝阳区建国路88号", "北京市朝阳区"),
        ("address", "吉林省吉林市昌邑区1号", "吉林省吉林市昌邑区"),
        ("address", "台北市信義區信義路五段7號", "台北市信義區"),
        ("name", "𠮷野家", "𠮷**"),
        ("name", "阿卜杜拉·买买提", "阿**"),
        ("name", "\u200b王芳", "***"),
        ("ip", "::ffff:192.0.2.1", "***"),
        ("ip", "fe80::1%eth0", "***"),
    ],
)
def test_masks(mask: str, value: str, shown: str | None) -> None:
    assert apply_mask(pa.array([value, None]), mask).to_pylist() == [shown, None]


def test_an_identity_number_of_15_digits_shows_no_more_than_one_of_18() -> None:
    """Its last digit tells the sex, and the one before the last three is of the birth date: it gains a check digit."""
    for last, shown in ((0, "**"), (1, "**X"), (2, "**2X"), (3, "**02X"), (4, "**002X")):
        assert apply_mask(pa.array(["110105491231002"]), {"fn": "national_id", "last": last}).to_pylist() == [shown]
    both = pa.array(["110105491231002", "11010519491231002X", "110105491231002"])
    wide = {"fn": "national_id", "first": 6, "last": 4}
    assert apply_mask(both, wide).to_pylist() == ["110105**002X", "110105**002X", "110105**002X"]


def test_at_least_five_digits_of_a_card_stay_hidden() -> None:
    short, middling, long = "500000000009", "4222222222222", "378282246310005"
    cards = pa.array([short, middling, long])
    assert apply_mask(cards, "card").to_pylist() == ["**0009", "**2222", "**0005"]
    assert apply_mask(cards, {"fn": "card", "first": 6}).to_pylist() == ["***", "***", "378282**0005"]
    assert apply_mask(cards, {"fn": "card", "first": 4}).to_pylist() == ["***", "4222**2222", "3782**0005"]


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


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("blur", "unknown mask blur; use one of address, age_band"),
        (["phone"], "a mask is a name, or a mapping with fn"),
        ({"first": 2}, "a mask is a name, or a mapping with fn"),
        ({"fn": 3}, "a mask is a name, or a mapping with fn"),
        ({"fn": "partial", "head": 2}, "mask partial has no parameter head; it has first, last"),
        ({"fn": "phone", "self": 2}, "mask phone has no parameter self; it has no parameters"),
        ({"fn": "partial", "first": "2"}, "parameter first of mask partial must be a whole number from 0 to 8"),
        ({"fn": "partial", "first": True}, "must be a whole number from 0 to 8"),
        ({"fn": "card", "first": 7}, "must be a whole number from 0 to 6"),
        ({"fn": "national_id", "last": -1}, "must be a whole number from 0 to 4"),
        ({"fn": "ip", "v4": 24.0}, "parameter v4 of mask ip must be one of 8, 16, 24"),
        ({"fn": "band"}, "mask band needs edges; give a rising list of 1 to 100 numbers"),
        ({"fn": "band", "edges": []}, "a rising list"),
        ({"fn": "band", "edges": [2, 1]}, "a rising list"),
        ({"fn": "band", "edges": [1, float("nan")]}, "a rising list"),
        ({"fn": "band", "edges": [10**400]}, "a rising list"),
        ({"fn": "constant", "value": "x" * 101}, "a text of at most 100 characters"),
    ],
)
def test_a_mask_that_cannot_be_is_refused_when_it_is_read(spec: object, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        mask_of(spec)
    assert said in str(refused.value)


def test_numbers_to_bands_and_coordinates() -> None:
    edges = {"fn": "band", "edges": [0, 0.5, 100]}
    wanted = ["below 0", "0 to 0.5", "0.5 to 100", "100 and above", None, None]
    assert apply_mask(pa.array([-1, 0, 0.5, 1e300, None, float("nan")]), edges).to_pylist() == wanted
    assert apply_mask(pa.array(["-1", " 0.2", "７", "1e3", "12 apples"]), edges).to_pylist() == [
        "below 0", "0 to 0.5", "0.5 to 100", None, None,
    ]  # fmt: skip
    assert apply_mask(pa.array([Decimal("0.50")]), edges).to_pylist() == ["0.5 to 100"]
    assert apply_mask(pa.array([7], pa.int64()), edges).to_pylist() == ["0.5 to 100"]
    assert apply_mask(pa.array([31.26, -181.0, float("nan")]), "coordinate").to_pylist() == [31.3, None, None]
    with pytest.raises(BadInput, match="mask band can't read a column of bool"):
        apply_mask(pa.array([True]), edges)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("0123456789", min_size=12, max_size=19), min_size=1, max_size=20))
def test_cards_shown_are_those_that_pass_luhn(numbers: list[str]) -> None:
    shown = apply_mask(pa.array(numbers), "card").to_pylist()
    assert [text != "***" for text in shown] == [luhn.is_valid(number) and int(number) > 0 for number in numbers]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(ibans, st.from_regex("[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}", fullmatch=True)), min_size=1))
def test_ibans_shown_are_those_with_the_right_check_digits(numbers: list[str]) -> None:
    shown = apply_mask(pa.array(numbers), "iban").to_pylist()
    assert [text != "***" for text in shown] == [mod_97_10.is_valid(number[4:] + number[:4]) for number in numbers]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(identities, st.sampled_from("0123456789X")), min_size=1, max_size=20))
def test_identity_numbers_shown_are_those_with_the_right_check_digit(pairs: list[tuple[str, str]]) -> None:
    numbers = [number[:-1] + last for number, last in pairs]
    shown = apply_mask(pa.array(numbers), "national_id").to_pylist()
    assert [text != "***" for text in shown] == [mod_11_2.is_valid(number) for number in numbers]


def test_no_byte_of_a_redacted_value_stays_in_the_buffers() -> None:
    texts = pa.array(["4111111111111112", "11010519491231002X", "x" * 40, None])
    for mask in ("card", "national_id", "iban", "phone", "postal_code", "region_code"):
        left = b"".join(buffer.to_pybytes() for buffer in apply_mask(texts, mask).buffers() if buffer)
        assert b"41111" not in left
        assert b"1949" not in left


def test_an_id_of_15_digits_is_masked_as_the_18_it_became() -> None:
    written = ["110105491231002", "11010519491231002X", "110105194912310020"]
    for spec, shown in (
        ("national_id", "**X"),  # the last of the 15 would tell the sex
        ({"fn": "national_id", "last": 4}, "**002X"),
        ({"fn": "national_id", "first": 6, "last": 2}, "110105**2X"),
    ):
        assert apply_mask(pa.array(written), spec).to_pylist() == [shown, shown, "***"]


def test_a_card_number_too_short_to_hide_five_digits_is_redacted() -> None:
    short, long = "30569309025904", "378282246310005"
    assert apply_mask(pa.array([short, long]), {"fn": "card", "first": 6}).to_pylist() == ["***", "378282**0005"]
    assert apply_mask(pa.array([short, long]), "card").to_pylist() == ["**5904", "**0005"]


def test_an_address_without_a_district_shows_neither_street_nor_estate_nor_what_stands_before() -> None:
    addresses = [
        "建国路阳光花园东区3号楼",
        "请交给住在隔壁大楼里面那一户人家的王芳女士她家在朝阳区",
        "新疆维吾尔自治区伊犁哈萨克自治州伊宁市解放路1号",
        "唐山市路南区新华道1号",
        "朝阳区建国路88号",
    ]
    assert apply_mask(pa.array(addresses), "address").to_pylist() == [
        "***",
        "***",
        "新疆维吾尔自治区",
        "唐山市",
        "朝阳区",
    ]
