"""From a new event to its person's features online: Complete Journey, pushed into a stream that is followed.

The seconds are a wall clock's, from writing the events to the command's answer that their people are online; the rows
that are then online are read, and must be of the new data time.

Example: python -m tests.bench.push
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.bench.bars import Bar, tell

SECONDS = 1.0
ROUNDS = 9
COMMAND = (sys.executable, "-m", "mlproject")


def bars() -> list[Bar]:
    """One event, then those of a hundred people at once; the median of several rounds each."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CUSTOS_HOME": str(Path(folder) / "home")}
        for command in (["ingest", "complete_journey"], ["build"], ["materialize"]):
            subprocess.run([*COMMAND, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
        return [
            Bar(f"push until {told} online, wall seconds", _median(environment, people), SECONDS, True)
            for people, told in ((1, "1 person is"), (100, "100 people are"))
        ]


def _median(environment: dict[str, str], people: int) -> float | None:
    """The median seconds of a round, after one that loads what the command needs; None where a person isn't online."""
    command, pipe = [*COMMAND, "push", "-", "--follow", "--json"], subprocess.PIPE
    stream = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe)
    assert stream.stdin is not None
    assert stream.stdout is not None
    found = []
    for round_ in range(ROUNDS + 1):
        events = "".join(_event(people, round_, customer) for customer in range(1, people + 1)).encode()
        start, done = time.perf_counter(), 0
        stream.stdin.write(events)
        stream.stdin.flush()
        while done < people:
            answer = json.loads(stream.stdout.readline() or "{}")
            if not answer or answer["added"] != answer["events"] or not answer["online"]:
                return None
            done += answer["events"]
        found.append(time.perf_counter() - start)
    stream.stdin.close()
    if stream.wait(60) != 0 or not _is_online(environment, answer["as_of"], people):
        return None
    return statistics.median(found[1:])


def _event(people: int, round_: int, customer: int) -> str:
    order = f"bench-{people}-{round_}-{customer}"
    at = (dt.datetime(2018, 1, 2, tzinfo=dt.UTC) + dt.timedelta(minutes=people + round_)).isoformat()
    event = {"customer_id": customer, "order_id": order, "ordered_at": at, "amount": 3.5, "quantity": 1}
    return json.dumps({**event, "product_id": 1082185, "category": "GROCERY"}) + "\n"


def _is_online(environment: dict[str, str], as_of: str, people: int) -> bool:
    """Whether as many people as were pushed have online rows of the new data time."""
    moment = int(dt.datetime.fromisoformat(as_of).timestamp() * 1_000_000)
    file = Path(environment["CUSTOS_HOME"]) / "feast" / "online.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        count = "SELECT count(DISTINCT entity_key) FROM custos_rows WHERE moment = ?"
        return bool(connection.execute(count, [moment]).fetchone()[0] >= people)


if __name__ == "__main__":
    sys.exit(tell(bars()))
