"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from errno import ENAMETOOLONG
from pathlib import Path
from typing import Any, TypeVar

import click

from mlproject.state import usable
from privacy.classification import Purpose, Role

__all__ = ["TARGETS", "Day", "Place", "as_json", "as_of", "home", "purpose", "role", "seed", "since", "trials"]

Command = TypeVar("Command", bound=Callable[..., Any])
TARGETS = click.Choice(["churn", "clv"])


class Day(click.ParamType[datetime]):
    """A date or a moment in ISO 8601; without a zone it is UTC. `of_data`: one that data may be dated by."""

    name = "date"

    def __init__(self, *, of_data: bool = False) -> None:
        self._of_data = of_data

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the aware moment, or fail with the expected form."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("not a date: write it as 2017-12-31", param, ctx)
        if self._of_data and not usable(moment):
            self.fail("give a date from 1970 to 2199", param, ctx)
        return moment


class Place(click.Path):
    """The path of a file, or of a folder, or of either; whether it can be read is for whoever reads it to say.

    An empty word, as an unset variable gives, is refused rather than taken for this folder.
    """

    def __init__(self, *, folder: bool = False, either: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=either or not folder, dir_okay=either or folder, readable=False)
        self._folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or fail."""
        if value == "":
            self.fail(f"it is empty: name a {'folder' if self._folder else 'file'}", param, ctx)
        try:
            os.lstat(value)
        except OSError as error:
            if error.errno == ENAMETOOLONG:
                self.fail("the name is too long", param, ctx)
        return super().convert(value, param, ctx)


def home(command: Command) -> Command:
    """Add --home."""
    text = "Where everything is kept.  [default: CUSTOS_HOME, else the nearest .custos]"
    return click.option("--home", type=Place(folder=True), help=text)(command)


def as_json(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(command)


def as_of(command: Command) -> Command:
    """Add --as-of."""
    text = "The day the data is looked at from.  [default: the last event plus one day]"
    return click.option("--as-of", type=Day(of_data=True), metavar="DATE", help=text)(command)


def since(command: Command) -> Command:
    """Add --since, whose DATE may be left out."""
    text = "Compute only cut-offs from this day on, and what isn't built.  [without DATE: only what isn't built]"
    day = Day(of_data=True)
    return click.option("--since", type=day, is_flag=False, flag_value="2199-12-31", metavar="[DATE]", help=text)(
        command
    )


def purpose(command: Command) -> Command:
    """Add a required --purpose."""
    choices = click.Choice([p.value for p in Purpose])
    return click.option("--purpose", type=choices, required=True, help="What it is for.")(command)


def role(command: Command) -> Command:
    """Add a required --role."""
    choices = click.Choice([r.value for r in Role])
    return click.option("--role", type=choices, required=True, help="What the bearer may act as.")(command)


def trials(command: Command) -> Command:
    """Add --trials."""
    return click.option(
        "--trials", type=click.IntRange(1), default=20, show_default=True, help="Optuna trials a model."
    )(command)


def seed(command: Command) -> Command:
    """Add --seed."""
    span = click.IntRange(0, 2**31 - 1)  # LightGBM's own
    return click.option("--seed", type=span, default=0, show_default=True, help="Same seed, same trees.")(command)
