"""Keys are made once a session (their key derivation is slow on purpose); audit logs are made per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from privacy.audit import AuditLog
from privacy.classification import Purpose, Role
from privacy.policy import Policy
from serving.app import PREFIX, build_app, openapi_document, routes_of
from serving.auth import Verifier, grant
from serving.champion import ChampionFollower
from serving.edge import Edge, Limits
from serving.parts import ServingParts, Slot
from serving.predictor import Predictor, Shop
from tests.serving.shop import Client, FileRegistry, HandMadeGateway, Keys, Wired, make_home, open_sealed


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    home = tmp_path_factory.mktemp("keys")
    root = make_home(home)
    return Keys(home, root, open_sealed(home))


@pytest.fixture(scope="session")
def bearer(keys: Keys) -> Callable[..., str]:
    def make(role: str = "crm_service", purpose: str | None = "retention", **other: object) -> str:
        now = other.get("now", datetime.now(UTC))
        ttl = other.get("ttl", timedelta(hours=1))
        return grant(keys.root, "tester", Role(role), Purpose(purpose) if purpose else None, ttl, now)  # type: ignore[arg-type]

    return make


@pytest.fixture
def wired(keys: Keys, tmp_path: Path) -> Iterator[Wired]:
    registry = FileRegistry(tmp_path / "aliases.json")
    registry.point(churn=1, clv=1)
    champions = ChampionFollower(registry)
    champions.poll()
    gateway, audit = HandMadeGateway(), AuditLog(tmp_path / "audit", keys.sealed)
    policy = Policy.load()
    predictor = Predictor(gateway, policy, audit, champions, Shop("USD", 56))
    parts = ServingParts(predictor, Verifier(keys.sealed), policy, champions)
    yield Wired(gateway, registry, champions, audit, tmp_path / "audit", predictor, parts)
    champions.stop()


def web(wired: Wired, limits: Limits) -> Client:
    """Return the whole web layer as the service composes it, without BentoML."""
    slot = Slot()
    app = build_app(slot)
    slot.fill(wired.parts)
    shell = Starlette(routes=[Mount(PREFIX, app=app)])
    return Client(Edge(shell, slot, routes_of(app), lambda: openapi_document(app), limits))


@pytest.fixture
def client(wired: Wired) -> Client:
    # Far above what a busy machine may take: only what a test makes slow on purpose may run into a limit.
    return web(wired, Limits(body_seconds=60.0, answer_seconds=60.0))
