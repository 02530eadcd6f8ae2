"""Redis and PostgreSQL really stopped: in mid-write, between two questions, during an erasure; and their locales."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest

from features.datasets.descriptor import Descriptor, load_descriptor
from features.gateway import FeatureGateway, GatewaySettings
from features.online import rows_at
from features.online.postgres import _PostgresWriter
from features.online.redis import _RedisWriter
from privacy.classification import Purpose, Role
from privacy.errors import EnvironmentFailed
from privacy.policy import Policy, Principal
from privacy.rights import Rights, Subject, SubjectStore
from tests import postgres, redis
from tests.features.conftest import AS_OF, NOW, Home, principal
from tests.packages import command_of
from tests.privacy.forked import kill_at, killed
from tests.shops import make_shop

from .test_contract import KEYS, put, spend

LATER = AS_OF + dt.timedelta(days=7)
OFFICER = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)
WRITERS = {"redis": _RedisWriter, "postgresql": _PostgresWriter}


class Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str, str]]:
    """A server, the address of a database on it, and its kind."""
    if request.param == "redis":
        with redis.running() as server:
            yield server, server.url, request.param
    else:
        with postgres.running() as database:
            yield database, database.url(database.database()), request.param


def test_a_server_that_stops_in_mid_write_is_told_and_used_again_when_it_is_back(
    place: tuple[Server, str, str],
) -> None:
    server, url, kind = place
    rows, reader = rows_at(url, "stopping"), rows_at(url, "stopping")
    put(rows, spend(KEYS, 5))
    reader.read(KEYS[:1], ["spend"])  # its connection will break
    failed = pytest.raises(EnvironmentFailed, match=r"can't be used \((Connection|Operational|Admin)\w+\).*repeat")
    with failed, rows.writing() as writer:
        writer.put(spend(KEYS[:600], 6))
        server.stop()
        writer.put(spend(KEYS[600:], 6))
    with pytest.raises(EnvironmentFailed, match="can't be used"):
        reader.read(KEYS[:1], ["spend"])
    server.start()
    there = {row and row[0] for row in reader.read(KEYS, ["spend"])[0]}
    assert there == ({5, 6} if kind == "redis" else {5})  # which has no transaction over many people
    put(rows, spend(KEYS, 6))
    assert {row and row[0] for row in reader.read(KEYS, ["spend"])[0]} == {6}


def test_a_server_that_refuses_the_login_is_told_from_one_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    with postgres.running() as database, redis.running(None, "--requirepass", "CANARY") as cache:
        database.lock("CANARY")
        schema = database.url(database.database())
        wrong = ("unix://:CANARI@" + cache.url.removeprefix("unix://"), schema.replace("custos@", "locked:CANARI@"))
        for url in (*wrong, cache.url, schema.replace("custos@", "locked@")):
            with pytest.raises(EnvironmentFailed, match="refuses the login; mend the setting online") as refusal:
                put(rows_at(url, "locked"), spend(KEYS[:2], 5))
            assert "CANAR" not in str(refusal.value)


def test_a_server_that_stops_before_it_acknowledges_a_write(place: tuple[Server, str, str]) -> None:
    server, url, _ = place
    rows = rows_at(url, "ending")
    put(rows, spend(KEYS[:9], 5))
    failed = pytest.raises(EnvironmentFailed, match="can't be used")
    with failed, rows.writing() as writer:
        writer.put(spend(KEYS[:9], 6))
        server.stop()
    server.start()
    put(rows, spend(KEYS[:9], 6))
    assert {row and row[0] for row in rows.read(KEYS[:9], ["spend"])[0]} == {6}


@pytest.mark.parametrize(
    "locale", ["C", "C.UTF-8", pytest.param("en_US.UTF-8", marks=pytest.mark.slow)], ids=lambda name: name
)
def test_moments_compare_as_bytes_whatever_the_servers_locale(locale: str, tmp_path: Path) -> None:
    seen = {"LC_ALL": locale}
    if locale.startswith("en"):  # compiled here: it orders letters before signs, which bytes don't
        command = [command_of("localedef", "locales"), "--no-archive", "-i", "en_US", "-f", "UTF-8"]
        subprocess.run([*command, str(tmp_path / locale)], check=True, capture_output=True)
        seen["LOCPATH"] = str(tmp_path)
    moments = [-(2**62), -65, -1, 0, 1, 64, 97, 127, 128, 255, 256, 2**31, 2**40 + 193, 1_706_000_000_000_128, 2**62]
    pairs = list(product(moments, repeat=2))
    keys = [f"{one} {other}".encode() for one, other in pairs]
    with redis.running(seen) as server:
        rows = rows_at(server.url, "shop")
        for side in (0, 1):
            batch = spend(keys, 0)
            put(rows, dataclasses.replace(batch, moments=[pair[side] for pair in pairs]))
        found = [row and row[0] for row in rows.read(keys, ["spend"])[0]]
    assert found == [max(pair) for pair in pairs]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop whose features are built."""
    root = tmp_path_factory.mktemp("built")
    home, descriptor = Home.create(root / "home"), load_descriptor(str(make_shop(root / "shop", customers=8)))
    home.ingest(descriptor)
    home.build(descriptor)
    home.vault.close()
    return root


def gateway_at(home: Home, url: str) -> FeatureGateway:
    """A gateway whose online rows are there."""
    settings = GatewaySettings(dataclasses.replace(home.paths, online=url))
    return FeatureGateway(settings, home.keyring, Policy.load(), home.audit, home.suppression, home.consents)


@pytest.fixture
def served(
    built: Path, tmp_path: Path, place: tuple[Server, str, str]
) -> Iterator[tuple[Home, FeatureGateway, Descriptor, Server]]:
    """That shop as one's own, online on the server."""
    shutil.copytree(built, tmp_path, symlinks=True, dirs_exist_ok=True)
    home, descriptor = Home.open(tmp_path / "home"), load_descriptor(str(tmp_path / "shop" / "shop.yaml"))
    gateway = gateway_at(home, place[1])
    gateway.apply(descriptor)
    rows_at(place[1], "custos").discard()
    gateway.materialize(principal(), AS_OF)
    yield home, gateway, descriptor, place[0]
    home.vault.close()


CUSTOMERS = [f"c{number:05d}" for number in range(1, 9)]


@pytest.mark.slow
def test_a_materialise_that_loses_its_server_is_completed_by_the_next(
    served: tuple[Home, FeatureGateway, Descriptor, Server],
    place: tuple[Server, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, gateway, descriptor, server = served
    tokens, writer = home.tokens(CUSTOMERS, "retention"), WRITERS[place[2]]
    before = gateway.online(principal(), "churn_v1", tokens)
    home.build(descriptor, LATER)
    put_rows = writer.put

    def last_put(self: object, batch: object) -> None:
        put_rows(self, batch)  # type: ignore[arg-type]
        server.stop()

    with monkeypatch.context() as patched:
        patched.setattr(writer, "put", last_put)
        with pytest.raises(EnvironmentFailed, match="can't be used") as failed:
            gateway.materialize(principal(), LATER)
    assert "\n" not in str(failed.value)
    with pytest.raises(EnvironmentFailed, match="can't be used"):
        gateway.online(principal(), "churn_v1", tokens)
    server.start()
    between = gateway.online(principal(), "churn_v1", tokens)
    assert between.present.all()
    if place[2] == "postgresql":
        assert between.as_of == AS_OF
        np.testing.assert_array_equal(between.values, before.values)
    assert gateway.materialize(principal(), LATER) == 8
    assert gateway.online(principal(), "churn_v1", tokens).as_of == LATER


@pytest.mark.slow
def test_a_materialise_that_is_killed_in_mid_write_is_completed_by_the_next(
    served: tuple[Home, FeatureGateway, Descriptor, Server], place: tuple[Server, str, str]
) -> None:
    home, gateway, descriptor, _ = served
    tokens = home.tokens(CUSTOMERS, "retention")
    before = gateway.online(principal(), "churn_v1", tokens)
    home.build(descriptor, LATER)

    def work() -> None:
        again = gateway_at(Home.open(home.root), place[1])
        kill_at(lambda frame, _: frame.f_code.co_name == "put", within="/features/online/", events=("return",))
        again.materialize(principal(), LATER)

    assert killed(work)
    between = gateway.online(principal(), "churn_v1", tokens)
    assert between.present.all()
    if place[2] == "postgresql":
        np.testing.assert_array_equal(between.values, before.values)
    assert gateway.materialize(principal(), LATER) == 8
    assert gateway.online(principal(), "churn_v1", tokens).as_of == LATER


class Cut:
    """A store whose turn to erase is when the server stops."""

    name = "a cut"

    def __init__(self, server: Server) -> None:
        self._server = server

    def count(self, subject: Subject) -> int:
        return 0

    def export(self, subject: Subject) -> list[dict[str, object]]:
        return []

    def erase(self, subject: Subject) -> int:
        self._server.stop()
        return 0

    def verify(self, subject: Subject) -> int:
        return 0


def rights(home: Home, gateway: FeatureGateway, *first: SubjectStore) -> Rights:
    stores = [*first, home.quarantine, home.flags, *gateway.subject_stores()]
    return Rights(home.vault, home.keyring, home.audit, home.suppression, stores, home.root / "receipts", lambda: NOW)


def traces(home: Home) -> dict[str, object]:
    """What an erasure leaves behind when it has begun, and what it takes away."""
    return {
        "suppressed": len(home.suppression),
        "people": (len(home.vault), home.vault.keys_held()),
        "events": home.audit.verify().events,
        "receipts": sorted(path.name for path in (home.root / "receipts").glob("*er_*")),
        "tables": [store.manifest() for store in home.paths.table_stores()],
    }


@pytest.mark.slow
def test_an_erasure_while_the_server_is_away_is_refused_whole(
    served: tuple[Home, FeatureGateway, Descriptor, Server],
) -> None:
    home, gateway, descriptor, server = served
    [token] = home.tokens(["c00003"], "retention")
    before = traces(home)
    server.stop()
    with pytest.raises(EnvironmentFailed, match="can't be used"):
        rights(home, gateway).erase("c00003", OFFICER, "request")
    assert traces(home) == before
    server.start()
    assert gateway.online(principal(), "churn_v1", [token]).present.tolist() == [True]
    receipt = rights(home, gateway).erase("c00003", OFFICER, "request")
    counted = {store.name: (store.before > 0, store.after) for store in receipt.stores}
    assert counted["online features"] == (True, 0)
    home.build(descriptor)
    assert gateway.materialize(principal(), AS_OF) == 7
    assert gateway.online(principal(), "churn_v1", [token]).present.tolist() == [False]


@pytest.mark.slow
def test_an_erasure_that_loses_the_server_refuses_the_person_and_runs_through_later(
    served: tuple[Home, FeatureGateway, Descriptor, Server],
) -> None:
    home, gateway, _, server = served
    token, other = home.tokens(["c00004", "c00005"], "retention")
    with pytest.raises(EnvironmentFailed, match="can't be used"):
        rights(home, gateway, Cut(server)).erase("c00004", OFFICER, "request")
    server.start()
    assert not list((home.root / "receipts").glob("er_*"))
    assert gateway.online(principal(), "churn_v1", [token, other]).present.tolist() == [False, True]
    receipt = rights(home, gateway).erase("c00004", OFFICER, "request")
    assert {store.after for store in receipt.stores} == {0}
    assert not home.vault.find(pa.array(["c00004"]))[1].any()
