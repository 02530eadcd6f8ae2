"""The whole thread through the real command line: planted people in, masked predictions out, nothing leaked."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.policy import built_in_policy
from privacy.tokens import valid_tokens
from serving.bands import CHURN_BANDS
from tests.canaries import CANARIES, write_shop
from tests.home import Home
from tests.leaks import Scanner

ROOT = Path(__file__).parents[1]
PLANTED = [value for canary in CANARIES for value in canary.values()]
# The people's own places: encrypted, and scanned apart below.
VAULT = ("home/vault/",)


@dataclass
class Thread(Home):
    """The home of the shop with the planted people."""

    @property
    def shop(self) -> Path:
        """The shop's descriptor."""
        return self.folder / "shop" / "shop.yaml"


@pytest.fixture(scope="module")
def thread(tmp_path_factory: pytest.TempPathFactory) -> Thread:
    made = Thread(tmp_path_factory.mktemp("thread"))
    write_shop(made.shop.parent)
    made.process("run", str(made.shop), "--trials", "3")
    return made


@dataclass
class Service:
    """A running prediction service."""

    thread: Thread
    port: int

    def post(self, bearer: str, body: Any, path: str = "/v1/predict") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        self.thread.spoken.append(content)
        return status, json.loads(content)


@pytest.fixture(scope="module")
def service(thread: Thread) -> Iterator[Service]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = thread.start("serve", "--port", str(port))
    try:
        _wait_ready(port, process)
        yield Service(thread, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)  # polling a process we started; nothing is asserted on its timing
    pytest.fail("the service did not get ready")


def bearer(thread: Thread, role: str, purpose: str) -> str:
    lines = thread.custos("access", "grant", "--role", role, "--purpose", purpose, "--user", "somebody").splitlines()
    thread.spoken = [text for text in thread.spoken if lines[-1].encode() not in text]
    return lines[-1]


def scores(thread: Thread, target: str, purpose: str) -> dict[str, dict[str, Any]]:
    out = thread.user / f"{target}-{purpose}.parquet"
    thread.custos("score", target, "--purpose", purpose, "--out", str(out))
    return {row["customer_token"]: row for row in pq.read_table(out).to_pylist()}


def identities(thread: Thread, target: str = "clv") -> dict[int | None, str]:
    rows = thread.user / f"{target}-retention.parquet"
    out = thread.folder / "people.parquet"
    arguments = ("--purpose", "retention", "--reason", "test", "--in", str(rows), "--out", str(out))
    thread.custos("identify", *arguments)
    table = pq.read_table(out)
    before = pq.read_table(rows)["customer_token"].to_pylist()
    assert table["customer_token"].to_pylist() == before, "rows or their order changed"
    pairs = dict(zip(table["customer_id"].to_pylist(), before, strict=True))
    out.unlink()  # it names people, as asked; the leak test looks at what was not asked for
    return pairs


def test_report_tells_rows_stages_champions_and_baselines(thread: Thread) -> None:
    report = json.loads(thread.custos("report", "--json"))
    lines = report["tables"]["transactions"]
    assert lines["rows_in"] == lines["kept"] + sum(lines["quarantined"].values())
    assert sum(lines["quarantined"].values()) == 3
    assert {"seconds", "peak_mb", "name"} <= set(report["stages"][0])
    for target, baselines in (("churn", {"recency"}), ("clv", {"naive", "ewma84", "bgnbd"})):
        model = report["models"][target]
        assert int(model["champion"]["version"]) >= 1
        assert baselines <= set(model["baselines"])
        assert model["metrics"].keys() == model["baselines"][min(baselines)].keys()


def test_status_and_doctor_find_the_home_well(thread: Thread) -> None:
    assert "canary_shop" in thread.custos("status")
    findings = json.loads(thread.custos("doctor", "--json"))
    assert not [finding for finding in findings if finding["outcome"] == "bad"]
    assert any(finding["what"] == "telemetry" for finding in findings)


def test_scores_have_their_columns_and_tokens_of_the_purpose(thread: Thread) -> None:
    churn, value = scores(thread, "churn", "retention"), scores(thread, "clv", "value")
    assert all(token.startswith("ret_") for token in churn)
    assert all(token.startswith("val_") for token in value)
    assert set(next(iter(churn.values()))) == {
        "customer_token",
        "status",
        "churn_probability",
        "as_of",
        "model_version",
    }
    assert {row["status"] for row in churn.values()} <= {"ok", "cold_start", "inactive"}
    assert all((row["churn_probability"] is None) == (row["status"] == "inactive") for row in churn.values())
    assert all(row["clv"] is not None and row["clv"] >= 0 for row in value.values())
    assert "inactive" not in {row["status"] for row in value.values()}


def test_the_profile_is_told_for_research_in_classes_of_five(thread: Thread) -> None:
    out = thread.user / "profile.parquet"
    thread.custos("features", "export", "profile_v1", "--purpose", "research", "--out", str(out))
    rows = [row for row in pq.read_table(out).to_pylist() if row["birth_date"] is not None]
    assert min(Counter(row["birth_date"] for row in rows).values()) >= 5
    token = rows[0]["customer_token"]
    assert token.startswith("rsc_")
    asked = ("features", "get", "profile_v1", "--purpose", "research", token, "--json")
    assert json.loads(thread.custos(*asked))[0]["features"] == {"birth_date": rows[0]["birth_date"]}


def test_insight_is_told_in_bands_of_many_and_the_matrix_in_shares(thread: Thread) -> None:
    out = thread.folder / "insight.parquet"
    thread.custos("features", "export", "insight_v1", "--purpose", "value", "--out", str(out))
    stages = pq.read_table(out)["stage"].to_pylist()
    assert all(stages.count(stage) >= 5 for stage in {*stages} - {None})
    told = json.loads(thread.custos("features", "stages", "--purpose", "value", "--json"))
    assert told["shares"]
    assert all(abs(sum(share or 0 for share in row.values()) - 1) < 1e-9 for row in told["shares"].values())
    lines = thread.custos("features", "stages", "--purpose", "value").splitlines()
    assert [line.split()[0] for line in lines[3:8] if "not told" not in line] == list(told["shares"])
    thread.custos("features", "stages", "--purpose", "retention", expect=3)
    thread.custos("features", "stages", "--purpose", "marketing", expect=3)


def test_a_score_for_a_purpose_the_features_do_not_serve_is_refused(thread: Thread) -> None:
    out = thread.folder / "refused.parquet"
    thread.custos("score", "churn", "--purpose", "marketing", "--out", str(out), expect=3)
    thread.custos("score", "churn", "--purpose", "value", "--out", str(out), expect=3)
    assert not out.exists()


OWN_RULES = """
  - name: analysts-score
    to: [analyst]
    purposes: [retention]
    actions: [score]
    resources: ["service:churn_v1", "model:churn"]
  - name: regulars-only
    to: [analyst]
    actions: [score]
    resources: ["service:*"]
    row_filter: {column: lifetime_orders, at_least: 3}
"""


def test_the_homes_own_policy_masks_and_filters_a_file_of_scores(thread: Thread) -> None:
    exact = scores(thread, "churn", "retention")
    own, settings = thread.path / "policy.yaml", thread.path / "settings.yaml"
    own.write_text(built_in_policy().read_text("utf-8") + OWN_RULES)
    settings.write_text("role: analyst\n")
    try:
        banded = scores(thread, "churn", "retention")
    finally:
        settings.unlink()
        own.unlink()
    assert 0 < len(banded) < len(exact)
    assert set(next(iter(banded.values()))) == {"customer_token", "status", "churn_band", "as_of", "model_version"}
    for token, row in banded.items():
        probability = exact[token]["churn_probability"]
        assert row["churn_band"] == (None if probability is None else CHURN_BANDS.of(probability))
    tokens = [next(iter(banded)), next(token for token in exact if token not in banded)]
    shown = json.loads(thread.custos("features", "get", "churn_v1", "--purpose", "retention", *tokens, "--json"))
    assert shown[0]["features"]["lifetime_orders"] >= 3 > shown[1]["features"]["lifetime_orders"]


def test_the_api_answers_as_the_scores_do(thread: Thread, service: Service) -> None:
    churn, value = scores(thread, "churn", "retention"), scores(thread, "clv", "retention")
    tokens = list(value)[:100]
    crm = bearer(thread, "crm_service", "retention")
    status, answer = service.post(crm, {"customers": tokens, "models": ["churn", "clv"]})
    assert status == 200
    assert [result["customer"] for result in answer["results"]] == tokens
    assert answer["models"].keys() == {"churn", "clv"}
    for result in answer["results"]:
        expected = churn[result["customer"]]["churn_probability"]
        if expected is not None:
            assert result["churn"]["probability"] == pytest.approx(expected, abs=1e-12, rel=0)
        assert result["clv"]["value"] == pytest.approx(value[result["customer"]]["clv"], abs=1e-9, rel=1e-12)


def test_an_analyst_sees_bands_only(thread: Thread, service: Service) -> None:
    token = next(token for token, row in scores(thread, "churn", "retention").items() if row["status"] == "ok")
    status, answer = service.post(
        bearer(thread, "analyst", "retention"), {"customers": [token], "models": ["churn", "clv"]}
    )
    (result,) = answer["results"]
    assert status == 200
    assert "band" in result["churn"]
    assert "probability" not in result["churn"]
    assert "value" not in result["clv"]


@pytest.mark.parametrize("purpose", ["marketing", "research", "compliance"])
def test_another_purpose_is_refused(thread: Thread, service: Service, purpose: str) -> None:
    token = next(iter(scores(thread, "churn", "retention")))
    status, problem = service.post(bearer(thread, "marketer", purpose), {"customers": [token], "models": ["churn"]})
    assert status == 403
    assert problem["status"] == 403
    assert token not in json.dumps(problem)


def test_a_canary_in_the_wrong_place_is_not_echoed(thread: Thread, service: Service) -> None:
    crm = bearer(thread, "crm_service", "retention")
    for value in (CANARIES[0].name, CANARIES[1].email, str(CANARIES[0].customer_id)):
        for body in ({"customers": [value], "models": ["churn"]}, {"customers": value}, {value: value}, value.encode()):
            status, _ = service.post(crm, body)
            assert 400 <= status < 500
    thread.custos("subject", "erase", CANARIES[0].name, expect=2)
    thread.custos("features", "get", "churn_v1", "--purpose", "retention", CANARIES[1].email, expect=2)


def test_the_landing_page_opens_in_a_browser_and_asks_nobody_else(
    service: Service, debian_package: Callable[[str, str], str], tmp_path: Path
) -> None:
    chromium = debian_package("chromium", "chromium")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [*command, "--dump-dom", f"http://127.0.0.1:{service.port}/"], capture_output=True, check=True, timeout=60
    )
    page = shown.stdout.decode()
    assert "<h1>Custos</h1>" in page
    assert "docs.json" in page
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_features_get_prints_the_features_of_a_token(thread: Thread) -> None:
    token = next(iter(scores(thread, "churn", "retention")))
    (row,) = json.loads(thread.custos("features", "get", "churn_v1", "--purpose", "retention", token, "--json"))
    assert row["status"] == "ok"
    assert len(row["features"]) >= 35
    assert "recency_days" in row["features"]
    assert "audit_reference" not in row["features"]


@contextmanager
def as_role(thread: Thread, role: str, more: str = "") -> Iterator[None]:
    """The operator with another role."""
    settings = thread.path / "settings.yaml"
    settings.write_text(f"role: {role}\n{more}")
    try:
        yield
    finally:
        settings.unlink()


def test_equal_values_link_two_purposes_and_coarser_ones_fewer(thread: Thread) -> None:
    with as_role(thread, "privacy_officer"):
        found = json.loads(thread.custos("risk", "linkage", "--json"))
    shares = {way["values"]: [one["linked"]["value"] for one in way["linked"]] for way in found["ways"]}
    assert shares["exact"][-1] > 0.95
    assert shares["2 bands"][0] < 0.05
    assert all(sorted(few) == few for *few, _ in shares.values())
    assert all(one["linked"]["low"] <= one["linked"]["value"] for way in found["ways"] for one in way["linked"])
    text = thread.custos("risk", "linkage")
    assert "matching at random links" in text
    assert not re.search(r"_[a-z2-7]{2}[0-9a-f]{34}", text)
    events = json.loads(thread.custos("audit", "show", "--action", "attack", "--json"))
    assert [event["resource"] for event in events[-2:]] == ["service:churn_v1", "service:clv_v1"]
    thread.custos("risk", "linkage", "--purposes", "retention", "retention", expect=2)
    thread.custos("risk", "linkage", "--purposes", "retention", "research", expect=2)
    with as_role(thread, "analyst"):
        thread.custos("risk", "linkage", expect=3)


@pytest.mark.slow
def test_a_champion_is_attacked_unless_it_is_a_baseline(thread: Thread) -> None:
    models = json.loads(thread.custos("report", "--json"))["models"]
    for target, model in models.items():
        asked = ("risk", "membership", target, "--shadows", "2", "--json")
        with as_role(thread, "privacy_officer"):
            if model["champion"]["design"] not in ("lightgbm", "anchored", "logistic"):
                thread.custos(*asked, expect=2)
                continue
            told = json.loads(thread.custos(*asked))
        assert json.loads(thread.custos("report", "--json"))["membership"][target]["lira"] == told["lira"]
    with as_role(thread, "marketer"):
        thread.custos("risk", "membership", "churn", expect=3)


def test_counts_are_noised_within_a_budget_that_ends(thread: Thread) -> None:
    asked = ("count", "--by", "churn_band", "--purpose", "retention", "--epsilon")
    plan = thread.custos(*asked, "0.4", "--dry-run")
    assert "off by at most 7" in plan
    assert "leaves 0.6" in plan
    assert "low  " not in plan
    assert json.loads(thread.custos("budget", "show", "--json"))["spendings"] == []
    with as_role(thread, "analyst"):
        told = json.loads(thread.custos(*asked, "0.4", "--json"))
    exact = [row["churn_probability"] for row in scores(thread, "churn", "retention").values()]
    bands = Counter("no score" if value is None else CHURN_BANDS.of(value) for value in exact)
    assert set(told["counts"]) == {*CHURN_BANDS.labels, "no score"}
    # P(|k| > 120) at epsilon 0.4 is below 1e-20.
    assert all(number >= 0 and abs(number - bands[name]) <= 120 for name, number in told["counts"].items())
    assert "medium" in thread.custos(*asked, "0.5")
    thread.custos(*asked, "0.2", expect=3)
    thread.custos(*asked, "0.2", "--dry-run", expect=3)
    for epsilon in ("0", "-1", "nan", "inf"):
        thread.custos(*asked, epsilon, expect=2)
    thread.custos("count", "--by", "clv_band", "--purpose", "marketing", "--epsilon", "0.1", expect=3)
    told = json.loads(thread.custos("mean", "--high", "500", "--purpose", "value", "--epsilon", "1", "--json"))
    assert 0.0 <= told["mean"] <= 500.0
    thread.custos("mean", "--high", "-1", "--purpose", "value", "--epsilon", "1", expect=2)
    shown = json.loads(thread.custos("budget", "show", "--json"))
    assert [(one["purpose"], one["left"]) for one in shown["budgets"]] == [("retention", 0.1), ("value", 0.0)]
    assert {one["state"] for one in shown["spendings"]} == {"spent"}
    with as_role(thread, "analyst", "epsilon_total: 2.0\n"):
        assert "leaves 0.9" in thread.custos(*asked, "0.2", "--dry-run")


def test_a_ledger_that_went_back_or_away_refunds_nothing(thread: Thread) -> None:
    ledger = thread.path / "budget.json"
    kept, asked = ledger.read_bytes(), ("count", "--by", "churn_band", "--purpose", "retention", "--epsilon", "0.1")
    try:
        ledger.unlink()
        thread.custos(*asked, expect=4)
        older = json.loads(kept)
        ledger.write_text(json.dumps({**older, "spendings": older["spendings"][:1]}))
        thread.custos(*asked, expect=4)
        ledger.write_bytes(kept[:-20])
        thread.custos(*asked, expect=4)
        ledger.write_bytes(kept.replace(b'"0.4"', b'"0.1"'))
        thread.custos(*asked, expect=4)
    finally:
        ledger.write_bytes(kept)


def test_no_planted_value_is_anywhere_outside_the_vault(thread: Thread, service: Service) -> None:
    people = identities(thread)
    assert all(canary.customer_id in people for canary in CANARIES), "the canaries were not even in the data"
    scanner = Scanner(PLANTED)
    hits = scanner.scan_tree(thread.folder, skip=("shop/", *VAULT))
    hits += [hit for spoken in thread.spoken for hit in scanner.scan_bytes(spoken, "spoken")]
    assert not hits, hits[:10]


def test_nothing_in_the_vault_is_readable_without_its_keys(thread: Thread) -> None:
    assert any((thread.path / "vault").iterdir())
    assert not Scanner(PLANTED).scan_tree(thread.path / "vault")


def test_a_second_ingest_gives_the_same_rows(thread: Thread) -> None:
    def content() -> list[dict[str, Any]]:
        tables = sorted((thread.path / "protected").rglob("transactions/*.parquet"))
        assert tables
        newest = max(table.parent for table in tables)
        rows = [row for table in sorted(newest.glob("*.parquet")) for row in pq.read_table(table).to_pylist()]
        return sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))

    before = content()
    thread.custos("ingest", str(thread.shop))
    assert content() == before


def test_another_dataset_in_the_same_home_is_refused(thread: Thread) -> None:
    other = write_shop(thread.folder / "shop" / "other", customers=10, name="other_shop")
    thread.custos("ingest", str(other), expect=2)


def test_the_audit_log_holds_and_an_edit_is_found(thread: Thread) -> None:
    assert json.loads(thread.custos("audit", "verify", "--json"))["events"] > 5
    kept = thread.folder / "kept.checkpoint"
    thread.custos("audit", "checkpoint", "--out", str(kept))
    log = thread.path / "audit" / "events.jsonl"
    before = log.read_bytes()
    log.write_bytes(before.replace(b'"allow"', b'"ALLOW"', 1))
    try:
        thread.custos("audit", "verify", expect=1)
    finally:
        log.write_bytes(before)
    thread.custos("audit", "verify", "--checkpoint", str(kept))


def test_an_erased_person_is_gone_and_stays_gone(thread: Thread, service: Service) -> None:
    scores(thread, "clv", "retention")
    victim, token = next((c, identities(thread)[c.customer_id]) for c in CANARIES)
    crm = bearer(thread, "crm_service", "retention")
    ask = {"customers": [token], "models": ["churn", "clv"]}
    assert service.post(crm, ask)[1]["results"][0]["status"] != "unknown"

    receipt = json.loads(thread.custos("subject", "erase", str(victim.customer_id), "--json"))
    assert all(store["after"] == 0 for store in receipt["stores"])
    assert sum(store["before"] for store in receipt["stores"]) > 3

    status, answer = service.post(crm, ask)
    assert status == 200
    assert answer["results"][0]["status"] == "unknown"
    never_seen = {"customers": [_unseen(token)], "models": ["churn", "clv"]}
    strange = service.post(crm, never_seen)[1]["results"][0]
    assert {**strange, "customer": ""} == {**answer["results"][0], "customer": ""}

    again = json.loads(thread.custos("subject", "erase", str(victim.customer_id), "--json"))
    assert again["id"] == receipt["id"]
    thread.custos("ingest", str(thread.shop))
    thread.custos("build")
    thread.custos("materialize")
    assert token not in scores(thread, "clv", "retention")
    assert victim.customer_id not in identities(thread)
    assert service.post(crm, ask)[1]["results"][0]["status"] == "unknown"
    assert not Scanner(victim.values()).scan_tree(thread.path, skip=())


def _unseen(token: str) -> str:
    # A well-formed token of nobody: another block, with its own check byte.

    stem = token[:6] + format(int(token[6:38], 16) ^ 0xFF, "032x")
    candidates = [f"{stem}{check:02x}" for check in range(256)]
    return candidates[int(valid_tokens(pa.array(candidates), "retention").argmax())]


def test_an_erasure_refunds_no_budget(thread: Thread) -> None:
    shown = json.loads(thread.custos("budget", "show", "--json"))
    assert [one["left"] for one in shown["budgets"]] == [0.1, 0.0]


@pytest.mark.slow
def test_mlflow_run_trains_into_the_homes_own_registry(thread: Thread) -> None:
    """`mlflow run mlproject` moves the working directory and hands its own store to the job; neither may matter."""
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT / "mlproject"), "-e", "train", "--env-manager", "local"]
    command += ["-P", "model=clv", "-P", "trials=2"]
    before = json.loads(thread.custos("report", "--json"))["models"]["clv"]["tested"]["version"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**thread.environment, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{thread.folder}/project.db"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300, cwd=thread.folder)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    after = json.loads(thread.custos("report", "--json"))["models"]["clv"]["tested"]["version"]
    assert after > before
    with sqlite3.connect(thread.folder / "project.db") as database:
        tags = dict(database.execute("SELECT key, value FROM tags"))
        assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (0,)
    assert tags["custos.run_id"]
