"""The commands that tell figures with noise: counts, means, and what is left to tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlproject import options
from mlproject.stages import Stages

if TYPE_CHECKING:
    from mlproject.pipelines.count import Release

__all__ = ["COMMANDS"]

Command = TypeVar("Command", bound=Callable[..., Any])


def of_noise(command: Command) -> Command:
    """Add --purpose, --epsilon, --dry-run, --as-of, --json and --home."""
    text = "How much of the budget to spend: less is more noise."
    for option in (
        options.home,
        options.as_json,
        options.as_of,
        click.option("--dry-run", is_flag=True, help="Tell accuracy and price, and stop."),
        click.option("--epsilon", type=float, required=True, help=text),
        options.purpose,
    ):
        command = option(command)
    return command


@click.command()
@click.option("--by", type=click.Choice(["churn_band", "clv_band"]), required=True, help="Whose bands are counted.")
@of_noise
def count(
    by: str, purpose: str, epsilon: float, dry_run: bool, as_of: datetime | None, as_json: bool, home: Path | None
) -> None:
    """Count people by band of the champion's scores, with noise that hides any one of them (differential privacy).

    Tells how accurate the counts will be, and what will be left of the budget, before it draws. Audited.

    \b
    Example: custos count --by churn_band --purpose retention --epsilon 0.1 --dry-run
    """
    from mlproject.pipelines.count import count_release
    from mlproject.wiring import House

    made = count_release(House.open(home), by, purpose, epsilon, as_of=as_of)
    for name, number in shown(made, dry_run, as_json).get("counts", {}).items():
        click.echo(f"  {name:<12}{number:>10,}")


@click.command()
@click.option("--low", type=float, default=0.0, show_default=True, help="Values below count as this.")
@click.option("--high", type=float, required=True, help="Values above count as this. Declare it, don't look it up.")
@of_noise
def mean(
    low: float,
    high: float,
    purpose: str,
    epsilon: float,
    dry_run: bool,
    as_of: datetime | None,
    as_json: bool,
    home: Path | None,
) -> None:
    """Tell the mean predicted value of everybody, clipped to declared bounds, with noise.

    The bounds must not come from the data: an extreme is somebody's value. Audited.

    \b
    Example: custos mean --high 1000 --purpose value --epsilon 0.1
    """
    from mlproject.pipelines.count import mean_release
    from mlproject.wiring import House
    from privacy.noise import Bounds

    made = mean_release(House.open(home), purpose, Bounds(low, high), epsilon, as_of=as_of)
    told = shown(made, dry_run, as_json)
    if told:
        click.echo(f"  mean {told['mean']:,.2f} among {told['people']:,} people, both noised")


def shown(made: Release, dry_run: bool, as_json: bool) -> dict[str, Any]:
    """Tell what a release comes to, then draw it unless it is a dry run; what is left to print."""
    for line in () if as_json else made.lines:
        click.echo(line)
    drawn = {}
    if not dry_run:
        with Stages().stage("score everybody and draw"):
            drawn = made.draw()
    if as_json:
        click.echo(json.dumps({**made.told, "dry_run": dry_run, **drawn}, indent=2))
        return {}
    return drawn


@click.group()
def budget() -> None:
    """Look at what may still be told about people."""


@budget.command("show")
@options.as_json
@options.home
def show(as_json: bool, home: Path | None) -> None:
    """Show the privacy budget: what was spent on which release, and what is left for each purpose.

    \b
    Example: custos budget show
    """
    from mlproject.pipelines.count import budget_lines, budget_of
    from mlproject.wiring import House

    told = budget_of(House.open(home))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for line in budget_lines(told):
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (count, mean, budget)
