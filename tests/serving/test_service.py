"""The real thing: BentoML in a process of its own, over the hand-made shop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import httpx
import pytest

from privacy.audit import verify_audit
from privacy.classification import Purpose, Role
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from serving.auth import grant
from serving.launch import ServerProcess, server_environment
from serving.service import CustosService, load_factory
from tests.serving.shop import FileRegistry, make_home, token

ROOT = Path(__file__).parents[2]
FACTORY = "tests.serving.shop:build"
GOOD = {"customers": [token(1)], "models": ["churn", "clv"]}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process will make true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"


SERVE = """
import sys
from pathlib import Path
from serving.launch import serve
home = Path(sys.argv[1])
def tell(url):
    (home / "ready.part").write_text(url)
    (home / "ready.part").replace(home / "ready")  # whole, or not there yet
sys.exit(serve(home, int(sys.argv[2]), factory=sys.argv[3], on_ready=tell))
"""


@dataclass
class Running:
    home: Path
    url: str
    root: Keyring
    registry: FileRegistry
    client: httpx.Client

    def headers(self, role: str = "crm_service", purpose: str | None = "retention") -> dict[str, str]:
        bearer = grant(
            self.root, "tester", Role(role), Purpose(purpose) if purpose else None,
            timedelta(hours=1), datetime.now(UTC),
        )  # fmt: skip
        return {"authorization": f"Bearer {bearer}"}

    def predict(self, role: str = "crm_service", body: object = GOOD) -> httpx.Response:
        return self.client.post("/v1/predict", json=body, headers=self.headers(role))


def new_home(path: Path) -> tuple[Keyring, FileRegistry]:
    root = make_home(path)
    (path / "bentoml").mkdir()
    registry = FileRegistry(path / "aliases.json")
    registry.point(churn=1, clv=1)
    return root, registry


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server as `custos serve` runs it; asked to stop at the end, it must do so cleanly."""
    home = tmp_path_factory.mktemp("served") / "home"
    root, registry = new_home(home)
    port, log = free_port(), home / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, "-c", SERVE, str(home), str(port), FACTORY]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        child = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path})
    try:
        until(lambda: (home / "ready").exists() or child.poll() is not None, 150)
        url = (home / "ready").read_text()
        assert url == f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=10) as client:
            yield Running(home, url, root, registry, client)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 0
    finally:
        child.kill()
        child.wait()
    assert not is_open(url)
    assert "Traceback" not in log.read_text()
    assert token(1) not in log.read_text()
    verify_audit(home / "audit", root.audit_public_key)


def is_open(url: str) -> bool:
    try:
        return bool(httpx.get(url + "/livez", timeout=2).status_code)
    except httpx.HTTPError:
        return False


def test_a_prediction_as_a_crm_service_and_an_analyst_see_it(running: Running) -> None:
    crm, analyst = running.predict("crm_service"), running.predict("analyst")
    assert crm.status_code == analyst.status_code == 200
    assert crm.json()["results"][0]["clv"]["value"] == 200.0
    assert analyst.json()["results"][0]["clv"] == {"band": "100-250", "currency": "USD", "horizon_days": 112}
    assert re.fullmatch("[0-9a-f]{32}", crm.headers["x-request-id"])
    assert "server" not in crm.headers


def test_health_is_open_and_bentos_other_routes_are_not(running: Running) -> None:
    client = running.client
    for path in ("/livez", "/readyz", "/healthz", "/", "/docs.json"):
        assert client.get(path).status_code == 200
    for path in ("/metrics", "/schema.json"):
        assert client.get(path).json()["code"] == "bearer_missing"
        assert client.get(path, headers=running.headers("analyst")).json()["code"] == "policy_refused"
        assert client.get(path, headers=running.headers("auditor", None)).status_code == 200
    for path in ("/static_content/swagger-ui.css", "/assets/x", "/v1/docs", "/nope"):
        assert client.get(path).json()["code"] == "not_found"


def test_the_landing_page_and_the_document_reach_nowhere(running: Running) -> None:
    for path in ("/", "/docs.json"):
        text = running.client.get(path).text
        assert "googletagmanager" not in text
        assert not re.search(r"https?://", text)


@pytest.mark.parametrize("path", ["/v1/../metrics", "/v1/%2e%2e/metrics", "/%6detrics/", "//metrics", "/metrics%00"])
def test_path_tricks_on_the_wire(running: Running, path: str) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.split(b" ", 2)[1] in (b"404", b"400"), answer


def test_a_large_chunked_body_and_a_foreign_content_type(running: Running) -> None:
    chunks = (b" " * 100_000 for _ in range(20))
    headers = running.headers() | {"content-type": "application/json"}
    assert running.client.post("/v1/predict", content=chunks, headers=headers).json()["code"] == "body_too_large"
    headers["content-type"] = "application/vnd.bentoml+pickle"
    answer = running.client.post("/v1/predict", content=b"\x80\x04.", headers=headers)
    assert answer.json()["code"] == "media_type_unsupported"


def test_the_champion_follows_its_alias_without_a_restart_and_drops_no_request(running: Running) -> None:
    answers: list[tuple[int, str, float]] = []
    stop = False

    def ask() -> None:
        with httpx.Client(base_url=running.url, timeout=10) as client:
            headers = running.headers()
            while not stop:
                answer = client.post("/v1/predict", json=GOOD, headers=headers)
                body = answer.json()
                answers.append((answer.status_code, body["models"]["clv"], body["results"][0]["clv"]["value"]))

    asker = Thread(target=ask)
    asker.start()
    running.registry.point(churn=1, clv=2)
    until(lambda: bool(answers) and answers[-1][1] == "2")
    stop = True
    asker.join()
    assert {status for status, _, _ in answers} == {200}
    assert all(value == 200.0 * int(version) for _, version, value in answers)  # never half of each


def test_a_broken_champion_is_refused_and_seen_while_the_old_one_serves(running: Running) -> None:
    before = running.predict().json()["models"]["clv"]
    running.registry.point(churn=1, clv=13)
    admin = running.headers("admin")
    until(lambda: 'custos_champion_refused{model="clv"} 1.0' in running.client.get("/metrics", headers=admin).text)
    assert running.predict().json()["models"]["clv"] == before
    assert running.client.get("/readyz").status_code == 200
    running.registry.point(churn=1, clv=int(before))


def test_the_server_keeps_its_state_inside_the_home(running: Running) -> None:
    environment = server_environment(running.home)
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    for name in ("BENTOML_HOME", "PROMETHEUS_MULTIPROC_DIR", "CUSTOS_HOME"):
        assert Path(environment[name]).is_relative_to(running.home)


def test_a_worker_that_can_not_start_says_why_and_is_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment = server_environment(tmp_path, "tests.serving.shop:no_such")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "bentoml").mkdir()
    shell = CustosService.inner()
    assert not shell.__is_alive__()
    assert "Traceback" not in caplog.text
    with pytest.raises(BadInput, match="factory can't be imported"):
        ServerProcess(tmp_path).wait_ready()


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EnvironmentFailed, match="--port"):
            ServerProcess(tmp_path, taken.getsockname()[1]).start()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_impossible_ports(tmp_path: Path, port: int) -> None:
    with pytest.raises(BadInput):
        ServerProcess(tmp_path, port)


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(BadInput):
        ServerProcess(Path("home"))


@pytest.mark.parametrize("name", ["", "json", "json:no_such", "no_such_module:x", "json:__name__"])
def test_factories_that_are_none(name: str) -> None:
    with pytest.raises(BadInput):
        load_factory(name)


def test_the_factory_is_found_by_name() -> None:
    assert load_factory("json:loads") is json.loads
