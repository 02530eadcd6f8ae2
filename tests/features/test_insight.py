"""Bands among all customers, by hand; no band of few people is told; the transition matrix; who may read them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.build import FEATURES
from features.datasets.descriptor import Descriptor
from features.engine import DuckDb
from features.gateway import FeatureGateway
from features.small_bands import LEAST_PEOPLE, joined_bands, transition_shares, without_small_bands
from features.transforms.feature import windows_for
from features.transforms.insight import insight, transitions
from features.transforms.registry import every_feature
from features.transforms.vocabulary import STAGES, VALUE_TIERS
from mlproject.pipelines.lifecycle import transition_lines
from privacy.classification import Purpose, Role
from privacy.errors import Refused

from .conftest import AS_OF, Home, principal

Served = tuple[Home, FeatureGateway, Descriptor]
T = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
BANDED = [feature for feature in every_feature() if feature.bands]


def told(moments: Sequence[dt.datetime] | None = None, **columns: Sequence[float]) -> list[dict[str, str]]:
    """The bands of customers whose other features are `columns`; what isn't given is the same for all."""
    count = len(next(iter(columns.values())))
    usual = {"recency_days": 7.0, "tenure_days": 84.0, "orders_84d": 4.0, "spend_84d": 40.0, "decayed_spend_28": 10.0,
             "decayed_spend_84": 30.0}  # fmt: skip
    numbers = {name: pa.array(columns.get(name, [value] * count), pa.float64()) for name, value in usual.items()}
    keys = {
        "customer_token": [f"c{number:03d}" for number in range(count)],
        "event_timestamp": pa.array(moments or [T] * count, pa.timestamp("us", "UTC")),
    }
    with DuckDb(threads=1).connect() as connection:
        known = connection.place(pa.table(keys | numbers), "known")
        found = insight(known, windows_for(False)).to_pyarrow()
    return found.sort_by([("customer_token", "ascending")]).to_pylist()


def test_value_tiers_hold_1_4_15_30_and_50_per_cent() -> None:
    tiers = [row["value_tier"] for row in told(decayed_spend_84=[float(number) for number in range(100)])]
    assert tiers == ["base"] * 50 + ["middle"] * 30 + ["upper"] * 15 + ["high"] * 4 + ["top"]


def test_equals_share_the_lower_tier_and_fifth() -> None:
    spend = [0.0] * 60 + [5.0] * 30 + [9.0] * 10
    rows = told(decayed_spend_84=spend, orders_84d=spend)
    # 10 of 100 have the most: all are within the best 20 %, not within 5.
    assert Counter(row["value_tier"] for row in rows) == {"base": 60, "middle": 30, "upper": 10}
    # 0 of 100 have less than the 60, 60 than the 30, 90 than the 10.
    assert Counter(row["frequency_quintile"] for row in rows) == {"1": 60, "4": 30, "5": 10}
    assert {row["value_tier"] for row in told(decayed_spend_84=[7.0] * 30)} == {"base"}


def test_the_named_tier_of_every_three_quintiles() -> None:
    triples = list(product((1, 2, 3, 4, 5), repeat=3))
    rows = told(
        recency_days=[float(60 - 10 * r) for r, _, _ in triples],
        orders_84d=[float(f) for _, f, _ in triples],
        spend_84d=[float(m) for _, _, m in triples],
    )
    found = [(row["recency_quintile"], row["frequency_quintile"], row["monetary_quintile"]) for row in rows]
    assert found == [tuple(map(str, triple)) for triple in triples]
    by_triple = {triple: row["rfm_tier"] for triple, row in zip(triples, rows, strict=True)}
    assert Counter(by_triple.values()) == {
        "champions": 2 * 2 * 2, "loyal": 2 * 2 * 3 + 2 * 5, "big spenders": 3 * 3 * 2, "promising": 2 * 3 * 3,
        "steady": 3 * 3, "at risk": 2 * (25 - 9), "hibernating": 2 * 9,
    }  # fmt: skip
    by_hand = {(5, 5, 5): "champions", (4, 4, 3): "loyal", (3, 5, 5): "loyal", (5, 1, 5): "big spenders",
               (5, 1, 1): "promising", (3, 3, 3): "steady", (2, 4, 1): "at risk", (1, 1, 4): "at risk",
               (2, 3, 3): "hibernating"}  # fmt: skip
    assert {triple: by_triple[triple] for triple in by_hand} == by_hand


def test_the_trend_is_the_faster_pace_over_the_slower() -> None:
    # A day's spend, faded over 28 days, is a third of it faded over 84: 10 beside 30 is steady.
    rows = told(decayed_spend_28=[10.0, 12.5, 12.4, 8.0, 7.9, -1.0, 5.0], decayed_spend_84=[30.0] * 6 + [-2.0])
    trends = [row["value_trend"].split()[1] for row in rows]
    assert trends == ["steady", "rising", "steady", "steady", "falling", "falling", "falling"]
    assert {row["value_trend"].split()[0] for row in rows} == {"base"}


def test_stages_by_hand() -> None:
    recency = [1.0, 28.0, 28.01, 56.0, 56.01, 84.0, 84.01, 1.0, 1.0]
    rows = told(recency_days=recency, tenure_days=[84.0] * 7 + [28.0, 28.01])
    assert [row["stage"] for row in rows] == [
        "active", "active", "slipping", "slipping", "dormant", "dormant", "lost", "new", "active",
    ]  # fmt: skip


def test_each_cutoff_has_ranks_of_its_own() -> None:
    moments = [T] * 100 + [T + dt.timedelta(days=28)] * 10
    rows = told(moments, decayed_spend_84=[*map(float, range(100)), *(1_000.0 + number for number in range(10))])
    assert [row["value_tier"] for row in rows[:100]].count("top") == 1
    assert [row["value_tier"] for row in rows[100:]] == ["base"] * 5 + ["middle"] * 3 + ["upper"] * 2


@given(st.lists(st.integers(0, 12), min_size=1, max_size=15), st.integers(1, 12))
def test_every_told_band_has_enough_people(counts: list[int], least: int) -> None:
    places = joined_bands(counts, least)
    people: Counter[int | None] = Counter()
    for place, count in zip(places, counts, strict=True):
        people[place] += count
    if sum(counts) < least:
        assert places == [None] * len(counts)
        return
    assert all(people[place] >= least for place in places)
    told_as = [place for place in places if place is not None]
    assert told_as == sorted(told_as)
    assert len(told_as) == len(counts)
    assert all(place == band for band, place in enumerate(places) if counts[band] >= least)


def test_small_bands_are_joined_at_each_cutoff_by_itself() -> None:
    [tier] = [feature for feature in BANDED if feature.name == "value_tier"]
    later = T + dt.timedelta(days=28)
    tiers = ["top"] * 2 + ["high"] * 4 + ["upper"] * 9 + ["base"] * 3
    moments = [T] * len(tiers) + [later] * 4 + [later + dt.timedelta(days=28)] * 5
    table = pa.table({
        "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC")), "value_tier": [*tiers, *["top"] * 9],
    })  # fmt: skip
    found = without_small_bands(table, [tier], least=5)["value_tier"].to_pylist()
    assert found == ["high"] * 6 + ["upper"] * 12 + [None] * 4 + ["top"] * 5


def test_the_transition_matrix_counts_pairs_so_many_days_apart() -> None:
    moves = {"a": ["new", "active", "active"], "b": ["new", "slipping", "dormant"], "c": ["active"]}
    rows = [
        {"customer_token": who, "event_timestamp": T + dt.timedelta(days=28 * at), "stage": stage}
        for who, stages in moves.items()
        for at, stage in enumerate(stages)
    ]
    rows.append({"customer_token": "d", "event_timestamp": T, "stage": None})
    with DuckDb(threads=1).connect() as connection:
        stages = connection.place(pa.Table.from_pylist(rows), "stages")
        found = transitions(stages, 28).to_pyarrow().to_pylist()
        assert transitions(stages, 27).to_pyarrow().num_rows == 0
    assert {(row["stage"], row["later"]): row["times"] for row in found} == {
        ("new", "active"): 1, ("new", "slipping"): 1, ("active", "active"): 1, ("slipping", "dormant"): 1,
    }  # fmt: skip


def test_who_moves_often_is_one_person_of_a_cell() -> None:
    moves = {f"c{number}": ["active", "active", "active"] for number in range(6)}
    often = ["active", "slipping", "active", "slipping", "active", "slipping", "active", "slipping", "active"]
    rows = [
        {"customer_token": who, "event_timestamp": T + dt.timedelta(days=28 * at), "stage": stage}
        for who, stages in {**moves, "once and again": often}.items()
        for at, stage in enumerate(stages)
    ]
    # 12 times from active to active, 4 times one person's to slipping: too few people for a cell, and for a stage.
    told = {"new": 0.0, "active": 1.0, "slipping": None, "dormant": 0.0, "lost": 0.0}
    assert transition_shares(pa.Table.from_pylist(rows), 28, least=3) == {"active": told}


def test_the_matrix_is_told_without_cells_of_few_people() -> None:
    moves = {("new", "active"): 12, ("new", "slipping"): 3, ("new", "dormant"): 5, ("active", "active"): 8,
             ("slipping", "lost"): 4}  # fmt: skip
    pairs = [pair for pair, people in moves.items() for _ in range(people)]
    rows = [
        {"customer_token": f"c{number}", "event_timestamp": T + dt.timedelta(days=28 * at), "stage": stage}
        for number, pair in enumerate(pairs)
        for at, stage in enumerate(pair)
    ]
    # The 3 slipping are told with the 5 dormant; of whom there are 4 nothing is told.
    assert transition_shares(pa.Table.from_pylist(rows), 28, least=5) == {
        "new": {"new": 0.0, "active": 0.6, "slipping": None, "dormant": 0.4, "lost": 0.0},
        "active": {"new": 0.0, "active": 1.0, "slipping": 0.0, "dormant": 0.0, "lost": 0.0},
    }


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=2), st.integers(2, 6))
def test_the_shares_of_a_stage_add_up_and_a_joined_cell_is_no_zero(people: list[list[int]], least: int) -> None:
    pairs = [
        (stage, later)
        for stage, row in zip(STAGES, people, strict=False)
        for later, count in zip(STAGES, row, strict=True)
        for _ in range(count)
    ]
    rows = [
        {"customer_token": f"c{number}", "event_timestamp": T + dt.timedelta(days=28 * at), "stage": stage}
        for number, pair in enumerate(pairs)
        for at, stage in enumerate(pair)
    ]
    schema = pa.schema(
        {"customer_token": pa.string(), "event_timestamp": pa.timestamp("us", "UTC"), "stage": pa.string()}
    )
    found = transition_shares(pa.Table.from_pylist(rows, schema), 28, least)
    assert set(found) == {stage for stage, row in zip(STAGES, people, strict=False) if sum(row) >= least}
    for stage, row in zip(STAGES, people, strict=False):
        shares = list(found.get(stage, {}).values())
        assert not shares or sum(round(1_000 * (share or 0)) for share in shares) == 1_000
        for count, share in zip(row, shares, strict=False):
            assert (share == 0.0) == (count == 0)  # nobody is nobody, and few are not
            assert share is not None or count < least


def test_the_printed_matrix_says_what_is_joined_and_what_is_not_told() -> None:
    shares = {"new": {"new": 0.0, "active": 0.6, "slipping": None, "dormant": 0.4, "lost": 0.0}}
    told = {"days": 28, "cutoffs": ["2024-03-01", "2024-03-29"], "left_out": [], "k": 5, "shares": shares}
    lines = list(transition_lines(told))
    assert lines[3].split() == ["new", "0.0", "60.0", "joined", "40.0", "0.0"]
    assert lines[4] == "active        fewer than 5 people: not told"
    assert lines[-1].startswith("joined: fewer than 5 people, counted with the next stage to the right")
    whole = {**told, "shares": {stage: dict.fromkeys(STAGES, 0.2) for stage in STAGES}}
    assert not [line for line in transition_lines(whole) if "fewer" in line]


def test_what_is_built_tells_no_band_of_few_people(served: Served) -> None:
    home, _, descriptor = served
    table = home.paths.feature_store(descriptor.name).read(FEATURES)
    moments = table["event_timestamp"].to_pylist()
    people = Counter(moments)
    assert people[AS_OF] == 40
    for feature in BANDED:
        cells = Counter(zip(moments, table[feature.name].to_pylist(), strict=True))
        assert {band for _, band in cells} - {None} <= set(feature.bands)
        for (moment, band), count in cells.items():
            assert count >= LEAST_PEOPLE or band is None
            assert band is not None or people[moment] < LEAST_PEOPLE


def test_insight_is_read_for_value_and_never_by_models(served: Served) -> None:
    home, gateway, _ = served
    planner = principal(Role.MARKETER, Purpose.VALUE)
    rows = gateway.snapshot_rows(planner, "insight_v1", AS_OF)
    assert rows.column_names[2:] == [feature.name for feature in BANDED]
    assert set(rows["stage"].to_pylist()) <= set(STAGES)
    tokens = home.tokens(["c00001", "c00002"], "value")
    online = gateway.online(planner, "insight_v1", [*tokens, "nonsense"])
    assert online.values.shape == (3, 0)
    by_token = {row["customer_token"]: row for row in rows.to_pylist()}
    for at, customer in enumerate(["c00001", "c00002"]):
        own = by_token[home.subject(customer).tokens[0]]
        assert {name: values[at] for name, values in online.texts.items()} == {f.name: own[f.name] for f in BANDED}
        assert own["value_tier"] in VALUE_TIERS
    assert [values[2] for values in online.texts.values()] == [None] * len(BANDED)
    np.testing.assert_array_equal(online.present, [True, True, False])


@pytest.mark.parametrize(
    ("role", "purpose", "action"),
    [
        (Role.ADMIN, Purpose.RETENTION, "features.read"),
        (Role.ADMIN, Purpose.MARKETING, "features.read"),  # rests on consent, and no ledger is kept
        (Role.DATA_SCIENTIST, Purpose.VALUE, "train"),
        (Role.DATA_SCIENTIST, Purpose.VALUE, "score"),
        (Role.CRM_SERVICE, Purpose.VALUE, "features.read"),
    ],
)
def test_nobody_else_reads_insight(served: Served, role: Role, purpose: Purpose, action: str) -> None:
    with pytest.raises(Refused):
        served[1].snapshot_rows(principal(role, purpose), "insight_v1", AS_OF, action=action)
