"""Classes of k outlive erasures: who is left in a class of fewer is told no more, offline and online, killed or not."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.datasets.descriptor import Descriptor
from features.definitions import ENTITY
from features.gateway import FeatureGateway
from features.packed_views import key_prefix, keys_of
from features.profile import PROFILE
from privacy.errors import EnvironmentFailed
from privacy.rights import Rights, Subject
from privacy.tokens import translate
from tests.privacy.forked import kill_at, killed

from .conftest import AS_OF, NOW, Home, principal
from .profiles import COLUMNS, classes, researcher, with_profile


def shrink_a_class(home: Home, gateway: FeatureGateway, descriptor: Descriptor, left: int) -> tuple[Any, list[str]]:
    """Erase members of a smallest class until `left` of them are left: its texts, and their tokens in the store."""
    rows = home.paths.protected_store(descriptor.name).read(PROFILE)
    smallest = min(classes(rows).items(), key=lambda item: (item[1], item[0]))[0]
    members = [row["customer_token"] for row in rows.to_pylist() if tuple(row[name] for name in COLUMNS) == smallest]
    people = pq.read_table(descriptor.base_dir / "people.parquet")["customer"].to_pylist()
    names = {home.subject(name).tokens[0]: name for name in people}
    for member in members[left:]:
        subject = home.subject(names[member])
        for place in gateway.subject_stores():
            place.erase(subject)
            assert place.verify(subject) == 0
    return smallest, members[:left]


def online_profile(home: Home) -> dict[bytes, bytes]:
    """What the online file itself holds of the profile, by entity key."""
    with closing(sqlite3.connect(home.online_file)) as connection:
        return dict(connection.execute("SELECT entity_key, value FROM custos_rows WHERE view = 'profile'").fetchall())


def entity_key(token: str) -> bytes:
    return keys_of(key_prefix(ENTITY), [token.encode()])[0]


def test_an_erasure_takes_the_class_that_it_leaves_too_small(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, gateway, descriptor = told
    stores = [home.paths.protected_store(descriptor.name), home.paths.feature_store(descriptor.name)]
    before = classes(stores[0].read(PROFILE))
    smallest, left = shrink_a_class(home, gateway, descriptor, 2)
    expected = {texts: size for texts, size in before.items() if texts != smallest}
    for store in stores:
        assert classes(store.read(PROFILE)) == expected
        assert store.manifest()["tables"][PROFILE]["k"] == 3
        files = [pq.read_table(path) for path in store.root.rglob("profile/*.parquet")]
        assert sum(table.num_rows for table in files) == sum(expected.values())  # in no older snapshot either
    assert sorted(Counter(online_profile(home).values()).values()) == sorted(expected.values())
    assert not {entity_key(token) for token in left} & online_profile(home).keys()
    own = translate(home.keyring, pa.array(left), "features", "research").to_pylist()
    answer = gateway.online(researcher(), "profile_v1", own)
    assert answer.present.tolist() == [True, True]  # they are customers still
    assert answer.texts == {name: [None, None] for name in COLUMNS}
    assert classes(gateway.snapshot_rows(researcher(), "profile_v1", AS_OF)) == Counter(expected) + Counter(
        {(None, None): 2}
    )
    gateway.apply(descriptor)  # above its k still


def test_a_class_that_keeps_k_stays(told: tuple[Home, FeatureGateway, Descriptor]) -> None:
    home, gateway, descriptor = told
    rows = home.paths.protected_store(descriptor.name).read(PROFILE)
    largest, size = max(classes(rows).items(), key=lambda item: (item[1], item[0]))
    assert size > 3
    member = next(row for row in rows.to_pylist() if tuple(row[name] for name in COLUMNS) == largest)
    people = pq.read_table(descriptor.base_dir / "people.parquet")["customer"].to_pylist()
    gone = next(name for name in people if home.subject(name).tokens[0] == member["customer_token"])
    for place in gateway.subject_stores():
        place.erase(home.subject(gone))
    assert classes(home.paths.feature_store(descriptor.name).read(PROFILE)) == classes(rows) - Counter([largest])
    assert len(online_profile(home)) == 39


def test_an_erasure_killed_while_it_empties_a_class_online_is_done_again_whole(
    told: tuple[Home, FeatureGateway, Descriptor],
) -> None:
    home, gateway, descriptor = told
    rows = home.paths.protected_store(descriptor.name).read(PROFILE)
    smallest, size = min(classes(rows).items(), key=lambda item: (item[1], item[0]))
    members = [row["customer_token"] for row in rows.to_pylist() if tuple(row[name] for name in COLUMNS) == smallest]
    assert size >= 3
    subject = Subject(tuple(members[: size - 2]), b"\0" * 16, ())
    online = gateway.subject_stores()[-1]
    before = online_profile(home)
    for event in ("call", "return"):

        def work(event: str = event) -> None:
            kill_at(lambda frame, now: now == event and frame.f_code.co_name == "_drop_small", within="/features/")
            online.erase(subject)

        assert killed(work)
        assert online_profile(home) == before  # neither the person nor the class went
    online.erase(subject)
    assert online.verify(subject) == 0
    assert len(online_profile(home)) == 40 - size


def test_who_is_being_erased_is_out_of_a_class_before_the_stores_are(
    told: tuple[Home, FeatureGateway, Descriptor],
) -> None:
    home, gateway, descriptor = told
    rows = home.paths.protected_store(descriptor.name).read(PROFILE)
    smallest, size = min(classes(rows).items(), key=lambda item: (item[1], item[0]))
    members = [row["customer_token"] for row in rows.to_pylist() if tuple(row[name] for name in COLUMNS) == smallest]
    for member in members[: size - 2]:
        home.suppression.add(member)
    assert smallest not in classes(gateway.snapshot_rows(researcher(), "profile_v1", AS_OF))
    gateway.materialize(principal(), AS_OF)
    assert len(online_profile(home)) == 40 - size


def test_somebody_of_the_profile_alone_who_is_erased_meanwhile_does_not_come_online(tmp_path: Path) -> None:
    """Whoever never bought has no features, so that only the profile's own tokens can tell of them."""
    home, descriptor = Home.create(tmp_path / "home"), with_profile(tmp_path / "shop")
    lines = pq.read_table(tmp_path / "shop" / "lines.parquet")
    pq.write_table(lines.filter(pc.not_equal(lines["customer"], "c00007")), tmp_path / "shop" / "lines.parquet")
    home.ingest(descriptor)
    home.build(descriptor)
    token = home.subject("c00007").tokens[0]
    store = home.paths.feature_store(descriptor.name)
    assert token in store.read(PROFILE)["customer_token"].to_pylist()
    gateway = home.gateway()
    gateway.apply(descriptor)
    erased = home.audit.append

    def append_and_erase(**event: Any) -> Any:
        home.suppression.add(token)  # what an erasure does first; its stores are done before the rows are swapped in
        return erased(**event)

    home.audit.append = append_and_erase  # type: ignore[method-assign]
    gateway.materialize(principal(), AS_OF)
    assert entity_key(token) not in online_profile(home)
    assert len(online_profile(home)) in (39, 39 - 2)


@dataclass
class Stuck:
    """A store that can't be reached the first time."""

    name: str = "stuck"
    reached: bool = False

    def count(self, subject: Subject) -> int:
        return 0

    def export(self, subject: Subject) -> list[dict[str, object]]:
        return []

    def erase(self, subject: Subject) -> int:
        self.reached, before = True, self.reached
        if not before:
            raise EnvironmentFailed("the store can't be reached", where=self.name)
        return 0

    def verify(self, subject: Subject) -> int:
        return 0


def test_a_receipt_is_written_once_no_store_tells_of_a_small_class(
    told: tuple[Home, FeatureGateway, Descriptor],
) -> None:
    home, gateway, descriptor = told
    smallest, left = shrink_a_class(home, gateway, descriptor, 3)
    token = left[0]
    people = pq.read_table(descriptor.base_dir / "people.parquet")["customer"].to_pylist()
    name = next(name for name in people if home.subject(name).tokens[0] == token)
    protected, features, online = gateway.subject_stores()
    stores = [protected, Stuck(), features, online]
    rights = Rights(home.vault, home.keyring, home.audit, home.suppression, stores, home.root / "receipts", lambda: NOW)
    with pytest.raises(EnvironmentFailed):
        rights.erase(name, principal(), "asked")
    assert not list((home.root / "receipts").glob("er_*.json"))
    tables = [home.paths.protected_store(descriptor.name), home.paths.feature_store(descriptor.name)]
    assert [smallest in classes(table.read(PROFILE)) for table in tables] == [False, True]
    assert smallest not in classes(gateway.snapshot_rows(researcher(), "profile_v1", AS_OF))  # refused meanwhile
    receipt = rights.erase(name, principal(), "asked")
    assert [store.after for store in receipt.stores] == [0] * 5
    assert [smallest in classes(table.read(PROFILE)) for table in tables] == [False, False]
    assert not {entity_key(one) for one in left} & online_profile(home).keys()
