"""The commands about the policy: what it comes to, and why it decides as it does."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options
from privacy.classification import Purpose, Role
from privacy.policy_rules import ACTIONS

__all__ = ["COMMANDS"]

PolicyFile = options.Place()


@click.group()
def policy() -> None:
    """Read the rules: who may do what, for which purpose."""


@policy.command("check")
@click.argument("file", type=PolicyFile, required=False)
@options.as_json
@options.home
def check(file: Path | None, as_json: bool, home: Path | None) -> int:
    """Check a policy FILE, or the one in effect, and print what it comes to: role x purpose x column.

    Exit 1 if it can't be used, or doesn't protect as it says. No home is needed.

    \b
    Example: custos policy check policy.yaml
    """
    from mlproject.pipelines.policy import check_file
    from mlproject.wiring import House

    report = check_file(House.open(home), file)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    return int(not report.sound)


@policy.command("explain")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="Who asks.")
@click.option("--purpose", type=click.Choice([p.value for p in Purpose]), help="What for.  [default: no purpose]")
@click.option("--action", required=True, metavar="ACTION", help=f"One of {', '.join(ACTIONS)}.")
@click.option("--resource", required=True, metavar="RESOURCE", help="Such as model:churn, service:clv_v1 or vault.")
@click.option("--file", type=PolicyFile, help="Another policy than the one in effect.")
@options.as_json
@options.home
def explain(
    role: str,
    purpose: str | None,
    action: str,
    resource: str,
    file: Path | None,
    as_json: bool,
    home: Path | None,
) -> None:
    """Say why the policy decides as it does: rules and lines, masks, row filters, lawful basis.

    \b
    Example: custos policy explain --role analyst --purpose retention --action predict --resource model:churn
    """
    from mlproject.pipelines.policy import explain_decision
    from mlproject.wiring import House

    made = explain_decision(House.open(home), file, role, purpose, action, resource)
    if as_json:
        click.echo(json.dumps(made.to_dict(), indent=2))
        return
    for line in made.lines():
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (policy,)
