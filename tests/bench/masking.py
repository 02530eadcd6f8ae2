"""Masks beside the bare Arrow kernels that give the same text: CPU ratios of one thread in one run.

Half a million rows of each kind; one in fifty is null, one in fifty lacks the form. One name in forty has a compound
surname, which the bare kernel must find too. Each bar names its kernel: where any text may be cut, the cheapest one;
where only a form may be shown (an id, a card, a phone, a date), the pattern that recognises the form and masks it in
one go, which lets through what lacks the form and checks no digit.

Example: python -m tests.bench.masking
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from stdnum import iban, luhn

from features.datasets.sample_shop import chinese_id
from privacy.masking import mask_of
from privacy.masks.people import COMPOUND_SURNAMES
from tests.bench.bars import Bar, cpu_seconds, tell

ROWS, MOST, ROUNDS = 500_000, 2.0, 15
DISTINCT = 20_000
"""Values made one by one in Python, and then drawn from."""
BEHIND = 2**31 - 1
SURNAMES, GIVEN = "王李张刘陈杨赵黄周吴", "伟芳娜秀英敏静丽强磊军洋"
Bare = Callable[[pa.Array], pa.Array]


def bars() -> list[Bar]:
    """One ratio a mask."""
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        return [
            Bar(f"mask {name} / {kernel}", _ratio(spec, column, bare), MOST, True)
            for cases in (_plain(), _of_numbers(), _of_people(), _of_places(), _of_dates())
            for name, kernel, spec, column, bare in cases
        ]
    finally:
        pa.set_cpu_count(threads)


def _ratio(spec: Any, column: pa.Array, bare: Bare) -> float:
    """Least seconds of the mask over least seconds of the kernel, taken in turns."""
    mask, ours, theirs = mask_of(spec), [], []
    for _ in range(ROUNDS):
        ours.append(cpu_seconds(lambda: mask.apply(column), 1))
        theirs.append(cpu_seconds(lambda: bare(column), 1))
    return min(ours) / min(theirs)


Case = tuple[str, str, Any, pa.Array, Bare]


def _plain() -> Iterator[Case]:
    draw = random.Random(1)
    codes = drawn(lambda: f"AC-{draw.randrange(10**9):09d}", "")
    nothing = pa.scalar(None, pa.string())
    stars = lambda array: pc.if_else(array.is_valid(), pa.scalar("***"), nothing)  # noqa: E731
    yield "redact", "if_else", "redact", codes, stars
    yield "constant", "if_else", {"fn": "constant", "value": "withheld"}, codes, stars
    yield "partial", "utf8_replace_slice", "partial", codes, cut(1, -1)


def _of_numbers() -> Iterator[Case]:
    draw = random.Random(2)
    born = date(1950, 1, 1)
    ids = drawn(lambda: chinese_id(draw, born + timedelta(days=draw.randrange(20_000))), "110105194912310021")
    yield "national_id", "replace_substring_regex", "national_id", ids, pattern(r"^[1-9][0-9]{16}([0-9Xx])$", r"**\1")
    cards = drawn(lambda: checked(f"62{draw.randrange(10**13):013d}"), "4111111111111112")
    yield "card", "replace_substring_regex", "card", cards, pattern(r"^[0-9]{8,15}([0-9]{4})$", r"**\1")
    longer = drawn(lambda: checked(f"62{draw.randrange(10 ** draw.choice((13, 16))):013d}"), "4111111111111112")
    both = pattern(r"^([0-9]{6})[0-9]{2,9}([0-9]{4})$", r"\1**\2")
    yield "card, 前6后4", "replace_substring_regex", {"fn": "card", "first": 6}, longer, both
    accounts = drawn(lambda: an_iban(draw), "GB83WEST12345698765432")
    ends = pattern(r"^([A-Z]{2})[0-9]{2}[0-9A-Z]{7,26}([0-9A-Z]{4})$", r"\1**\2")
    yield "iban", "replace_substring_regex", "iban", accounts, ends
    mobiles = drawn(lambda: f"13{draw.randrange(10**9):09d}", "extension 7")
    chinese = pattern(r"^(1[3-9][0-9])[0-9]{4}([0-9]{4})$", r"\1****\2")
    yield "phone, 手机号", "replace_substring_regex", "phone", mobiles, chinese
    abroad = drawn(lambda: f"+44 20 7{draw.randrange(10**3):03d} {draw.randrange(10**4):04d}", "extension 7")
    prefix = r"^(\+[0-9][0-9]).*([0-9][0-9])$"
    yield "phone, abroad", "replace_substring_regex", "phone", abroad, pattern(prefix, r"\1**\2")


def _of_people() -> Iterator[Case]:
    draw = random.Random(3)
    emails = drawn(lambda: f"customer.{draw.randrange(10**8):08d}@mail.example.org", "none given")
    yield "email", "replace_substring_regex", "email", emails, pattern(r"^([^@])[^@]*", r"\1**", 1)
    surname = lambda: draw.choice(COMPOUND_SURNAMES) if draw.random() < 1 / 40 else draw.choice(SURNAMES)  # noqa: E731
    names = drawn(lambda: surname() + "".join(draw.choices(GIVEN, k=draw.choice((1, 2, 2)))), "7")
    table = pa.array(COMPOUND_SURNAMES)

    def bare_name(array: pa.Array) -> pa.Array:
        compound = pc.is_in(pc.utf8_slice_codeunits(array, 0, 2), table)
        return pc.if_else(compound, cut(2, BEHIND)(array), cut(1, BEHIND)(array))

    yield "name", "is_in, utf8_replace_slice", "name", names, bare_name
    fourth = drawn(lambda: ".".join(str(draw.randrange(256)) for _ in range(4)), "unknown")
    yield "ip, v4", "replace_substring_regex", "ip", fourth, pattern(r"[0-9]+$", "0/24")
    sixth = drawn(lambda: ":".join(["2001", "db8", *(f"{draw.randrange(1, 65536):x}" for _ in range(6))]), "unknown")
    yield "ip, v6", "replace_substring_regex", "ip", sixth, pattern(r"^([^:]+:[^:]+:[^:]+).*", r"\1::/48")


def _of_places() -> Iterator[Case]:
    draw = random.Random(4)
    streets = [
        f"{city}{part}" for city in ("北京市", "广东省深圳市", "上海市") for part in ("朝阳区", "南山区", "宁县")
    ]
    addresses = drawn(
        lambda: f"{draw.choice(streets)}建设路{draw.randrange(1, 999)}号{draw.randrange(1, 40)}室", "暂无"
    )
    yield "address", "replace_substring_regex", "address", addresses, pattern(r"^([^区县]*[区县]).*$", r"\1")
    codes = drawn(lambda: f"{draw.randrange(10**5):05d}-{draw.randrange(10**4):04d}", "Springfield")
    yield "postal_code", "utf8_replace_slice", "postal_code", codes, cut(3, BEHIND)
    regions = drawn(lambda: f"44{draw.randrange(10**4):04d}", "990000")
    area = pattern(r"^([1-8][0-9]{3})[0-9]{2}$", r"\1" + "00")
    yield "region_code", "replace_substring_regex", "region_code", regions, area


def _of_dates() -> Iterator[Case]:
    draw = np.random.default_rng(5)
    days = pa.array(draw.integers(-14_000, 12_000, ROWS).astype("datetime64[D]"), mask=draw.random(ROWS) < 1 / 50)
    texts = days.cast(pa.string())
    yield "year", "year, cast", "year", days, lambda array: pc.year(array).cast(pa.string())
    yield "month", "strftime", "month", days, lambda array: pc.strftime(array, "%Y-%m")
    month = pattern(r"^([0-9]{4}-[01][0-9])-[0-3][0-9]$", r"\1")
    yield "month of text", "replace_substring_regex", "month", texts, month
    year = pattern(r"^([0-9]{4})-[01][0-9]-[0-3][0-9]$", r"\1")
    yield "year of text", "replace_substring_regex", "year", texts, year

    def decade(array: pa.Array) -> pa.Array:
        tens = pc.divide(pc.year(array), 10).cast(pa.string())
        return pc.binary_join_element_wise(tens, "0s", "")

    yield "age_band", "year, cast, binary_join", "age_band", days, decade
    amounts = pa.array(draw.gamma(2, 50, ROWS), mask=draw.random(ROWS) < 1 / 50)
    yield "band", "case_when", {"fn": "band", "edges": [50, 100, 200]}, amounts, banded
    yield "rounded", "round", "rounded", amounts, lambda array: pc.round(array, 0)
    yield "coordinate", "round", "coordinate", pc.subtract(amounts, 100), lambda array: pc.round(array, 1)


def banded(array: pa.Array) -> pa.Array:
    """Four bands as nested conditions."""
    conditions = pa.StructArray.from_arrays([pc.less(array, edge) for edge in (50, 100, 200)], ["a", "b", "c"])
    labels = ("below 50", "50 to 100", "100 to 200", "200 and above")
    return pc.case_when(conditions, *(pa.scalar(label) for label in labels))


def cut(first: int, last: int, stars: str = "**") -> Bare:
    return lambda array: pc.utf8_replace_slice(array, first, last, stars)


def pattern(wanted: str, kept: str, times: int | None = None) -> Bare:
    return lambda array: pc.replace_substring_regex(array, wanted, kept, max_replacements=times)


def drawn(make: Callable[[], str], bad: str) -> pa.Array:
    """Half a million rows: made, null, or without the form."""
    values = pa.array([make() for _ in range(DISTINCT)] + ([bad] * (DISTINCT // 50) if bad else []))
    draw = np.random.default_rng(6)
    return values.take(pa.array(draw.integers(0, len(values), ROWS), mask=draw.random(ROWS) < 1 / 50))


def checked(digits: str) -> str:
    return digits + luhn.calc_check_digit(digits)


def an_iban(draw: random.Random) -> str:
    """German, French, British or Dutch."""
    country, letters, digits = draw.choice((("DE", 0, 18), ("FR", 0, 23), ("GB", 4, 14), ("NL", 4, 10)))
    body = "".join(draw.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=letters)) + "".join(
        draw.choices("0123456789", k=digits)
    )
    return country + iban.calc_check_digits(f"{country}00{body}") + body


if __name__ == "__main__":
    sys.exit(tell(bars()))
