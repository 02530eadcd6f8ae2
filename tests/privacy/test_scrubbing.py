from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import BadInput
from privacy.masking import mask_of
from privacy.scrub_patterns import PATTERNS
from privacy.scrubbing import KINDS, find_pii, scrub
from tests.bench.planted import LOOKALIKES, PLANTS, Planted, lookalikes, planted
from tests.privacy.listed_pairs import SEPARATORS, TWO
from tests.privacy.pattern_work import ways

MOST_WAYS = 3_000


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("邮箱a.b@example.cn，谢谢", "邮箱<EMAIL>，谢谢"),
        ("write to Ada.L+x@mail.example.org.", "write to <EMAIL>."),
        ("open https://ada:pw@example.org/a?b now", "open <URL> now"),
        ("手机13812345678", "手机<PHONE>"),
        ("手机１３８１２３４５６７８吧", "手机<PHONE>吧"),
        ("+86 138-1234-5678 or +44 20 7946 0958", "<PHONE> or <PHONE>"),
        ("座机010-62345678转8", "座机<PHONE>转8"),
        ("call (415) 555-2671 today", "call <PHONE> today"),
        ("身份证11010519491231002X。", "身份证<NATIONAL_ID>。"),
        ("旧证110105491231002", "旧证<NATIONAL_ID>"),
        ("not valid: 110105194912310021", "not valid: 110105194912310021"),
        ("card 4111 1111 1111 1111 ok", "card <CARD> ok"),
        ("card 4111 1111 1111 1112 no", "card 4111 1111 1111 1112 no"),
        ("IBAN GB82 WEST 1234 5698 7654 32 PLEASE", "IBAN <IBAN> PLEASE"),
        ("税号91110000600037341L", "税号<USCC>"),
        ("SSN 219-09-9999", "SSN <SSN>"),
        ("SSN 000-12-3456", "SSN <SSN>"),
        ("part 000-12-3456", "part 000-12-3456"),
        ("护照号E12345678", "护照号<PASSPORT>"),
        ("车牌京A·12345停着", "车牌<PLATE>停着"),
        ("QQ：12345678，微信号wx_li2020", "QQ：<QQ>，微信号<WECHAT>"),
        ("来自192.0.2.55和2001:db8::1的登录", "来自<IP>和<IP>的登录"),
        ("version 10.2.3.4", "version 10.2.3.4"),
        ("born on March 7, 1990 in Rome", "born on <BIRTH_DATE> in Rome"),
        ("出生日期：1990年3月7日", "出生日期：<BIRTH_DATE>"),
        ("订单日期：1990年3月7日", "订单日期：1990年3月7日"),
        ("收件人欧阳娜娜，电话后补", "收件人<NAME>，电话后补"),
        ("王先生您好", "<NAME>先生您好"),
        ("my name is Ada Lovelace.", "my name is <NAME>."),
        ("Dear Customer, thanks", "Dear Customer, thanks"),
        ("送到北京市朝阳区建国路88号2栋501室吧", "送到<ADDRESS>吧"),
        ("ship to 12 High Street, London", "ship to <ADDRESS>"),
        ("电话13812345678/13912345678", "电话<PHONE>/<PHONE>"),
        ("see /v1/13812345678x or a/13812345678", "see /v1/13812345678x or a/13812345678"),
        ("手机138\u00a01234\u00a05678", "手机<PHONE>"),  # as pages and typesetters part numbers
        ("call 138\u20131234\u20135678 or (415)\u202f555\u20112671", "call <PHONE> or <PHONE>"),
        ("passport no. e12345678", "passport no. <PASSPORT>"),
        ("王芳/13812345678，李雷.13912345678", "王芳/<PHONE>，李雷.<PHONE>"),
        ("13812345678/13912345678_已打", "<PHONE>/<PHONE>_已打"),
        ("see orders/13812345678 and v1_13812345678", "see orders/13812345678 and v1_13812345678"),
        ("138\u20111234\u20115678 or 138–1234–5678", "<PHONE> or <PHONE>"),
        (
            "a\u200b138\u200b1234\u200b5678 \u202a13812345678\u202c",
            "a\u200b138\u200b1234\u200b5678 \u202a<PHONE>\u202c",
        ),
        ("请打1\u200b38\u200b12345678\u200b吧", "请打<PHONE>\u200b吧"),
        ("𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖，+86（138）1234－5678", "<PHONE>，<PHONE>"),
        ("1-415-555-2671, (415)555-2671, Ada,415-555-2671", "<PHONE>, <PHONE>, Ada,<PHONE>"),
        ("身份证/11010519491231002X，ID-11010519491231002X", "身份证/<NATIONAL_ID>，ID-<NATIONAL_ID>"),
        ("4111.1111.1111.1111 4111\u00a01111\u00a01111\u00a01111", "<CARD> <CARD>"),
        ("josé@example.org müller@bücher.de", "<EMAIL> <EMAIL>"),
        ("-" * 200 + "ada@example.org", "-" * 75 + "<EMAIL>"),
        ("ada\u00ad@exam\u200bple.org", "<EMAIL>"),
        ("ssn: 123 45 6789", "ssn: <SSN>"),
        ("Mr. O'Neil, Dr José García, Mrs. Müller", "Mr. <NAME>, Dr <NAME>, Mrs. <NAME>"),
        ("姓　名：王芳，姓名：Ada Lovelace，name：Ada", "姓　名：<NAME>，姓名：<NAME>，name：<NAME>"),
        ("Dear CUSTOMER, MY NAME IS ADA", "Dear CUSTOMER, MY NAME IS <NAME>"),
        ("13812345678-8001", "<PHONE>-8001"),
        ("11010519491231002X/4111111111111111-13812345678", "<NATIONAL_ID>/<CARD>-<PHONE>"),  # of several kinds
        ("T13812345678, PORT13812345678", "T<PHONE>, PORT13812345678"),
        (
            "身份证号：110101199003074513",
            "身份证号：<NATIONAL_ID>",
        ),  # mistyped, but told: wrong check digits from here on
        ("my ID no. 110101199003074513", "my ID no. <NATIONAL_ID>"),
        ("order ID no. 110101199003074513", "order ID no. 110101199003074513"),
        ("银行卡号：6222021234567890123", "银行卡号：<CARD>"),
        ("卡号 6222 0212 3456 7890 123", "卡号 <CARD>"),
        ("card no. 4111 1111 1111 1112", "card no. <CARD>"),
        ("IBAN: GB83 WEST 1234 5698 7654 32 PLEASE", "IBAN: <IBAN> PLEASE"),
        ("台胞证12345678，港澳通行证C12345678", "台胞证<PASSPORT>，港澳通行证<PASSPORT>"),
        ("证件号：13812345678", "证件号：<PHONE>"),
        ("收件人：买买提·艾力", "收件人：<NAME>"),
        ("姓名：阿依古丽•买买提/王芳", "姓名：<NAME>/<NAME>"),
        ("我叫迪丽热巴‧迪力木拉提。买买提・艾力先生", "我叫<NAME>。<NAME>先生"),
        ("at 12 High Street, London SW1A 1AA", "at <ADDRESS>"),
        ("at 12 High Street, Springfield, IL 62704-1234 now", "at <ADDRESS> now"),
        ("Dear Mr. Smith and Mrs Jones", "Dear Mr. <NAME> and Mrs <NAME>"),
        ("Name: Ada Lovelace, Phone: 13812345678", "Name: <NAME>, Phone: <PHONE>"),
        ("Name: Ada Lovelace\nPlease write", "Name: <NAME>\nPlease write"),
        ("QQ：12345678，2024年下单，微信wx_li2020 and thanks", "QQ：<QQ>，2024年下单，微信<WECHAT> and thanks"),
        ("", ""),
        ("nothing here", "nothing here"),
    ],
)
def test_what_is_found(text: str, clean: str) -> None:
    assert scrub(pa.array([text])).to_pylist() == [clean]
    assert replaced_by_spans(text) == clean


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_of_two_are_found_behind_any_separator(kind: str, separator: str) -> None:
    for word, one, other in TWO[kind]:
        for text in (f"{word}{one}{separator}{other}", f"请{word}{one}{separator}{other}的"):
            assert not left_of(text, len(text) - len(text.removeprefix("请").removeprefix(word)), one, other), text


@pytest.mark.parametrize("kind", sorted(PLANTS))
def test_planted_identifiers_are_found(kind: str) -> None:
    plants = [plant for plant in planted(24, seed=3) if plant.kind == kind]
    clean = scrub(pa.array([plant.text for plant in plants])).to_pylist()
    left = [plant.text for plant, text in zip(plants, clean, strict=True) if plant.value in text]
    assert len(left) <= len(plants) // 10


def test_lookalikes_are_left_alone() -> None:
    texts = list(lookalikes(10 * len(LOOKALIKES), seed=4))
    changed = sum(a != b for a, b in zip(texts, scrub(pa.array(texts)).to_pylist(), strict=True))
    assert changed <= len(texts) // 50


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(planted(20, seed=11))), st.text("aZ1é王 -.,/·", max_size=4))
def test_nothing_ends_inside_a_word(plant: Planted, behind: str) -> None:
    """But a day before its time, 1990-03-07T12:00, and a street before a digit: leaving those whole would tell more."""
    text = plant.text + behind
    torn = re.compile("[0-9A-Za-z]{2}", re.ASCII)
    kinds = set(KINDS) - {"BIRTH_DATE", "ADDRESS"}
    assert not [each.kind for each in find_pii(text, kinds) if torn.fullmatch(text[each.end - 1 : each.end + 1])]


FRAGMENTS = [plant.text for plant in planted(6, seed=5)] + list(lookalikes(len(LOOKALIKES), seed=6))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=20)), max_size=4), st.sampled_from(["", " ", "，"])
)
def test_columns_and_single_texts_are_scrubbed_alike(parts: list[str], between: str) -> None:
    """What the gates of a column let through is all that the patterns can find."""
    text = between.join(parts)
    assert scrub(pa.array([None, text, "x"])).to_pylist() == [None, replaced_by_spans(text), "x"]
    ends = [0, *(each.end for each in find_pii(text))]
    assert all(end <= each.start < each.end <= len(text) for end, each in zip(ends, find_pii(text), strict=False))


@pytest.mark.parametrize("pattern", PATTERNS, ids=[f"{at}-{each.kind}" for at, each in enumerate(PATTERNS)])
def test_work_is_proportional_to_the_text(pattern) -> None:
    """From every place of a text a pattern has few ways to go, none of which grows with the text."""
    assert pattern.regex.flags & re.ASCII
    assert 1 <= ways(pattern.regex.pattern) <= MOST_WAYS
    assert pattern.again is None or 1 <= ways(pattern.again.pattern) <= MOST_WAYS


def test_the_count_of_ways_sees_what_is_dangerous() -> None:
    for pattern in ("(?:a+)+b", "a*b", "[^x]{1,}", "a++b"):
        with pytest.raises(ValueError, match="no upper bound"):
            ways(pattern)
    assert ways("(?:a{0,9}){0,9}b") > MOST_WAYS
    assert ways("(?:a{1,30}b){1,30}c") == 1
    assert ways("a{1,30}a{1,30}b") == 30
    assert ways("a{1,30}+ab") == 1


@pytest.mark.parametrize("piece", ["a", "1", "a@", "1 ", "路1号", "区", ":", "a.", "王先", "A1 ", "http://a:", "(0"])
def test_long_hostile_texts_are_scrubbed(piece: str) -> None:
    text = piece * (200_000 // len(piece)) + " ada@example.org"
    (clean,) = scrub(pa.array([text])).to_pylist()
    assert "example.org" not in clean


def test_every_way_to_store_text_and_kinds_of_choice() -> None:
    texts = ["13812345678 a@b.cn", None, ""]
    wanted = ["<PHONE> <EMAIL>", None, ""]
    for array in (pa.array(texts), pa.array(texts, pa.large_string()), pa.array(texts).dictionary_encode(),
                  pa.chunked_array([texts[:1], texts[1:]], pa.string())):  # fmt: skip
        assert scrub(array).to_pylist() == wanted
    assert scrub(pa.chunked_array([], pa.string())).to_pylist() == []
    assert scrub(pa.nulls(2)).to_pylist() == [None, None]
    assert scrub(pa.array(texts), ["EMAIL"]).to_pylist() == ["13812345678 <EMAIL>", None, ""]
    for many in (texts, tuple(texts), np.array(texts, object)):
        assert scrub(many).to_pylist() == wanted
    assert scrub(texts, "PHONE").to_pylist() == ["<PHONE> a@b.cn", None, ""]
    assert mask_of({"fn": "scrub", "region": "GB"}).apply(pa.array(["call 020 7946 0958"])).to_pylist() == [
        "call <PHONE>"
    ]
    assert set(PLANTS) == set(KINDS)


def test_what_cannot_be_used_is_refused_without_the_text() -> None:
    with pytest.raises(BadInput, match="unknown kind NOSE"):
        find_pii("13812345678", ["NOSE"])
    with pytest.raises(BadInput, match="unknown region ZZ"):
        find_pii("13812345678", region="ZZ")
    for odd in ([13812345678], {"13812345678": 1}, ["13812345678\ud800"], 13812345678, None):
        with pytest.raises(BadInput, match="no column of text") as refused:
            scrub(odd)
        assert "13812345678" not in str(refused.value)
    with pytest.raises(BadInput, match="put it into a list"):
        scrub("13812345678")
    with pytest.raises(BadInput, match="a NoneType is no text"):
        find_pii(None)
    for kinds in (5, ["EMAIL", 5]):
        with pytest.raises(BadInput, match="no list of strings"):
            find_pii("13812345678", kinds)
    with pytest.raises(BadInput, match="unknown region None"):
        find_pii("13812345678", region=None)
    with pytest.raises(BadInput, match="int64 is no text"):
        scrub(pa.array([13812345678]))
    with pytest.raises(BadInput, match="region of mask scrub"):
        mask_of({"fn": "scrub", "region": "ZZ"})
    assert "13812345678" not in repr(find_pii("13812345678"))


def replaced_by_spans(text: str) -> str:
    clean, at = [], 0
    for each in find_pii(text):
        clean += [text[at : each.start], f"<{each.kind}>"]
        at = each.end
    return "".join([*clean, text[at:]])


def left_of(text: str, at: int, one: str, other: str) -> str:
    """The letters and digits of both values that `find_pii` leaves."""
    start = text.index(one, at)
    places = [*range(start, start + len(one))]
    start = text.index(other, start + len(one))
    places += range(start, start + len(other))
    gone = {place for each in find_pii(text) for place in range(each.start, each.end)}
    return "".join(text[place] for place in places if place not in gone and text[place].isalnum())
