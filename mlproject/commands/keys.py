"""The commands of the keyring: create, list, rotate, disable, enable, destroy, seal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from mlproject import options
from privacy.classification import Purpose
from privacy.errors import BadInput

__all__ = ["COMMANDS"]

KEY = click.argument("key_id", metavar="KEY")


@click.group()
def keys() -> None:
    """Look after the keyring: one primary key makes tokens, enabled ones read, disabled ones do nothing."""


@keys.command("create")
@options.home
def create(home: Path | None) -> None:
    """Make this home's keyring before anything is ingested (`custos run` makes one too).

    \b
    Example: custos keys create --home /srv/custos
    """
    from mlproject.pipelines.keys import create_keys
    from mlproject.wiring import House

    _tell(create_keys(House.open(home)))


@keys.command("list")
@options.as_json
@options.home
def list_(as_json: bool, home: Path | None) -> None:
    """List the keys, their states and which stores were written under them; no key bytes are ever shown.

    \b
    Example: custos keys list
    """
    from mlproject.pipelines.keys import list_keys
    from mlproject.wiring import House

    found = list_keys(House.open(home))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{'key':<5}{'version':>8}  {'state':<10}{'created':<27}{'service':<9}stores")
    for row in found:
        held = "holds it" if row["service_holds_it"] else "-"
        stores = ", ".join(row["stores"]) or "-"
        line = f"{row['key']:<5}{row['version']:>8}  {row['state']:<10}{row['created_at']:<27}{held:<9}{stores}"
        click.echo(line)


@keys.command("rotate")
@options.home
def rotate(home: Path | None) -> None:
    """Add a key and let it make all new tokens; tokens already issued go on being read.

    \b
    Example: custos keys rotate
    """
    from mlproject.pipelines.keys import rotate_keys
    from mlproject.wiring import House

    _tell(rotate_keys(House.open(home)))


@keys.command("disable")
@KEY
@click.option("--even-if-in-use", is_flag=True, help="For a stolen key: stores written under it can't be read then.")
@options.home
def disable(key_id: str, even_if_in_use: bool, home: Path | None) -> None:
    """Refuse tokens of a key from now on; it can be enabled again.

    \b
    Example: custos keys disable ab
    """
    _change(home, key_id, "disabled", in_use=even_if_in_use)


@keys.command("enable")
@KEY
@options.home
def enable(key_id: str, home: Path | None) -> None:
    """Read tokens of a disabled key again.

    \b
    Example: custos keys enable ab
    """
    _change(home, key_id, "enabled")


@keys.command("destroy")
@KEY
@click.option("--yes", is_flag=True, help="Don't ask; needed where nobody can be asked.")
@options.home
def destroy(key_id: str, yes: bool, home: Path | None) -> None:
    """Delete a disabled key for good: this home can never lead its tokens back again.

    A sub-keyring that was sealed to another place keeps what it was given: collect those copies too.

    \b
    Example: custos keys destroy ab --yes
    """
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("nobody can be asked here", remedy=f"to destroy key {key_id}, add --yes")
        click.confirm(f"Destroy key {key_id}? This home can never lead its tokens back again.", abort=True)
    _change(home, key_id, "destroyed")


@keys.command("seal")
@click.option(
    "--purpose",
    "purposes",
    type=click.Choice([purpose.value for purpose in Purpose]),
    multiple=True,
    help="A purpose whose tokens the holder may read and make; give it once for each.",
)
@click.option(
    "--out",
    type=options.Place(),
    help="Where to write it.  [default: the service's own keyring of this home]",
)
@options.home
def seal(purposes: tuple[str, ...], out: Path | None, home: Path | None) -> None:
    """Write a sub-keyring that holds derived keys of chosen purposes, and neither the root nor a vault key.

    \b
    Example: custos keys seal --purpose retention --out /srv/crm/keys.json
    """
    from mlproject.pipelines.keys import seal_keys
    from mlproject.wiring import House

    _tell(seal_keys(House.open(home), purposes, out))


def _change(home: Path | None, key_id: str, state: str, *, in_use: bool = False) -> None:
    from mlproject.pipelines.keys import change_state
    from mlproject.wiring import House
    from privacy.keyset import KeyState

    _tell(change_state(House.open(home), key_id, KeyState(state), in_use=in_use))


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (keys,)
