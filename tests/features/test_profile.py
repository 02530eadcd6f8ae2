"""Quasi-identifiers of a shop: generalised together at ingest, held to k wherever they go, told for research alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.datasets.anonymity import profile_rule
from features.datasets.descriptor import Descriptor
from features.gateway import FeatureGateway
from features.profile import PROFILE
from privacy.classification import Purpose, Role
from privacy.demands import GROUP_FLOOR
from privacy.errors import BadInput, CheckFailed, Refused

from .conftest import AS_OF, Home, principal
from .profiles import COLUMNS, KEYED, TOWN, classes, researcher, with_profile

FILE = "generalisation.json"


def test_what_is_stored_is_generalised_and_the_rest_is_gone(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, _, descriptor = told
    store = home.paths.protected_store(descriptor.name)
    profile = store.read(PROFILE)
    assert profile.column_names == ["customer_token", *COLUMNS]
    assert profile.num_rows == 40
    assert min(classes(profile).values()) >= 3
    assert len(classes(profile)) > 4
    assert "birth_date" not in store.read("customers").column_names
    born = {str(day) for day in pq.read_table(descriptor.base_dir / "people.parquet")["born"].to_pylist()}
    assert not born & set(profile["birth_date"].to_pylist())
    kept = json.loads((store.root / FILE).read_text())
    assert (kept["version"], kept["k"]) == (1, 3)


def test_the_report_tells_what_it_came_to(home: Home, tmp_path: Path) -> None:
    report = home.ingest(with_profile(tmp_path / "shop"))
    assert report.tables["customers"].columns_dropped == ["name", "email", "phone"]
    own = report.tables[PROFILE]
    assert (own.rows_in, own.kept) == (40, 40)
    assert own.anonymity is not None
    assert own.anonymity["figures"]["k"] >= 3  # type: ignore[index]
    assert own.anonymity["dropped"] == {}


def test_later_ingests_use_what_was_fitted_and_another_k_is_another_version(home: Home, tmp_path: Path) -> None:
    descriptor = with_profile(tmp_path / "shop")
    home.ingest(descriptor)
    store = home.paths.protected_store(descriptor.name)
    before, kept = classes(store.read(PROFILE)), (store.root / FILE).read_bytes()
    people = pq.read_table(tmp_path / "shop" / "people.parquet")
    pq.write_table(people.slice(0, 37), tmp_path / "shop" / "people.parquet")
    home.ingest(descriptor)
    after = classes(store.read(PROFILE))
    assert (store.root / FILE).read_bytes() == kept
    assert set(after) <= set(before)
    assert min(after.values()) >= 3
    home.ingest(with_profile(tmp_path / "again", lambda customers: customers["anonymity"].update(k=7)))
    assert json.loads((store.root / FILE).read_text())["version"] == 2
    assert min(classes(store.read(PROFILE)).values()) >= 7


def test_columns_that_cannot_be_told_are_dropped_with_the_reason(home: Home, tmp_path: Path) -> None:
    def spoil(customers: dict[str, Any]) -> None:
        customers["columns"]["town"]["hierarchy"] = ["Arles"]
        customers["columns"]["same"] = {"sql": "1", "type": "int", "sensitivity": "quasi_identifier"}

    descriptor = with_profile(tmp_path / "shop", spoil)
    own = home.ingest(descriptor).tables[PROFILE]
    assert own.anonymity is not None
    assert own.anonymity["dropped"] == {
        "town": "16 rows have a value of town that its hierarchy lacks: 16 of 40 rows would be suppressed, "
        "max_suppression allows 2; mend its values or its hierarchy, or give it a mask",
        "same": "nothing is left of it at k=3: of 40 people 40 have it, 40 alike, in 1 different values; "
        "a hierarchy, a mask or a lower k (anonymity) may leave something",
    }
    assert home.paths.protected_store(descriptor.name).read(PROFILE).column_names == ["customer_token", "birth_date"]


def test_too_few_people_are_told_nothing_of(home: Home, tmp_path: Path) -> None:
    descriptor = with_profile(tmp_path / "shop", lambda customers: customers["anonymity"].update(k=41))
    own = home.ingest(descriptor).tables[PROFILE]
    assert own.kept == 0
    assert own.anonymity is not None
    assert own.anonymity["dropped"] == dict.fromkeys(
        COLUMNS,
        "k=41 is more than the table's 40 rows; more people, a lower k, l or t (anonymity), or masks let them be told",
    )
    assert not (home.paths.protected_store(descriptor.name).root / FILE).exists()
    home.build(descriptor)
    gateway = home.gateway()
    gateway.apply(descriptor)
    assert [info.name for info in gateway.services()] == ["churn_v1", "clv_v1", "insight_v1"]


def test_it_is_told_for_research_and_enters_no_model(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, gateway, _ = told
    services = {info.name: info for info in gateway.services()}
    assert services["profile_v1"].features == tuple(COLUMNS)
    assert services["profile_v1"].purposes == (Purpose.RESEARCH,)
    assert not {*COLUMNS} & {*services["churn_v1"].features, *services["clv_v1"].features}
    names = pq.read_table(home.root.parent / "shop" / "people.parquet")["customer"].to_pylist()[:5]
    known = home.tokens(names, "research")
    answer = gateway.online(researcher(), "profile_v1", [*known, "rsc_unknown"])
    assert answer.present.tolist() == [True] * 5 + [False]
    assert answer.columns == ()
    protected = home.paths.protected_store("corner_shop").read(PROFILE).to_pylist()
    texts = {row["customer_token"]: row for row in protected}
    own = [home.subject(name).tokens[0] for name in names]
    assert answer.texts["town"] == [texts[token]["town"] for token in own] + [None]
    offline = gateway.snapshot_rows(researcher(), "profile_v1", AS_OF)
    assert classes(offline) == classes(home.paths.protected_store("corner_shop").read(PROFILE))
    with pytest.raises(Refused, match="service profile_v1 does not serve the purpose retention"):
        gateway.snapshot_rows(principal(), "profile_v1", AS_OF)
    with pytest.raises(Refused):
        gateway.snapshot_rows(principal(Role.MARKETER, Purpose.RESEARCH), "profile_v1", AS_OF)


def test_a_view_below_its_k_is_neither_applied_nor_materialised(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, gateway, descriptor = told
    path = home.paths.feature_store(descriptor.name).directory() / "manifest.json"
    notes = json.loads(path.read_text())
    notes["tables"][PROFILE]["k"] = 30
    path.write_text(json.dumps(notes))
    for refused in (lambda: gateway.apply(descriptor), lambda: gateway.materialize(principal(), AS_OF)):
        with pytest.raises(CheckFailed, match=r"the view profile: .* fewer than k=30 rows"):
            refused()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anonymity": {"k": 1}}, "anonymity.k"),
        ({"anonymity": {"k": 3, "columns": ["name"]}}, "anonymity of 'customers' can't generalise 'name'"),
        ({"anonymity": {"k": 3, "l": 2}}, "anonymity of 'customers' has l or t, but no 'sensitive' column"),
        ({"anonymity": {"k": 3, "sensitive": ["wealth"]}}, "names 'wealth' as sensitive: no such column"),
        ({"anonymity": {"k": 3, "sensitive": COLUMNS}}, "has no quasi-identifier without a mask"),
        ({"anonymity": {"k": 3, "l": 2, "entropy_l": 2, "sensitive": ["town"]}}, "names both l and entropy_l"),
        (
            {"columns": {**KEYED, "town": {**TOWN, "mask": "redact"}}},
            "column 'customers.town' has a hierarchy that nothing uses",
        ),
    ],
)
def test_what_a_descriptor_may_not_ask_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        with_profile(tmp_path / "shop", lambda customers: customers.update(change), customers=4)
    assert said in str(refused.value)


def test_hierarchies_with_cycles_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    def circle(customers: dict[str, Any]) -> None:
        customers["columns"]["town"]["hierarchy"] = {"Arles": "France", "France": "Arles"}

    with pytest.raises(BadInput, match=r"the hierarchy of customers\.town goes in a circle"):
        with_profile(tmp_path / "shop", circle, customers=4)


def test_without_a_word_of_anonymity_the_floor_and_the_defaults_hold(tmp_path: Path) -> None:
    def plain(customers: dict[str, Any]) -> None:
        del customers["anonymity"], customers["columns"]["town"]["hierarchy"]
        customers["columns"]["code"] = {"sql": "email", "type": "string", "sensitivity": "quasi_identifier"}
        customers["columns"]["visits"] = {"sql": "length(phone)", "type": "int", "sensitivity": "quasi_identifier"}

    home, descriptor = Home.create(tmp_path / "home"), with_profile(tmp_path / "shop", plain, customers=80)
    assert descriptor.tables["customers"].anonymity is None
    report = home.ingest(descriptor)
    own = report.tables[PROFILE]
    assert own.anonymity is not None
    assert own.anonymity["k"] == GROUP_FLOOR == 10
    assert list(own.anonymity["dropped"]) == ["code", "visits"]  # type: ignore[call-overload]
    assert own.anonymity["dropped"]["code"].startswith(  # type: ignore[index]
        "nothing is left of it at k=10: of 80 people 80 have it, 1 alike, in 80 different values; "
    )
    profile = home.paths.protected_store(descriptor.name).read(PROFILE)
    assert profile.column_names == ["customer_token", *COLUMNS]
    assert profile.num_rows == 80
    assert min(classes(profile).values()) >= 10
    assert set(profile["town"].to_pylist()) <= {"Arles", "Basel", "*"}
    assert len(classes(profile)) > 1
    assert report.tables["customers"].columns_dropped == ["name", "email", "phone"]


def test_anonymity_overrides_what_it_names(tmp_path: Path) -> None:
    def some(customers: dict[str, Any]) -> None:
        customers["anonymity"] = {"max_suppression": 0.2}

    rule = profile_rule(with_profile(tmp_path / "shop", some, customers=4).tables["customers"])
    assert rule is not None
    assert (rule.columns, rule.demands.k, rule.max_suppression) == (tuple(COLUMNS), GROUP_FLOOR, 0.2)
    assert profile_rule(with_profile(tmp_path / "again", customers=4).tables["transactions"]) is None


def test_a_shop_can_keep_its_quasi_identifiers_out(home: Home, tmp_path: Path) -> None:
    descriptor = with_profile(tmp_path / "shop", lambda customers: customers["anonymity"].update(columns=[]))
    report = home.ingest(descriptor)
    assert PROFILE not in report.tables
    assert report.tables["customers"].columns_dropped == ["name", "email", "phone", *COLUMNS]


def test_what_told_nothing_is_not_kept_so_that_more_people_are_cut_anew(home: Home, tmp_path: Path) -> None:
    def plain(customers: dict[str, Any]) -> None:
        del customers["anonymity"]

    few = with_profile(tmp_path / "few", plain, customers=12)
    assert home.ingest(few).tables[PROFILE].kept == 0
    store = home.paths.protected_store(few.name)
    assert not (store.root / FILE).exists()
    home.ingest(with_profile(tmp_path / "many", plain, customers=60))
    assert len(classes(store.read(PROFILE))) > 1
    assert min(classes(store.read(PROFILE)).values()) >= 10
