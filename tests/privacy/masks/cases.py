"""For every mask: how it is asked for, values of its form, and what of them must not be seen behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.iso7064 import mod_11_2

from privacy.masking import MASKS, mask_of
from privacy.masks._base import Mask

__all__ = ["CASES", "Case", "ibans", "identities"]

DIGITS, CAPITALS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Case:
    """`hidden` picks what must not be seen; `refuses` is a value without the form."""

    spec: Any
    values: st.SearchStrategy[str]
    hidden: Callable[[str], str] = str
    refuses: str | None = "n/a?"

    @cached_property
    def mask(self) -> Mask:
        return mask_of(self.spec)

    @property
    def name(self) -> str:
        return self.spec if isinstance(self.spec, str) else self.spec["fn"]


def some(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least)


dates = st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(lambda day: day.isoformat())
identities = st.builds(
    lambda place, day, order: (body := f"{place}{day.replace('-', '')}{order}") + mod_11_2.calc_check_digit(body),
    st.sampled_from(["110105", "440305", "310104"]), dates, some(DIGITS, 3),
)  # fmt: skip
cards = some(DIGITS, 13, 17).map(lambda body: "4" + body + luhn.calc_check_digit("4" + body))
ibans = st.builds(
    lambda country, body: country + iban.calc_check_digits(f"{country}00{body}") + body,
    st.sampled_from(["DE", "GB", "NO", "MT"]), some(DIGITS + CAPITALS, 11, 30),
)  # fmt: skip
mobiles = st.builds(lambda head, tail: f"1{head}{tail}", st.sampled_from("3456789"), some(DIGITS, 9))
words = some("abcdefghij", 5, 9)
domains = some("klmnopqrst", 5, 9)
octets = st.lists(st.integers(1, 255), min_size=4, max_size=4).map(lambda parts: ".".join(map(str, parts)))
groups = st.lists(st.integers(0x1000, 0xFFFF), min_size=8, max_size=8)
places = st.sampled_from(["北京市朝阳区", "广东省深圳市南山区", "湖南省长沙市宁乡县"])
degrees = st.floats(-90, 90).map(lambda value: f"{value:.6f}")

CASES = (
    Case("redact", words, refuses=None),
    Case({"fn": "constant", "value": "withheld"}, words, refuses=None),
    Case("partial", words, lambda value: value[1:-1], "abc"),
    Case({"fn": "partial", "first": 0, "last": 0}, words, refuses=""),
    Case({"fn": "partial", "first": 3, "last": 0}, some("abcdefghij", 6, 9), lambda value: value[3:] + "\n", "abc"),
    Case("name", st.builds("{}{}".format, st.sampled_from("王李张刘"), st.sampled_from(["小芳", "伟", "娜娜"])),
         lambda value: value[1:], "7"),
    Case("name", st.builds("欧阳{}".format, st.sampled_from(["小芳", "伟"])), lambda value: value[2:], "7"),
    Case("email", st.builds("{}@{}.org".format, words, domains), lambda value: value.partition("@")[0]),
    Case({"fn": "email", "domain": "hide"}, st.builds("{}@{}.org".format, words, domains),
         lambda value: value.partition("@")[2]),
    Case("phone", mobiles.filter(lambda value: value[3:7] != value[7:]), lambda value: value[3:7]),
    Case("phone", st.builds("+44 20 7946 0{}".format, some(DIGITS, 3)), lambda value: value[-9:]),
    Case("phone", st.builds("(415) 555-{}".format, some(DIGITS, 4)), lambda value: value[:3]),
    Case("national_id", identities, lambda value: value[:14], "110105194912310021"),
    Case({"fn": "national_id", "first": 6, "last": 4}, identities, lambda value: value[6:14], "11010519491231002"),
    Case("card", cards, lambda value: value[:8], "4111111111111112"),
    Case({"fn": "card", "first": 6, "last": 4}, cards,
         lambda value: value[5:-4], "0000000000000000"),
    Case("iban", ibans, lambda value: value[2:-4], "GB83WEST12345698765432"),
    Case("address", st.builds("{}建国路{}号".format, places, some("123456789", 2)), lambda value: value[-6:], "暂无"),
    Case("address", st.builds("{} High St, London".format, some(DIGITS, 2)), lambda value: value[:5], "12 High St"),
    Case("postal_code", some(DIGITS, 5, 9), lambda value: value[3:] + "\n", "London"),
    Case("region_code", some("123456789", 2).map(lambda tail: f"4403{tail}"), refuses="990101"),
    Case({"fn": "region_code", "level": "province"}, some("123456789", 4).map("44{}".format), refuses="44030"),
    Case("ip", octets),
    Case("ip", groups.map(lambda parts: ":".join(f"{part:x}" for part in parts)), lambda value: value[15:]),
    Case({"fn": "ip", "v4": 8}, octets, refuses="256.1.1.1"),
    Case("year", dates, lambda value: value[4:]),
    Case("month", dates, lambda value: value[4:]),
    Case("age_band", dates),
    Case({"fn": "age_band", "years": 5, "oldest": 1950}, dates),
    Case({"fn": "band", "edges": [20, 50]}, some("123456789", 3, 5)),
    Case("coordinate", degrees, refuses="400"),
    Case({"fn": "rounded", "decimals": -2}, some("1234", 2).map("{}57".format), lambda value: value[-2:]),
    Case({"fn": "rounded", "decimals": 1}, degrees, lambda value: value[-4:]),
    Case("scrub", st.builds("write to {}@{}.org now".format, words, domains), lambda value: value[9:-4], None),
)  # fmt: skip
missing = set(MASKS) - {case.name for case in CASES}
if missing:
    raise ValueError(f"no case for {sorted(missing)}")
