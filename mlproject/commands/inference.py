"""The commands about what must not be inferred of people: propose, check."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options

__all__ = ["COMMANDS"]


@click.group()
def inference() -> None:
    """Keep from being inferred what nobody should know of people."""


@inference.command("propose")
@click.argument("dataset")
@options.as_json
@options.home
def propose(dataset: str, as_json: bool, home: Path | None) -> None:
    """Print the `inference:` block that word lists propose for DATASET, for a person to accept; nothing is applied.

    It reads the raw tables, so it is for whom the home's policy lets ingest; no home need be there yet.

    \b
    Example: custos inference propose shop.yaml
    """
    from mlproject.pipelines.inference import propose_marks, proposed_yaml
    from mlproject.wiring import House

    proposed = propose_marks(House.open(home), dataset)
    if as_json:
        click.echo(json.dumps(proposed, indent=2, ensure_ascii=False))
        return
    for line in proposed_yaml(proposed):
        click.echo(line)


@inference.command("check")
@options.as_json
@options.home
def check(as_json: bool, home: Path | None) -> int:
    """Attack every feature service and model of this home for what the descriptor marks; exit 1 if one fails.

    Where a service fails, it looks for the fewest features to withhold so that it passes: a search of at most 40
    attacks, each as long as one of the check's own.

    \b
    Example: custos inference check
    """
    from mlproject.pipelines.verdicts import gate_lines
    from mlproject.pipelines.way_out import check_home
    from mlproject.stages import Stages
    from mlproject.wiring import House

    section = check_home(House.open(home), Stages())
    if as_json:
        click.echo(json.dumps(section, indent=2))
    else:
        for line in gate_lines(section):
            click.echo(line)
    return int(not all(verdict["passed"] for verdict in section["verdicts"]))


COMMANDS: tuple[click.Command, ...] = (inference,)
