"""The commands that answer something: score, identify, features, report, status."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from mlproject import options

__all__ = ["COMMANDS"]

Parquet = options.Place()


@click.command()
@click.argument("target", type=options.TARGETS)
@options.purpose
@click.option("--out", type=Parquet, required=True, help="The parquet file to write.")
@options.home
@options.as_of
def score(target: str, purpose: str, out: Path, home: Path | None, as_of: datetime | None) -> None:
    """Score everyone known at --as-of with the champion.

    Writes customer_token (of the purpose), status, churn_probability or clv, as_of and model_version.

    \b
    Example: custos score churn --purpose retention --out churn.parquet
    """
    from mlproject.pipelines.score import score_everyone
    from mlproject.stages import Stages
    from mlproject.wiring import House

    with Stages().stage(f"score {target}"):
        lines = list(score_everyone(House.open(home), target, purpose, out, as_of=as_of))
    for line in lines:
        click.echo(line)


@click.command()
@options.purpose
@click.option("--reason", required=True, help="Why identities are needed; kept in the audit log.")
@click.option("--in", "source", type=Parquet, required=True, help="A parquet file with customer_token.")
@click.option("--out", type=Parquet, required=True, help="The same rows with customer_id.")
@options.home
def identify(purpose: str, reason: str, source: Path, out: Path, home: Path | None) -> None:
    """Add customer_id, as in the source, to a file of tokens; null for the erased. Audited.

    \b
    Example: custos identify --purpose retention --reason "March campaign" --in churn.parquet --out people.parquet
    """
    from mlproject.pipelines.identify import identify_file
    from mlproject.wiring import House

    for line in identify_file(House.open(home), purpose, reason, source, out):
        click.echo(line)


@click.group()
def features() -> None:
    """Look at features."""


@features.command("get")
@click.argument("service")
@options.purpose
@click.argument("tokens", nargs=-1, required=True, metavar="TOKEN...")
@options.as_json
@options.home
def features_get(service: str, purpose: str, tokens: tuple[str, ...], as_json: bool, home: Path | None) -> None:
    """Print the online features of some customers, by their tokens of this purpose.

    \b
    Example: custos features get churn_v1 --purpose retention ret_aa0123...
    """
    from mlproject.pipelines.lookup import online_features, online_table
    from mlproject.wiring import House

    rows = online_features(House.open(home), service, purpose, tokens)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in online_table(rows):
        click.echo(line)


@features.command("history")
@click.argument("entities", type=Parquet)
@click.option("--service", required=True, metavar="SERVICE", help="The feature service to ask.")
@options.purpose
@click.option("--out", type=Parquet, help="The csv or parquet file to write.  [default: csv on standard output]")
@options.as_json
@options.home
def features_history(
    entities: Path, service: str, purpose: str, out: Path | None, as_json: bool, home: Path | None
) -> None:
    """Tell features as they were known at moments, for each row of a csv or parquet file. Audited.

    ENTITIES has customer_token (of this purpose) and event_timestamp (ISO 8601; UTC where no zone is named), each a
    moment that features were built at (`custos features cutoffs`). Rows, their order and other columns stay; `status`
    says `ok` or `unknown`.

    \b
    Example: custos features history --service clv_v1 --purpose value customers.csv --out then.parquet
    """
    from mlproject.pipelines.history import history_csv, history_json, history_of_file, summary
    from mlproject.wiring import House

    rows = history_of_file(House.open(home), service, purpose, entities, out)
    if as_json:
        click.echo(history_json(rows))
    elif out is None:
        click.echo(history_csv(rows).decode(), nl=False)
    else:
        click.echo(summary(rows, service, out))


@features.command("cutoffs")
@options.as_json
@options.home
def features_cutoffs(as_json: bool, home: Path | None) -> None:
    """List the moments that features were built at, which `custos features history` can be asked of, oldest first.

    \b
    Example: custos features cutoffs
    """
    from features.point_in_time import day_text
    from mlproject.pipelines.history import built_cutoffs
    from mlproject.wiring import House

    built = built_cutoffs(House.open(home))
    if as_json:
        click.echo(json.dumps([moment.isoformat() for moment in built], indent=2))
        return
    for moment in built:
        click.echo(day_text(moment))


@features.command("export")
@click.argument("service")
@options.purpose
@click.option("--out", type=Parquet, required=True, help="The parquet file to write.")
@options.home
@options.as_of
def features_export(service: str, purpose: str, out: Path, home: Path | None, as_of: datetime | None) -> None:
    """Write everybody's features at --as-of to a file, under tokens of this purpose. Audited.

    \b
    Example: custos features export profile_v1 --purpose research --out profile.parquet
    """
    from mlproject.pipelines.lookup import export_features
    from mlproject.stages import Stages
    from mlproject.wiring import House

    with Stages().stage(f"export {service}"):
        lines = list(export_features(House.open(home), service, purpose, out, as_of=as_of))
    for line in lines:
        click.echo(line)


@features.command("list")
@click.option("--markdown", is_flag=True, help="Print the page of the docs instead.")
@options.as_json
@options.home
def features_list(markdown: bool, as_json: bool, home: Path | None) -> None:
    """List every feature by family: unit, window and the services that hold it. No home need be there yet.

    \b
    Example: custos features list
    """
    from features.catalogue import catalogue_page, listed_features, overview
    from mlproject.pipelines.lookup import shop_of
    from mlproject.wiring import House

    if markdown:
        click.echo(catalogue_page(), nl=False)
        return
    told = listed_features(shop_of(House.open(home)))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for line in overview(told):
        click.echo(line)


@features.command("describe")
@click.argument("name")
@options.as_json
@options.home
def features_describe(name: str, as_json: bool, home: Path | None) -> None:
    """Tell what one feature is: formula in words, unit, window, purposes, sensitivity, services.

    \b
    Example: custos features describe recency_days
    """
    from features.catalogue import described, one_feature
    from mlproject.pipelines.lookup import shop_of
    from mlproject.wiring import House

    told = one_feature(name, shop_of(House.open(home)))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for line in described(told):
        click.echo(line)


@features.command("stages")
@options.purpose
@options.as_json
@options.home
def features_stages(purpose: str, as_json: bool, home: Path | None) -> None:
    """Tell how people move from one life-cycle stage to the next, in shares; cells of few people are joined. Audited.

    In JSON a cell that is told with another is null, and a stage that isn't told is missing.

    \b
    Example: custos features stages --purpose value
    """
    from mlproject.pipelines.lifecycle import stage_transitions, transition_lines
    from mlproject.wiring import House

    told = stage_transitions(House.open(home), purpose)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for line in transition_lines(told):
        click.echo(line)


@click.command()
@options.as_json
@options.home
def report(as_json: bool, home: Path | None) -> None:
    """Tell what the last run did: rows, seconds, memory, champions, metrics beside every baseline.

    \b
    Example: custos report --json
    """
    from mlproject.pipelines.report import make_report, report_lines
    from mlproject.wiring import House

    made = make_report(House.open(home))
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    for line in report_lines(made):
        click.echo(line)


@click.command()
@options.as_json
@options.home
def status(as_json: bool, home: Path | None) -> None:
    """Tell what this home holds.

    \b
    Example: custos status
    """
    from mlproject.pipelines.report import home_status
    from mlproject.wiring import House

    held = home_status(House.open(home))
    if as_json:
        click.echo(json.dumps(held, indent=2))
        return
    for name, value in held.items():
        click.echo(f"{name:<12} {value}")


COMMANDS: tuple[click.Command, ...] = (score, identify, features, report, status)
