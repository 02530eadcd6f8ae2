"""Quasi-identifiers of a shop: generalised together at ingest, held to k wherever they go, told for research alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from features.datasets.descriptor import Descriptor, load_descriptor
from features.gateway import FeatureGateway
from features.profile import PROFILE
from privacy.classification import Purpose, Role
from privacy.errors import BadInput, CheckFailed, Refused
from tests.shops import make_shop

from .conftest import AS_OF, Home, principal

TOWNS = ("Arles", "Arles", "Arles", "Basel", "Basel")
COLUMNS = ["birth_date", "town"]
FILE = "generalisation.json"


def with_profile(folder: Path, change: Callable[[dict[str, Any]], object] | None = None, **options: Any) -> Descriptor:
    """A shop whose customers have a birth date and a town, to be told in classes of three."""
    path = make_shop(folder, **{"customers": 40, **options})
    people = pq.read_table(folder / "people.parquet")
    towns = [TOWNS[at % len(TOWNS)] for at in range(people.num_rows)]
    pq.write_table(people.append_column("town", [towns]), folder / "people.parquet")
    document = yaml.safe_load(path.read_text())
    customers = document["tables"]["customers"]
    customers["columns"]["town"] = {
        "from": "town", "sensitivity": "quasi_identifier", "hierarchy": {"France": ["Arles"], "Swiss": ["Basel"]},
    }  # fmt: skip
    customers["anonymity"] = {"k": 3}
    if change is not None:
        change(customers)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_descriptor(str(path))


@pytest.fixture
def told(tmp_path: Path) -> tuple[Home, FeatureGateway, Descriptor]:
    home = Home.create(tmp_path / "home")
    descriptor = with_profile(tmp_path / "shop")
    home.ingest(descriptor)
    home.build(descriptor)
    gateway = home.gateway()
    gateway.apply(descriptor)
    gateway.materialize(principal(), AS_OF)
    return home, gateway, descriptor


def researcher() -> Any:
    return principal(Role.DATA_SCIENTIST, Purpose.RESEARCH)


def classes(table: pa.Table) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))


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
        "max_suppression allows 2",
        "same": "nothing is left of it at k=3",
    }
    assert home.paths.protected_store(descriptor.name).read(PROFILE).column_names == ["customer_token", "birth_date"]


def test_too_few_people_are_told_nothing_of(home: Home, tmp_path: Path) -> None:
    descriptor = with_profile(tmp_path / "shop", lambda customers: customers["anonymity"].update(k=41))
    own = home.ingest(descriptor).tables[PROFILE]
    assert own.kept == 0
    assert own.anonymity is not None
    assert own.anonymity["dropped"] == dict.fromkeys(COLUMNS, "k=41 is more than the table's 40 rows")
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
    path.write_text(json.dumps({**notes, "profile_k": 30}))
    for refused in (lambda: gateway.apply(descriptor), lambda: gateway.materialize(principal(), AS_OF)):
        with pytest.raises(CheckFailed, match=r"the view profile: .* fewer than k=30 rows"):
            refused()


def test_a_class_that_an_erasure_made_too_small_is_told_no_more(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, gateway, descriptor = told
    store, protected = home.paths.feature_store(descriptor.name), home.paths.protected_store(descriptor.name)
    rows = protected.read(PROFILE)
    smallest, size = min(classes(rows).items(), key=lambda item: (item[1], item[0]))
    members = [row["customer_token"] for row in rows.to_pylist() if tuple(row[name] for name in COLUMNS) == smallest]
    names = pq.read_table(descriptor.base_dir / "people.parquet")["customer"].to_pylist()
    tokens = {home.subject(name).tokens[0]: name for name in names}
    for member in members[: size - 2]:  # two are left
        subject = home.subject(tokens[member])
        assert sum(place.erase(subject) for place in gateway.subject_stores()) >= 3
        assert all(place.verify(subject) == 0 for place in gateway.subject_stores())
    left = home.tokens([tokens[member] for member in members[size - 2 :]], "research")
    assert smallest not in classes(gateway.snapshot_rows(researcher(), "profile_v1", AS_OF))
    gateway.materialize(principal(), AS_OF)
    assert gateway.online(researcher(), "profile_v1", left).texts == {name: [None, None] for name in COLUMNS}
    home.build(descriptor)
    gateway.apply(descriptor)
    assert smallest not in classes(store.read(PROFILE))
    assert min(classes(store.read(PROFILE)).values()) >= 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anonymity": {"k": 1}}, "anonymity.k"),
        ({"anonymity": {"k": 3, "columns": ["name"]}}, "anonymity of 'customers' can't generalise 'name'"),
        ({"anonymity": {"k": 3, "l": 2}}, "anonymity of 'customers' has l or t, but no 'sensitive' column"),
        ({"anonymity": {"k": 3, "sensitive": ["wealth"]}}, "names 'wealth' as sensitive: no such column"),
        ({"anonymity": {"k": 3, "sensitive": COLUMNS}}, "has no quasi-identifier without a mask"),
        ({"anonymity": {"k": 3, "l": 2, "entropy_l": 2, "sensitive": ["town"]}}, "names both l and entropy_l"),
        ({"anonymity": None}, "column 'customers.town' has a hierarchy that nothing uses"),
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
