"""The command that takes new events."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO

import click

from mlproject import options
from privacy.errors import BadInput

__all__ = ["COMMANDS"]


@click.command()
@click.argument("file", type=options.Place(), required=False)
@click.option("--inbox", is_flag=True, help="Add what the API has taken, instead of a file.")
@options.home
@options.as_json
def push(file: Path | None, inbox: bool, home: Path | None, as_json: bool) -> None:
    """Add the events in FILE (- for standard input) and put their people's features online at once.

    An event a line, as JSON whose keys are the descriptor's columns; "table": "interactions" where it is no order
    line. Pushing the same again changes nothing. Exit status 1: no event was good, and all are in the quarantine.

    \b
    Example: custos push today.jsonl
    Example: custos push --inbox
    Example: echo '{"customer_id": 1, "order_id": "A7", "ordered_at": "2026-11-22", "amount": 3.5}' | custos push -
    """
    if (file is None) != inbox:
        raise click.UsageError("name a file of events (- for standard input) or give --inbox")
    from mlproject.home_keys import begin_to_open
    from mlproject.wiring import House

    house = House.open(home)
    begin_to_open(house)
    from mlproject.pipelines.push import push_inbox, push_lines, told

    if file is None:
        pushed = push_inbox(house)
    else:
        with _opened(file) as lines:
            pushed = push_lines(house, lines)
    if as_json:
        click.echo(json.dumps(pushed.to_dict(), indent=2))
        return
    for line in told(pushed):
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
