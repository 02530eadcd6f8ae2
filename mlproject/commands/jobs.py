"""The commands that make something: demo, run and its stages."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from mlproject import options

__all__ = ["COMMANDS"]


@click.command()
@options.home
@options.trials
@options.seed
def demo(home: Path | None, trials: int, seed: int) -> None:
    """Run everything on Complete Journey, then show what each of five people would see.

    \b
    Example: custos demo --home /tmp/custos-demo
    """
    from mlproject.pipelines.demo import demonstrate
    from mlproject.wiring import House

    for line in demonstrate(House.open(home), trials=trials, seed=seed):
        click.echo(line)


@click.command()
@click.argument("dataset")
@options.home
@options.as_of
@options.trials
@options.seed
def run(dataset: str, home: Path | None, as_of: datetime | None, trials: int, seed: int) -> None:
    """Bring DATASET (a built-in name or a YAML file) from raw tables to champions in the registry.

    \b
    Example: custos run complete_journey
    Example: custos run shop.yaml --as-of 2026-10-31 --trials 50
    """
    from mlproject.pipelines.run import run_all
    from mlproject.stages import Stages
    from mlproject.wiring import House

    for line in run_all(House.open(home), dataset, Stages(), as_of=as_of, trials=trials, seed=seed):
        click.echo(line)


@click.command()
@click.argument("dataset")
@options.home
def ingest(dataset: str, home: Path | None) -> None:
    """Read DATASET's raw tables, quarantine the bad rows, keep the rest protected.

    \b
    Example: custos ingest shop.yaml
    """
    from mlproject.pipelines.ingest import ingest_dataset
    from mlproject.stages import Stages
    from mlproject.wiring import House

    for line in ingest_dataset(House.open(home), dataset, Stages()):
        click.echo(line)


@click.command()
@options.home
@options.as_of
@options.since
def build(home: Path | None, as_of: datetime | None, since: datetime | None) -> None:
    """Compute the features at every cut-off the models need and at --as-of.

    With --since, rows at cut-offs before DATE (alone: before any) are carried over where they are built and still hold.

    \b
    Example: custos build
    Example: custos build --since
    Example: custos build --since 2026-10-01
    """
    from mlproject.pipelines.build import build_features
    from mlproject.stages import Stages
    from mlproject.wiring import House

    house = House.open(home)
    for line in build_features(house, Stages(), as_of=as_of, since=since):
        click.echo(line)
    if house.descriptor.inference:
        click.echo("Next: `custos inference check`; until it has passed, no service tells anything of these features.")


@click.command()
@options.home
@options.as_of
def materialize(home: Path | None, as_of: datetime | None) -> None:
    """Put the latest features into the online store that the prediction service reads.

    \b
    Example: custos materialize
    """
    from mlproject.pipelines.build import materialize_features
    from mlproject.stages import Stages
    from mlproject.wiring import House

    for line in materialize_features(House.open(home), Stages(), as_of=as_of):
        click.echo(line)


@click.command()
@click.argument("target", type=options.TARGETS)
@options.home
@options.trials
@options.seed
@click.option("--no-promote", is_flag=True, help="Let a candidate that passes wait for `custos promote`.")
def train(target: str, home: Path | None, trials: int, seed: int, no_promote: bool) -> None:
    """Tune, test out of time, register; the candidate becomes champion if it passes every gate.

    \b
    Example: custos train churn --trials 50 --seed 7
    """
    from mlproject.pipelines.train import train_target
    from mlproject.stages import Stages
    from mlproject.wiring import House

    lines = train_target(House.open(home), target, Stages(), trials=trials, seed=seed, promote=not no_promote)
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("target", type=options.TARGETS)
@options.home
def promote(target: str, home: Path | None) -> None:
    """Make the latest challenger champion if its gates let it; exit 1 with the reasons if not.

    \b
    Example: custos promote clv
    """
    from mlproject.pipelines.train import promote_target
    from mlproject.wiring import House

    for line in promote_target(House.open(home), target):
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (demo, run, ingest, build, materialize, train, promote)
