"""Events that keep coming: a stream is cut where it pauses, stops between pushes, and says how far it got."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.inbox import Inbox
from features.storage import TableStore
from mlproject.pipelines import follow
from privacy.errors import BadInput
from tests.features.pushes import split
from tests.features.test_push import SPLIT
from tests.home import Home
from tests.shops import make_shop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)


def test_lines_are_whole_and_in_order_however_they_come(pipe: tuple[int, int]) -> None:
    read, write = pipe
    coming = follow._together(read, follow.Stop())
    os.write(write, b"one\ntwo\nth")
    assert next(coming) == [b"one", b"two"]
    os.write(write, b"ree\n\nfour")
    assert next(coming) == [b"three", b""]
    os.close(write)
    assert list(coming) == [[b"four"]]


def test_a_stop_leaves_the_rest_in_the_pipe(pipe: tuple[int, int]) -> None:
    read, write = pipe
    stopped = follow.Stop()
    coming = follow._together(read, stopped)
    os.write(write, b"one\n")
    assert next(coming) == [b"one"]
    stopped.set()
    os.write(write, b"two\n")
    assert list(coming) == []
    assert os.read(read, 9) == b"two\n"
    os.close(write)


def test_a_line_without_an_end_is_refused(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = pipe
    monkeypatch.setattr(follow, "MOST_BYTES", 10)
    coming = follow._together(read, follow.Stop())
    os.write(write, b"one\n" + b"x" * 20)
    with pytest.raises(BadInput, match="line 2 is longer than 10 bytes"):
        list(coming)
    os.close(write)


def test_equal_lines_come_again_wherever_the_stream_is_cut() -> None:
    seen = follow._Seen()
    for lines, before in (
        ([b"a", b"a", b"b", b""], []), ([b"a", b"c", b""], [b"a", b"a"]), ([b"c", b"a"], [b"c", b"a", b"a", b"a"]),
    ):  # fmt: skip
        assert seen.earlier(lines, "one ingest") == before
        seen.keep(lines)
    assert seen.earlier([b"a"], "another ingest") == []


class Followed:
    """A following command of its own process, asked line by line."""

    def __init__(self, home: Home, *arguments: str) -> None:
        command = [sys.executable, "-m", "mlproject", "push", "--follow", "--json", *arguments]
        self.log = (home.user / "follow.log").open("w+b")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=home.environment, stdin=pipe, stdout=pipe, stderr=self.log)

    def send(self, *events: dict[str, Any] | str) -> None:
        assert self.process.stdin is not None
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.end()
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self, number: int | None = None) -> tuple[int, str]:
        """The exit status and what was said beside, once the input ended or the process got a signal."""
        if number is None:
            self.process.communicate(timeout=120)
        else:
            self.process.send_signal(number)
        status = self.process.wait(120)
        self.log.seek(0)
        return status, self.log.read().decode()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("followed")
    home, shop = Home(folder), make_shop(folder / "shop", customers=12)
    later = split(folder / "shop", SPLIT)
    for command in (["ingest", str(shop)], ["build"], ["materialize"]):
        home.custos(*command)
    return home, later


@pytest.mark.slow
def test_a_stream_is_online_as_it_comes_and_bad_lines_tell_where_to_go_on(
    begun: tuple[Home, list[dict[str, Any]]], tmp_path: Path
) -> None:
    home, later = begun
    stream = Followed(home, "-")
    stream.send(later[0], "", later[1])
    first = stream.answer()
    assert (first["added"], first["online"] > 0, first["through_line"]) == (2, True, 3)
    stream.send({**later[2], "amount": None})
    stream.send(later[2])
    while (last := stream.answer())["through_line"] < 5:  # one push or two, as the lines came
        pass
    assert last["added"] == 1
    stream.send(later[1])  # truly another, equal one
    equal = stream.answer()
    assert (equal["added"], equal["events"], equal["repeated"]) == (1, 1, 0)
    stream.send(later[3], "no event")
    assert stream.answer()["through_line"] == 7
    status, said = stream.end()
    assert status == 2
    assert "line 8 is no JSON object; nothing was pushed from there on" in said
    assert str(later[2]["customer_id"]) not in said


@pytest.mark.slow
def test_the_inbox_is_emptied_as_it_fills_until_a_signal(begun: tuple[Home, list[dict[str, Any]]]) -> None:
    home, _ = begun
    token = TableStore(home.path / "protected" / "corner_shop").read("people")["customer_token"][0].as_py()
    inbox, stream = Inbox(home.path / "inbox"), Followed(home, "--inbox")
    for number in (1, 2):
        event = {"event": f"{number:032x}", "customer_token": token, "ordered_at": "2024-01-21T10:00:00+00:00",
                 "lines": [{"amount": 4.25, "category": "dairy"}]}  # fmt: skip
        inbox.put([event])
        answer = stream.answer()
        assert (answer["added"], answer["online"]) == (1, 1)
    late = {**event, "event": "ff" * 16, "ordered_at": "2024-09-01T10:00:00+00:00"}
    inbox.put([{**event, "event": "fe" * 16}, late])
    answer = stream.answer()
    assert (answer["added"], answer["waiting"]) == (1, 1)
    assert stream.end(signal.SIGTERM)[0] == 0
    assert [events for _, events in inbox.waiting()] == [[late]]
