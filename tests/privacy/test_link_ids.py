"""Ids of a person in one spelling, Chinese and international, and the indexes that keep kinds apart."""

from __future__ import annotations

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from privacy.classification import LinkKind
from privacy.cmac import Mac
from privacy.errors import BadInput
from privacy.keyring import Keyring
from privacy.link_ids import field_indexes, is_junk, link_indexes, normalised
from privacy.secret_key_access import seal_in_handle

KEY = bytes(range(32))


def one(value: object, kind: LinkKind, region: str = "CN") -> object:
    return normalised(pa.array([value]), kind, region).to_pylist()[0]


@pytest.mark.parametrize(
    "written",
    ["13912340678", "139 1234 0678", "139-1234-0678", "+86 139 1234 0678", "0086 13912340678", "86-139-1234-0678",
     "１３９１２３４０６７８", " 13912340678 ", "+86 (139) 1234.0678", 13912340678],
)  # fmt: skip
def test_a_mobile_number_of_the_region_has_one_spelling(written: object) -> None:
    assert one(written, LinkKind.PHONE) == "+8613912340678"


@pytest.mark.parametrize(
    ("written", "region", "spelt"),
    [
        ("+44 20 7946 0958", "CN", "+442079460958"),
        ("+44 (0)20 7946 0958", "GB", "+442079460958"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("0044 20 7946 0958", "DE", "+442079460958"),
        ("(212) 555-0187", "US", "+12125550187"),
        ("+1 212 555 0187", "CN", "+12125550187"),
        ("010-65520000", "CN", "+861065520000"),
        ("+86 10 6552 0000", "US", "+861065520000"),
        ("+852 5123 4567", "CN", "+85251234567"),
        ("+39 06 698 12345", "CN", "+390669812345"),
    ],
)
def test_numbers_of_other_countries_and_landlines(written: str, region: str, spelt: str) -> None:
    assert one(written, LinkKind.PHONE, region) == spelt


@pytest.mark.parametrize(
    "written",
    ["95588", "400-820-8820", "110", "13912340678 ext. 4", "13912340678转4", "13912340678/13912340679", "n/a", "", "  ",
     "+86", "12345678901234567890", "call me", "+1 800 555 0199"],
)  # fmt: skip
def test_numbers_that_nobody_has_alone_are_none(written: str) -> None:
    assert one(written, LinkKind.PHONE) is None


def test_a_national_number_without_a_region_is_none() -> None:
    assert one("13912340678", LinkKind.PHONE, "") is None
    assert one("+8613912340678", LinkKind.PHONE, "") == "+8613912340678"


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("Ann.Lee@Shop.Example", "ann.lee@shop.example"),
        (" ann.lee@shop.example\t", "ann.lee@shop.example"),
        ("ann+news@shop.example", "ann+news@shop.example"),
        ("Zo\u0065\u0308@shop.example", "zo\u00eb@shop.example"),
        ("ZO\u00cb@shop.example", "zo\u00eb@shop.example"),
        ("王芳@例子.中国", "王芳@例子.中国"),
        ("ann@shop", None),
        ("ann@@shop.example", None),
        ("ann lee@shop.example", None),
        ("@shop.example", None),
        ("ann@shop.", None),
    ],
)
def test_mail_addresses(written: str, spelt: str | None) -> None:
    assert one(written, LinkKind.EMAIL) == spelt


def test_cards_accounts_and_devices() -> None:
    assert one("6012 3456-7890", LinkKind.CARD) == "601234567890"
    assert one("６０１２\u3000３４５６\u20117890", LinkKind.CARD) == "601234567890"
    assert one("0601", LinkKind.CARD) == "0601"
    assert one(601234567890, LinkKind.CARD) == "601234567890"
    assert one("A-1", LinkKind.ACCOUNT) == "A-1"
    assert one(17, LinkKind.ACCOUNT) == "17"
    assert one(" ", LinkKind.ACCOUNT) is None
    assert one("a1:B2", LinkKind.DEVICE) == "a1:B2"
    assert normalised(pa.array([None, "x1"]).dictionary_encode(), LinkKind.CARD).to_pylist() == [None, "x1"]
    with pytest.raises(BadInput, match="double"):
        normalised(pa.array([1.0]), LinkKind.CARD)


@pytest.mark.parametrize(
    ("value", "kind", "junk"),
    [
        ("000000", LinkKind.CARD, True),
        ("9999999999", LinkKind.CARD, True),
        ("123456", LinkKind.CARD, True),
        ("987654321", LinkKind.CARD, True),
        ("NULL", LinkKind.CARD, True),
        ("无", LinkKind.DEVICE, True),
        ("00:00:00:00", LinkKind.DEVICE, True),
        ("6012345678", LinkKind.CARD, False),
        ("22", LinkKind.ACCOUNT, False),
        ("0", LinkKind.ACCOUNT, True),
        ("test@somewhere.cn", LinkKind.EMAIL, True),
        ("noreply@shop.cn", LinkKind.EMAIL, True),
        ("ann@example.com", LinkKind.EMAIL, True),
        ("testa@somewhere.cn", LinkKind.EMAIL, False),
        ("ann@myexample.com", LinkKind.EMAIL, False),
        ("+8613800138000", LinkKind.PHONE, True),
        ("+8613000000000", LinkKind.PHONE, True),
        ("+8613812345678", LinkKind.PHONE, True),
        ("+8613912340678", LinkKind.PHONE, False),
    ],
)
def test_values_that_say_nothing(value: str, kind: LinkKind, junk: bool) -> None:
    assert is_junk(pa.array([value, None]), kind).tolist() == [junk, False]


def test_a_shop_declares_more_of_them() -> None:
    mails = pa.array(["front.desk@shop.cn", "sales@other.cn", "ann@shop.cn"])
    assert is_junk(mails, LinkKind.EMAIL, {"front.desk@shop.cn", "sales@"}).tolist() == [True, True, False]


def test_an_index_is_the_cmac_of_kind_and_id_and_no_subjects_index(keyring: Keyring) -> None:
    mac = Mac(seal_in_handle(KEY))
    plain = CMAC(algorithms.AES256(KEY))
    plain.update(b"\xffemail\x00ann@shop.cn")
    texts = pa.array(["ann@shop.cn"])
    assert link_indexes(mac, texts, LinkKind.EMAIL)[0].tobytes() == plain.finalize()
    indexes = [link_indexes(keyring.index, texts, kind)[0].tobytes() for kind in LinkKind]
    indexes += [keyring.index.of_ids(texts)[0].tobytes(), field_indexes(keyring.index, texts, "a.b")[0].tobytes()]
    assert len(set(indexes)) == len(indexes)


def test_missing_values_have_the_zero_index_and_fields_ignore_case_width_and_blanks(keyring: Keyring) -> None:
    assert not link_indexes(keyring.index, pa.array([None], pa.string()), LinkKind.CARD).any()
    values = pa.array(["11010119900307867X", " １１０１０１１９９００３０７８６７x ", " ", None])
    indexes = field_indexes(keyring.index, values, "customers.national_id")
    assert (indexes[0] == indexes[1]).all()
    assert not indexes[2:].any()
    assert (indexes[0] != field_indexes(keyring.index, values, "customers.passport")[0]).any()
