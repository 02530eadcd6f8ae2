"""The command that tells how good the data are."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options

__all__ = ["COMMANDS"]


@click.command()
@click.option("--history", is_flag=True, help="Every ingest, not only the last.")
@click.option("--html", type=options.Place(), metavar="PATH", help="Write a page with charts over time there.")
@options.as_json
@options.home
def quality(history: bool, html: Path | None, as_json: bool, home: Path | None) -> int:
    """Tell how good the data of the last ingest were: scores of every table and column, counts of few rows left out.

    Exit 1 if the last ingest was stopped by what the descriptor asks (`quality:`); warnings are 0.

    \b
    Example: custos quality
    Example: custos quality --html quality.html
    """
    from features.quality.told import card_lines
    from mlproject.pipelines.quality import history_lines, scorecards, write_page
    from mlproject.wiring import House

    house = House.open(home)
    cards = scorecards(house)
    last = cards[-1]
    if html is not None:
        write_page(house, cards, html)
    if as_json:
        click.echo(json.dumps([card.model_dump() for card in cards] if history else last.model_dump(), indent=2))
    else:
        for line in history_lines(cards) if history else card_lines(last):
            click.echo(line)
        for breach in last.breaches:
            click.echo(f"{breach.on_breach}: {breach.line()}")
        if html is not None:
            click.echo(f"page: {html}")
    return int(last.outcome == "stopped")


COMMANDS: tuple[click.Command, ...] = (quality,)
