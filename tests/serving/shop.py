"""A hand-made shop for the tests of serving: eight people, two linear models, a registry in one JSON file."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pandas as pd
from starlette.types import ASGIApp, Message

from privacy.audit import AuditLog
from privacy.classification import DOMAIN_CODES, Purpose
from privacy.errors import EnvironmentFailed, Refused
from privacy.keyring import Keyring, SealedKeyring
from privacy.kms import LocalKms
from privacy.policy import Policy, Principal
from serving.auth import Verifier
from serving.champion import ChampionFollower
from serving.parts import ServingParts
from serving.predictor import Predictor, Shop
from serving.problems import CODES, PROBLEM_TYPE

AS_OF = datetime(2017, 12, 31, tzinfo=UTC)
COLUMNS = ("spend_84", "recency_days", "btyd_x")
PURPOSES = {"churn_v1": {"retention"}, "clv_v1": {"retention", "value"}}
PEOPLE = {  # number: spend in the last 84 days, days since the last order, orders after the first
    1: (100.0, 10.0, 8.0),
    2: (300.0, 50.0, 3.0),
    3: (20.0, 5.0, 0.0),  # one order: cold start
    4: (60.0, 57.0, 6.0),  # longer gone than the 56 days: inactive
    5: (10.0, 90.0, 0.0),  # gone, and had one order: inactive first
    6: (600.0, 56.0, 29.0),  # on the edge: still active
}
UNKNOWN = 99
SECRET = "SECRET-4111111111111111"
Bearer = Callable[..., str]


def crc8(data: bytes) -> int:
    """CRC-8, polynomial 0x07, bit by bit: the check byte of a token, written a second time on purpose."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
            crc &= 0xFF
    return crc


def token(number: int, domain: str = "retention") -> str:
    """Return a well-formed token of a domain for person `number`."""
    prefix, block = f"{DOMAIN_CODES[domain]}_aa", number.to_bytes(16, "big")
    return f"{prefix}{block.hex()}{crc8(prefix.encode() + block):02x}"


@dataclass(frozen=True)
class Rows:
    columns: tuple[str, ...]
    values: np.ndarray
    present: np.ndarray
    references: list[str | None]
    as_of: datetime


class HandMadeGateway:
    """Knows PEOPLE by any purpose's token; binds services to purposes like the real one."""

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.held: Event | None = None
        self.calls: list[tuple[str, int]] = []

    def unready(self) -> str:
        return str(self.broken or "")

    def online(
        self, principal: Principal, service: str, tokens: Sequence[str], *, action: str = "features.read"
    ) -> Rows:
        assert action == "predict"  # a CRM service may predict, and not read features
        if self.held is not None:
            assert self.held.wait(30), "nobody let the gateway go on"
        if self.broken is not None:
            raise self.broken
        self.calls.append((service, len(tokens)))
        if str(principal.purpose) not in PURPOSES[service]:
            raise Refused(f"{service} does not serve this purpose")
        known = {token(number, str(principal.purpose)): number for number in PEOPLE}
        numbers = [known.get(each) for each in tokens]
        values = np.array([PEOPLE[n] if n else (np.nan,) * 3 for n in numbers], dtype=np.float64)
        present = np.array([n is not None for n in numbers])
        return Rows(COLUMNS, values, present, [f"person-{n}" if n else None for n in numbers], AS_OF)


class LinearModel:
    """churn: recency / 100 (capped); clv: 2 x spend, times the version: all readable in a head."""

    name = "linear"

    def __init__(self, target: str, scale: float = 1.0) -> None:
        self.target, self.scale = target, scale
        self.feature_names = ["recency_days"] if target == "churn" else ["spend_84"]
        self.horizon_days = 28 if target == "churn" else 112
        self.rows_seen: list[int] = []

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        self.rows_seen.append(len(frame))
        if self.target == "churn":
            return np.minimum(frame["recency_days"].to_numpy() / 100, 1.0)
        return frame["spend_84"].to_numpy() * 2 * self.scale


@dataclass(frozen=True)
class Ref:
    version: int


class FileRegistry:
    """Aliases in a JSON file; version 13 can't be loaded, version 14 answers NaN."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def point(self, **versions: int) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(versions))
        beside.replace(self.path)

    def _aliases(self) -> Mapping[str, int]:
        if not self.path.exists():
            raise EnvironmentFailed("the registry is away")
        return json.loads(self.path.read_text())

    def champion(self, target: str) -> Ref | None:
        version = self._aliases().get(target)
        return None if version is None else Ref(version)

    def load_champion(self, target: str) -> tuple[LinearModel, int]:
        version = self._aliases()[target]
        if version == 13:
            raise KeyError("customer SECRET-VALUE")
        return LinearModel(target, float("nan") if version == 14 else float(version)), version


def make_home(home: Path) -> Keyring:
    """Make a home's keys: the root, and the service's sealed sub-keyring; returns the root."""
    (home / "keys").mkdir(parents=True)
    root = Keyring.create(home / "keys/keyring.json", LocalKms.from_file(home / "keys/passphrase", create=True))
    service_kms = LocalKms.from_file(home / "keys/service.passphrase", create=True)
    root.seal(home / "keys/service.json", service_kms, [purpose.value for purpose in Purpose])
    return root


def open_sealed(home: Path) -> SealedKeyring:
    return SealedKeyring.open(home / "keys/service.json", LocalKms.from_file(home / "keys/service.passphrase"))


def build(home: Path) -> ServingParts:
    """The factory that the tests' server process uses."""
    sealed = open_sealed(home)
    champions = ChampionFollower(FileRegistry(home / "aliases.json"), interval_seconds=0.1)
    policy = Policy.load()
    predictor = Predictor(HandMadeGateway(), policy, AuditLog(home / "audit", sealed), champions, Shop("USD", 56))
    return ServingParts(predictor, Verifier(sealed), policy, champions)


@dataclass(frozen=True)
class Keys:
    home: Path
    root: Keyring
    sealed: SealedKeyring


@dataclass
class Wired:
    """A predictor over the hand-made shop with the real policy, audit and keyring."""

    gateway: HandMadeGateway
    registry: FileRegistry
    champions: ChampionFollower
    audit: AuditLog
    audit_directory: Path
    predictor: Predictor
    parts: ServingParts


class Client:
    """Calls an ASGI application as HTTP would; an exception that escapes it fails the test."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(call())

    def as_written(self, method: str, path: str, bearer: str) -> httpx.Response:
        """Ask for a path exactly as written: httpx would tidy it first."""
        sent: list[Message] = []
        headers = [(b"authorization", f"Bearer {bearer}".encode())]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": headers}

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.app(scope | {"query_string": b"", "http_version": "1.1"}, receive, send))
        body = b"".join(message.get("body", b"") for message in sent)
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)

    def predict(self, bearer: str | None, body: object = None, **arguments: Any) -> httpx.Response:
        """POST /v1/predict; `body` is sent as JSON unless `content` is given."""
        headers = {"authorization": f"Bearer {bearer}"} if bearer is not None else {}
        headers = {"content-type": "application/json"} | headers | arguments.pop("headers", {})
        arguments.setdefault("content", json.dumps(body))
        return self.request("POST", "/v1/predict", headers=headers, **arguments)


GOOD = {"customers": [token(1)], "models": ["churn", "clv"]}


def problem(response: httpx.Response, code: str) -> dict[str, object]:
    """Check that an answer is the problem `code`, whole and quoting nothing."""
    assert response.status_code == CODES[code].status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    body = response.json()
    assert body["code"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", body["request_id"])
    assert SECRET not in response.text + str(response.headers)
    assert "Traceback" not in response.text
    if code == "policy_refused":  # the error's own remedy is the operator's
        assert not re.search(r"\.yaml|custos |--", str(body["detail"]))
    assert "x-problem-code" not in response.headers
    return body
