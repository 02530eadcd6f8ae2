"""The commands about what must not be inferred of people: propose."""

from __future__ import annotations

import json

import click

from mlproject import options

__all__ = ["COMMANDS"]


@click.group()
def inference() -> None:
    """Keep from being inferred what nobody should know of people."""


@inference.command("propose")
@click.argument("dataset")
@options.as_json
def propose(dataset: str, as_json: bool) -> None:
    """Print the `inference:` block that word lists propose for DATASET, for a person to accept; nothing is applied.

    \b
    Example: custos inference propose shop.yaml
    """
    from mlproject.pipelines.inference import propose_marks, proposed_yaml

    proposed = propose_marks(dataset)
    if as_json:
        click.echo(json.dumps(proposed, indent=2, ensure_ascii=False))
        return
    for line in proposed_yaml(proposed):
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (inference,)
