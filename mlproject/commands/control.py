"""The commands of those who answer for it: access, subject, doctor, serve, mlflow."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlproject import options

__all__ = ["COMMANDS"]


@click.group()
def access() -> None:
    """Say who may call the prediction service."""


@access.command("grant")
@options.role
@options.purpose
@click.option("--user", "user", required=True, metavar="NAME", help="Who will hold the bearer token.")
@options.home
def grant(role: str, purpose: str, user: str, home: Path | None) -> None:
    """Issue a bearer token for one role and one purpose; it stands alone on the last line.

    \b
    Example: custos access grant --role crm_service --purpose retention --user crm
    """
    from mlproject.pipelines.access import grant_access
    from mlproject.wiring import House

    for line in grant_access(House.open(home), role, purpose, user):
        click.echo(line)


@click.group()
def subject() -> None:
    """Answer the rights of a person."""


@subject.command("erase")
@click.argument("customer_id")
@options.as_json
@options.home
def erase(customer_id: str, as_json: bool, home: Path | None) -> None:
    """Erase one person everywhere and print the receipt (GDPR art. 17, CCPA 1798.105, PIPL art. 47).

    Running it again finishes what was interrupted, or prints the same receipt.

    \b
    Example: custos subject erase 1234
    """
    from mlproject.pipelines.erase import erase_subject
    from mlproject.wiring import House

    receipt = erase_subject(House.open(home), customer_id)
    click.echo(json.dumps(receipt.to_dict(), indent=2) if as_json else receipt.text())


@click.command()
@options.as_json
@options.home
def doctor(as_json: bool, home: Path | None) -> int:
    """Check keys, stores, registry, champions, telemetry and versions, and say what to do.

    \b
    Example: custos doctor
    """
    from mlproject.pipelines.doctor import examine
    from mlproject.wiring import House

    findings = examine(House.open(home))
    if as_json:
        click.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(finding.line())
    return int(any(finding.outcome == "bad" for finding in findings))


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Loopback port.")
@options.home
def serve(port: int, home: Path | None) -> int:
    """Serve predictions on 127.0.0.1 until stopped; the champion follows its alias.

    \b
    Example: custos serve --port 3000
    """
    from mlproject.pipelines.servers import serve_predictions
    from mlproject.wiring import House

    return serve_predictions(House.open(home), port)


@click.command("mlflow")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Loopback port.")
@options.home
def mlflow_(port: int, home: Path | None) -> int:
    """Open the home's MLflow server on 127.0.0.1 and print the link to the runs.

    \b
    Example: custos mlflow --port 5000
    """
    from mlproject.pipelines.servers import serve_mlflow
    from mlproject.wiring import House

    return serve_mlflow(House.open(home), port)


COMMANDS: tuple[click.Command, ...] = (access, subject, doctor, serve, mlflow_)
