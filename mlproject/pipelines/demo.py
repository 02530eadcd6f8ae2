"""The demonstration: the main job on Complete Journey, then what five people would see."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.erase import erase_subject
from mlproject.pipelines.run import run_all
from mlproject.pipelines.score import score_everyone
from mlproject.pipelines.servers import mlflow_link
from mlproject.stages import Stages
from privacy.classification import Purpose, Role

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["demonstrate"]


def demonstrate(house: House, *, trials: int, seed: int) -> Iterator[str]:
    """Run everything, then show a run's place, two views of a customer, a refusal and an erasure."""
    from serving.launch import ServerProcess

    stages = Stages()
    yield from run_all(house, "complete_journey", stages, as_of=None, trials=trials, seed=seed)
    token, customer_id = _somebody(house)
    port = _free_port()
    house.paths.bento.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        with stages.stage("start the prediction service"):
            running.enter_context(ServerProcess(house.paths.root, port, log=house.paths.bento / "serve.log"))
        yield from _five_views(house, port, token, customer_id)
    yield from _heading("What it took")
    seconds, peak = sum(stage.seconds for stage in stages.done), max(stage.peak_mb for stage in stages.done)
    yield f"{seconds:.0f} s, at most {peak:,.0f} MB"
    yield "Next: custos report | custos mlflow | custos serve"


def _five_views(house: House, port: int, token: str, customer_id: str) -> Iterator[str]:
    yield from _heading("1. The runs in MLflow")
    yield f"custos mlflow, then {mlflow_link()}"
    yield from _heading("2. A prediction as a CRM service sees it")
    yield from _call(house, port, Role.CRM_SERVICE, Purpose.RETENTION, token)
    yield from _heading("3. The same customer as an analyst sees it")
    yield from _call(house, port, Role.ANALYST, Purpose.RETENTION, token)
    yield from _heading("4. The same query for a purpose that the features don't serve")
    yield from _call(house, port, Role.MARKETER, Purpose.MARKETING, token)
    yield from _heading("5. The person erased, and asked for again")
    yield erase_subject(house, customer_id).text()
    yield from _call(house, port, Role.CRM_SERVICE, Purpose.RETENTION, token)


def _somebody(house: House) -> tuple[str, str]:
    # The first of those with a churn score: a token of the retention purpose, and who it is.
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from privacy.tokens import Pseudonymiser

    with TemporaryDirectory(dir=house.paths.root) as folder:
        out = Path(folder) / "scores.parquet"
        list(score_everyone(house, "churn", Purpose.RETENTION.value, out, as_of=None))
        scores = pq.read_table(out)
    token = scores.filter(pc.equal(scores["status"], "ok"))["customer_token"][0].as_py()
    pseudonymiser = Pseudonymiser(house.keyring, house.vault, policy=house.policy, audit=house.audit)
    principal = house.operator(Purpose.RETENTION.value)
    ids = pseudonymiser.reidentify(
        pa.array([token]),
        Purpose.RETENTION.value,
        principal,
        Purpose.RETENTION,
        "demonstration of an erasure",
    )
    return token, str(ids[0].as_py())


def _call(house: House, port: int, role: Role, purpose: Purpose, token: str) -> Iterator[str]:
    from serving.auth import grant

    life = timedelta(minutes=5)
    bearer = grant(house.keyring, name="demo", role=role, purpose=purpose, ttl=life, now=house.now())
    body = json.dumps({"customers": [token], "models": ["churn", "clv"]}).encode()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/predict"
    yield f"POST /v1/predict, role {role}, purpose {purpose}"
    status, answer = _post(urllib.request.Request(url, body, headers))
    yield f"{status} {json.dumps(answer, indent=2, ensure_ascii=False)}"


def _post(request: urllib.request.Request) -> tuple[int, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield f"== {text}"
