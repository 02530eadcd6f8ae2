"""The commands that attack: equal values under two purposes, a released table, a model's training rows."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from mlproject import options
from privacy.classification import Purpose

__all__ = ["COMMANDS"]

PURPOSES = click.Choice([purpose.value for purpose in Purpose])
Parquet = options.Place()


@click.group()
def risk() -> None:
    """Attack what is kept and released, and say how far that comes: a figure, its interval, a baseline."""


@risk.command("linkage")
@click.option(
    "--purposes",
    nargs=2,
    type=PURPOSES,
    default=("retention", "value"),
    show_default=True,
    help="Whose answers somebody may lay side by side.",
)
@options.as_json
@options.as_of
@options.home
def linkage(purposes: tuple[str, str], as_json: bool, as_of: datetime | None, home: Path | None) -> None:
    """Tell how many people equal feature values link across two purposes, and what rounding and banding buy.

    Tokens of two purposes can't be linked without the keys; values can. No row is printed. Audited.

    \b
    Example: custos risk linkage --purposes retention value
    """
    from mlproject.pipelines.linkage import linkage_lines, measure_linkage
    from mlproject.wiring import House

    found = measure_linkage(House.open(home), purposes, as_of=as_of)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in linkage_lines(found):
        click.echo(line)


@risk.command("release")
@click.option("--original", type=Parquet, required=True, help="The people it was made of, in the release's columns.")
@click.option("--released", type=Parquet, required=True, help="What is to be released.")
@click.option("--control", type=Parquet, required=True, help="People who aren't in it, at least as many.")
@click.option("--secret", "secrets", multiple=True, metavar="COLUMN", help="What to infer.  [default: each column]")
@click.option("--attempts", type=click.IntRange(1), default=2000, show_default=True, help="How often to attack.")
@options.seed
@options.as_json
@options.home
def release(
    original: Path,
    released: Path,
    control: Path,
    secrets: tuple[str, ...],
    attempts: int,
    seed: int,
    as_json: bool,
    home: Path | None,
) -> None:
    """Attack a table before it is released: singling out, linkability, inference (WP29 opinion 05/2014).

    Reads three parquet files of your own and prints no row; a home's audit log keeps that it was done.

    \b
    Example: custos risk release --original half.parquet --released out.parquet --control other_half.parquet
    """
    from mlproject.pipelines.release import attack_files, release_lines
    from mlproject.wiring import House
    from privacy.attacks import Effort

    files = original, released, control
    found = attack_files(House.open(home), files, secrets, Effort(attempts, seed))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    for line in release_lines(found):
        click.echo(line)


@risk.command("membership")
@click.argument("target", type=options.TARGETS)
@click.option("--shadows", type=click.IntRange(2), default=8, show_default=True, help="Shadow models; an even number.")
@options.seed
@options.as_json
@options.home
def membership(target: str, shadows: int, seed: int, as_json: bool, home: Path | None) -> None:
    """Attack the champion's design: does it tell whose rows it was trained on? (LiRA, Carlini et al. 2022)

    Trains one model more than there are shadow models. Kept in the report, and audited.

    \b
    Example: custos risk membership churn --shadows 8
    """
    from mlproject.pipelines.membership import measure_membership, membership_lines
    from mlproject.stages import Stages
    from mlproject.wiring import House

    found = measure_membership(House.open(home), target, Stages(), shadows=shadows, seed=seed)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in membership_lines(target, found):
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (risk,)
