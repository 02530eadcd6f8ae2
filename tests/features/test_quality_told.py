"""What may be seen of a scorecard, what is asked of it, and a run that it stops: nothing published, all told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.checking.check import check
from features.datasets.descriptor import Descriptor, load_descriptor
from features.datasets.quality import Quality
from features.ingest import ingest
from features.quality.history import QualityHistory
from features.quality.scores import Measure, TableScores
from features.quality.thresholds import breaches_of, refusal
from features.quality.told import Card, Count, Score, TableCard, least_count, table_card
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.treatment import Protector
from tests.shops import make_shop, shop_document, write_descriptor
from tests.small_disk import all_but, mounted

from .conftest import NOW, Home
from .profiles import with_profile

K = 10


def scores(rows: int, **bad: int) -> TableScores:
    """A table of so many rows, with so many invalid and missing in each named column."""
    measures = [Measure(name, "validity", count) for name, count in bad.items()]
    return TableScores("transactions", rows, measures, {"amount": bad.get("amount", 0)}, returns=bad.get("amount", 0))


def test_counts_of_few_are_bounds() -> None:
    card = table_card(scores(1_000, amount=9, quantity=10, discount=0, coupon=993), K)
    told = {name: own.scores["validity"] for name, own in card.columns.items()}
    assert told == {
        "amount": Score(value=0.991, bound="at least"),
        "quantity": Score(value=0.99),
        "discount": Score(value=1.0),
        "coupon": Score(value=0.009, bound="at most"),
    }
    assert card.scores["validity"] == Score(value=0.7475, bound="about")
    assert (card.returns, card.columns["amount"].outliers) == (Count(rows=None), Count(rows=None))
    assert table_card(scores(9, amount=0), K) == TableCard(rows=Count(rows=None))
    assert table_card(scores(0), K).scores == {}


@given(st.integers(30, 5_000), st.integers(1, K - 1), st.integers(1, K - 1), st.integers(0, 30))
def test_how_few_cannot_be_told_from_the_card(rows: int, few: int, other: int, many: int) -> None:
    first = scores(rows, amount=few, quantity=rows - few, discount=many)
    second = scores(rows, amount=other, quantity=rows - other, discount=many)
    assert table_card(first, K) == table_card(second, K)


@given(st.integers(1, 3_000_000), st.data())
def test_a_bound_holds_and_only_the_perfect_is_100_percent(rows: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, rows))
    card = table_card(scores(rows, price=wrong), K)
    if rows < K:
        assert card.scores == {}
        return
    told, exact = card.scores["validity"], (rows - wrong) / rows
    assert {"exact": exact - 1e-6 <= told.value <= exact, "at least": told.value <= exact,
            "at most": told.value >= exact - 1e-6}[told.bound]  # fmt: skip
    assert (told.value == 1) == (wrong == 0)


def test_the_fewest_are_the_shops_own_k_or_the_floor(tmp_path: Path) -> None:
    assert least_count(load_descriptor(str(make_shop(tmp_path / "plain", customers=2)))) == 10
    assert least_count(with_profile(tmp_path / "profile")) == 5  # it asks for 3
    assert least_count(load_descriptor("complete_journey")) == 5


def test_a_breach_says_where_what_and_how_much() -> None:
    found = scores(1_000, amount=100, quantity=4, discount=0)
    found.rows_before, found.age_days = 4_000, 12
    asked = Quality.model_validate(
        {
            "validity": 0.999,
            "volume": 0.5,
            "tables": {
                "transactions": {
                    "max_age_days": 7,
                    "min_rows": 2_000,
                    "on_breach": "stop",
                    "columns": {
                        "quantity": {"validity": 1, "on_breach": "warn"},
                        "amount": {"validity": 0.9},
                        "discount": {"validity": 1},
                    },
                },
                "customers": {"validity": 1},
            },
        }
    )
    breaches = breaches_of(found, table_card(found, K), asked, K)
    assert [(breach.line(), breach.on_breach) for breach in breaches] == [
        ("validity of transactions is at least 0.963666 (least in amount: 0.9), wanted 0.999", "stop"),
        ("volume of transactions is 0.25, wanted 0.5", "stop"),
        ("volume of transactions is 1,000 rows, wanted 2,000 rows", "stop"),
        ("timeliness of transactions is 12 days (its newest row), wanted at most 7 days", "stop"),
        ("validity of transactions.quantity is at least 0.991, wanted 1", "warn"),
    ]
    assert str(refusal(breaches)).startswith(f"{breaches[0].line()} (and 3 more); mend the source")
    assert refusal(breaches[-1:]) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"completness": 1}, "the descriptor has an unknown key 'quality.completness'"),
        ({"validity": 1.2}, "the descriptor: quality.validity: input should be less than or equal to 1"),
        ({"validity": float("nan")}, "the descriptor: quality.validity: input should be a finite number"),
        ({"on_breach": "halt"}, "the descriptor: quality.on_breach: input should be 'warn' or 'stop'"),
        ({"tables": {"tranactions": {}}}, "quality: there is no table 'tranactions'; mend the name"),
        (
            {"tables": {"transactions": {"columns": {"colour": {}}}}},
            "quality: there is no column 'transactions.colour'",
        ),
        ({"tables": {"transactions": {"columns": {"amount": {"volume": 1}}}}}, "unknown key"),
        (
            {"tables": {"customers": {"columns": {"email": {"uniqueness": 1}}}}},
            "quality: uniqueness of 'customers.email' isn't measured",
        ),
        ({"tables": {"transactions": {"timeliness": 1}}}, "quality: timeliness of 'transactions' isn't measured"),
        ({"tables": {"customers": {"max_age_days": 3}}}, "quality: max_age_days of 'customers' can't be measured"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write_descriptor(tmp_path, {**shop_document(), "quality": asked})
    with pytest.raises(BadInput) as refused:
        load_descriptor(str(path))
    assert said in str(refused.value).replace(" (shop.yaml)", "")


def test_a_check_tells_all_that_is_asked_in_vain(tmp_path: Path) -> None:
    asked = {"validty": 1, "tables": {"customers": {"timeliness": 1}, "tranactions": {}}}
    path = make_shop(tmp_path, customers=3, quality=asked)
    found = check(str(path), now=NOW)
    assert (found.status, [(each.code, each.what.split(" (")[0]) for each in found.findings][:2]) == (
        2,
        [
            ("unknown_key", "the descriptor has an unknown key 'quality.validty'"),
            ("refused", "quality: timeliness of 'customers' isn't measured"),
        ],
    )
    assert found.rows["customers"] == 3  # its data were looked at all the same


def test_what_is_asked_leaves_the_digest_of_the_shop_alone(tmp_path: Path) -> None:
    plain = load_descriptor(str(write_descriptor(tmp_path, shop_document())))
    strict = load_descriptor(str(write_descriptor(tmp_path, {**shop_document(), "quality": {"validity": 1}})))
    assert plain.digest() == strict.digest()


def brought_in(home: Home, descriptor: Descriptor, history: QualityHistory) -> Card:
    into = dataclasses.replace(home.destinations(descriptor), history=history)
    return ingest(descriptor, protector=Protector(home.vault, home.keyring), into=into, now=NOW).quality


def spoil(folder: Path, rows: slice, **values: Any) -> None:
    path = folder / "lines.parquet"
    lines = pq.read_table(path).to_pandas()
    for name, value in values.items():
        lines.loc[rows, name] = value
    lines.to_parquet(path)


def held(home: Home) -> dict[str, bytes]:
    """Every file of the stores and the quarantine, and who is in the vault."""
    places = [home.root / "protected" / "corner_shop" / "snapshots", home.root / "quarantine", home.root / "inference"]
    files = {str(path): path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}
    return files | {"vault": str(home.vault.find(pa.array(["c00001", "newcomer"]))[1].tolist()).encode()}


def test_a_stop_publishes_nothing_and_a_warning_everything(home: Home, tmp_path: Path) -> None:
    shop, history = make_shop(tmp_path / "shop", customers=20), QualityHistory(tmp_path / "quality.jsonl")
    first = brought_in(home, load_descriptor(str(shop)), history)
    assert (first.outcome, first.breaches) == ("kept", [])
    assert "volume" not in first.tables["transactions"].scores
    before = held(home)
    spoil(shop.parent, slice(0, 20), price=None)
    spoil(shop.parent, slice(30, 30), customer="newcomer")
    asked = {"tables": {"transactions": {"columns": {"amount": {"completeness": 1, "on_breach": "stop"}}}}}
    strict = load_descriptor(str(write_descriptor(shop.parent, {**shop_document(), "quality": asked})))
    rows = first.tables["transactions"].rows.rows or 0
    found = f"{(rows - 21) / rows - 5e-7:.6f}".rstrip("0")
    with pytest.raises(CheckFailed, match=rf"^completeness of transactions.amount is {found}, wanted 1; mend"):
        brought_in(home, strict, history)
    assert held(home) == before
    lenient = load_descriptor(str(write_descriptor(shop.parent, {**shop_document(), "quality": {"completeness": 1}})))
    last = brought_in(home, lenient, history)
    assert held(home) != before
    assert [card.outcome for card in history.cards()] == ["kept", "stopped", "kept"]
    assert history.cards()[-1] == last
    assert {breach.on_breach for breach in last.breaches} == {"warn"}
    assert last.tables["transactions"].scores["volume"] == Score(value=1.0)


def test_a_refused_source_leaves_no_scorecard(home: Home, tmp_path: Path) -> None:
    shop, history = make_shop(tmp_path / "shop", customers=5), QualityHistory(tmp_path / "quality.jsonl")
    spoil(shop.parent, slice(None), price=float("inf"))
    with pytest.raises(BadInput, match=r"column 'transactions\.amount' is too large in"):
        brought_in(home, load_descriptor(str(shop)), history)
    assert history.cards() == []


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}\n', "[]\n", '{"moment": 3}\n'])
def test_a_damaged_history_is_refused_before_anything_is_done(home: Home, tmp_path: Path, text: str) -> None:
    path = tmp_path / "quality.jsonl"
    path.write_text(text)
    with pytest.raises(EnvironmentFailed, match="the quality history is damaged"):
        brought_in(home, load_descriptor(str(make_shop(tmp_path / "shop", customers=2))), QualityHistory(path))
    assert path.read_text() == text
    assert home.paths.protected_store("corner_shop").snapshot() is None


def test_a_history_without_room_is_told_and_fails_nothing_that_is_published(home: Home, tmp_path: Path) -> None:
    descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=4)))
    with mounted(tmp_path / "disk", 100) as disk:
        history = QualityHistory(disk / "quality.jsonl")
        into = dataclasses.replace(home.destinations(descriptor), history=history)
        protector = Protector(home.vault, home.keyring)
        reports = []
        for spare in (60_000, 0, 60_000):
            with all_but(disk, spare):
                reports.append(ingest(descriptor, protector=protector, into=into, now=NOW))
        assert [report.unkept == "" for report in reports] == [True, False, True]
        assert "cannot write: No space left on device" in reports[1].unkept
        assert [card.outcome for card in history.cards()] == ["kept"] * 2
        assert home.paths.protected_store("corner_shop").snapshot() == reports[2].snapshot
        assert not list(disk.glob(".*.tmp"))
