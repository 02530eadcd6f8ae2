"""The demonstration: the main job on Complete Journey, then what five people would see."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.access import grant_access
from mlproject.pipelines.erase import erase_subject
from mlproject.pipelines.run import run_all
from mlproject.pipelines.score import scored_table
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
    import pyarrow.compute as pc

    from privacy.tokens import Pseudonymiser

    purpose = Purpose.RETENTION
    scores = scored_table(house, "churn", purpose.value, as_of=None)
    tokens = scores.filter(pc.equal(scores["status"], "ok"))["customer_token"].slice(0, 1).combine_chunks()
    pseudonymiser = Pseudonymiser(house.keyring, house.vault, policy=house.policy, audit=house.audit)
    why = "demonstration of an erasure"
    ids = pseudonymiser.reidentify(tokens, purpose.value, house.operator(purpose.value), purpose, why)
    return tokens[0].as_py(), str(ids[0].as_py())


def _call(house: House, port: int, role: Role, purpose: Purpose, token: str) -> Iterator[str]:
    *_, bearer = grant_access(house, role.value, purpose.value, "demo", timedelta(minutes=5))
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
