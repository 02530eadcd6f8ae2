"""The commands that bring a shop: init, check."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options

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
    from mlproject.wiring import House

    report = check_dataset(House.open(home), descriptor)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        for line in report.lines():
            click.echo(line)
    return report.status


COMMANDS: tuple[click.Command, ...] = (dataset,)
