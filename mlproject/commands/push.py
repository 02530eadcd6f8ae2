"""The command that takes new events."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from mlproject import options
from privacy.errors import BadInput, CheckFailed

if TYPE_CHECKING:
    from mlproject.pipelines.push import Pushed
    from mlproject.wiring import House

__all__ = ["COMMANDS"]


@click.command()
@click.argument("file", type=options.Place(), required=False)
@click.option("--inbox", is_flag=True, help="Add what the API has taken, instead of a file.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until the stream ends or this is stopped.")
@options.home
@options.as_json
def push(file: Path | None, inbox: bool, follow: bool, home: Path | None, as_json: bool) -> None:
    """Add the events in FILE (- for standard input) and put their people's features online at once.

    An event a line, as JSON whose keys are the descriptor's columns; "table": "interactions" where it is no order
    line. Pushing the same again changes nothing. Exit status 1: no event was good, and all are in the quarantine.
    With --follow they are online within moments of coming; what has no good event is told, and the rest goes on.

    \b
    Example: custos push today.jsonl
    Example: custos push --inbox --follow
    Example: echo '{"customer_id": 1, "order_id": "A7", "ordered_at": "2026-11-22", "amount": 3.5}' | custos push -
    """
    if (file is None) != inbox:
        raise click.UsageError("name a file of events (- for standard input) or give --inbox")
    from mlproject.wiring import House

    house = House.open(home)
    for pushed in _followed(house, file) if follow else _once(house, file):
        _tell(pushed, as_json, indent=None if follow else 2)


def _once(house: House, file: Path | None) -> Iterator[Pushed]:
    from features.json_lines import lines_in
    from mlproject.pipelines.push import push_inbox, push_lines

    if file is None:
        yield push_inbox(house)
        return
    with _opened(file) as lines:
        yield push_lines(house, lines_in(lines))


def _followed(house: House, file: Path | None) -> Iterator[Pushed]:
    from mlproject.pipelines.follow import follow_inbox, follow_lines, until_told_to_stop

    def failed(error: CheckFailed) -> None:
        click.echo(f"custos: {error}", err=True)

    with until_told_to_stop() as stopped:
        click.echo("following: events are pushed as they come; Ctrl-C or SIGTERM ends it", err=True)
        if file is None:
            yield from follow_inbox(house, stopped, failed)
            return
        with _opened(file) as lines:
            yield from follow_lines(house, lines.fileno(), stopped, failed)


def _tell(pushed: Pushed, as_json: bool, indent: int | None) -> None:
    from mlproject.pipelines.push import told

    for line in [json.dumps(pushed.to_dict(), indent=indent)] if as_json else told(pushed):
        click.echo(line)


def _opened(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        what = f"the events can't be read: {error.strerror}"
        raise BadInput(what, where=str(file), remedy="name a file of JSON lines, or - for standard input") from None


COMMANDS: tuple[click.Command, ...] = (push,)
