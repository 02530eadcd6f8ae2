"""The commands that bring a shop: init, check."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options
from privacy.errors import printable

__all__ = ["COMMANDS"]


@click.group()
def dataset() -> None:
    """Bring your own data: draft a descriptor, hold it against the data."""


@dataset.command("check")
@click.argument("descriptor", metavar="DESCRIPTOR")
@options.as_json
@options.home
def check(descriptor: str, as_json: bool, home: Path | None) -> int:
    """Hold DESCRIPTOR (a YAML file or a built-in name) against its data, and tell everything that is wrong at once.

    Nothing is kept, and nothing of a person is printed. Exit 1 if the data don't fit, 2 if the descriptor itself can't
    be used. It reads the raw tables, so it is for whom the home's policy lets ingest; no home need be there yet.

    \b
    Example: custos dataset check shop.yaml
    """
    from mlproject.pipelines.dataset import check_dataset
    from mlproject.stages import Stages
    from mlproject.wiring import House

    report = check_dataset(House.open(home), descriptor, Stages())
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        for line in report.lines():
            click.echo(printable(line))
    return report.status


@dataset.command("init")
@click.argument("place", metavar="DIR_OR_FILE", type=options.Place(either=True))
@click.option("--out", type=options.Place(), help="Where to write it.  [default: shop.yaml beside the data]")
@options.home
def init(place: Path, out: Path | None, home: Path | None) -> None:
    """Draft a descriptor for the parquet and csv files of DIR_OR_FILE, with a sensitivity proposed where it is plain.

    Names of columns and a sample of their values are looked at; what is unsure is left for you to decide, and a run is
    refused until you did. No value is written down, and no file is overwritten.

    \b
    Example: custos dataset init data --out data/shop.yaml
    """
    from mlproject.pipelines.dataset import draft_dataset
    from mlproject.stages import Stages
    from mlproject.wiring import House

    for line in draft_dataset(House.open(home), place, out, Stages()):
        click.echo(printable(line))


COMMANDS: tuple[click.Command, ...] = (dataset,)
