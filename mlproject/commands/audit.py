"""The commands of the audit log: verify, checkpoint, prove, check, show."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from mlproject import options
from privacy.counted import counted

__all__ = ["COMMANDS"]

File = options.Place()


@click.group()
def audit() -> None:
    """Look at the audit log."""


@audit.command("verify")
@click.option("--checkpoint", type=File, help="A checkpoint kept outside the home, which the log must extend.")
@options.as_json
@options.home
def verify(checkpoint: Path | None, as_json: bool, home: Path | None) -> None:
    """Check that no event of the audit log was changed, moved, inserted or cut off; exit 1 if one was.

    A log rolled back with its checkpoint, or signed anew with a stolen key, shows only against --checkpoint.

    \b
    Example: custos audit verify --checkpoint /media/usb/custos.checkpoint
    """
    from mlproject.pipelines.audit import verify_log
    from mlproject.wiring import House

    found = verify_log(House.open(home), checkpoint)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{counted(found['events'], 'event')}, intact; root {found['root']}")
    if found["extends"] is not None:
        click.echo(f"extends the kept checkpoint of {counted(found['extends'], 'event')}")
    if found["unacknowledged"]:
        lines = counted(found["unacknowledged"], "line behind them was", "lines behind them were")
        click.echo(f"{lines} never acknowledged; the next event replaces them")


@audit.command("checkpoint")
@click.option("--out", type=File, help="Where to keep it, outside the home; an older one there must be extended.")
@options.as_json
@options.home
def checkpoint(out: Path | None, as_json: bool, home: Path | None) -> None:
    """Verify the log and give its signed checkpoint, to be kept where nobody who can write here can.

    It is a C2SP signed note; --json adds the verifier key, by which any note verifier can check it.

    \b
    Example: custos audit checkpoint --out /media/usb/custos.checkpoint
    """
    from mlproject.pipelines.audit import keep_checkpoint
    from mlproject.wiring import House

    note, summary = keep_checkpoint(House.open(home), out)
    if as_json:
        click.echo(json.dumps({**summary, "checkpoint": note}, indent=2))
    elif out is None:
        click.echo(note, nl=False)
    else:
        events = counted(summary["events"], "event")
        click.echo(f"kept the checkpoint of {events}; its verifier key is {summary['verifier_key']}")


@audit.command("prove")
@click.argument("event_id")
@click.option("--since", type=File, help="Also prove that the log extends this older checkpoint.")
@click.option("--out", type=File, help="The JSON file to write.  [default: standard output]")
@options.home
def prove(event_id: str, since: Path | None, out: Path | None, home: Path | None) -> None:
    """Write the proof that an event is in the log; `custos audit check` needs only it and the verifier key.

    \b
    Example: custos audit prove evt_0123456789abcdef --out proof.json
    """
    from mlproject.pipelines.audit import prove_event
    from mlproject.wiring import House
    from privacy.durable import write_beside

    text = json.dumps(prove_event(House.open(home), event_id, since), indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
    else:
        write_beside(out, f"{text}\n".encode())


@audit.command("check")
@click.argument("proof", type=File)
@click.option("--key", metavar="VERIFIER_KEY", help="Whose log it must be; then no home is needed.  [default: ours]")
@options.as_json
@options.home
def check(proof: Path, key: str | None, as_json: bool, home: Path | None) -> None:
    """Check a proof made by `custos audit prove`, offline; exit 1 if it doesn't hold.

    The verifier key is in `custos audit checkpoint --json`; have it from somebody you trust, not with the proof.

    \b
    Example: custos audit check proof.json --key custos/ks_0123456789abcdef+89abcdef+AQID...
    """
    from mlproject.pipelines.audit import check_bundle, event_lines, trusted_key
    from mlproject.wiring import House

    proven = check_bundle(proof, key or trusted_key(House.open(home)))
    if as_json:
        place = {"index": proven.index, "tree_size": proven.size, "origin": proven.origin, "extends": proven.since}
        click.echo(json.dumps({**place, "event": proven.event}, indent=2, ensure_ascii=False))
        return
    for line in event_lines([proven.event]):
        click.echo(line)
    click.echo(f"is event {proven.index + 1:,} of {proven.size:,} in the log {proven.origin}")
    if proven.since is not None:
        click.echo(f"which extends the older checkpoint of {counted(proven.since, 'event')}")


@audit.command("show")
@click.option("--action", help="Only events of this action, such as predict or erase.")
@click.option("--outcome", help="Only this outcome: allow, mask, deny, gap, error.")
@click.option("--principal", metavar="NAME", help="Only what this principal did.")
@click.option("--since", type=options.Day(), metavar="DATE", help="Only events from then on.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many, the newest.")
@options.as_json
@options.home
def show(
    action: str | None,
    outcome: str | None,
    principal: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
    home: Path | None,
) -> None:
    """Show events of the verified log, the newest last.

    \b
    Example: custos audit show --action erase --since 2026-01-01
    """
    from mlproject.pipelines.audit import EventFilter, event_lines, select_events
    from mlproject.wiring import House

    events = select_events(House.open(home), EventFilter(action, outcome, principal, since), limit)
    if as_json:
        click.echo(json.dumps(events, indent=2, ensure_ascii=False))
        return
    for line in event_lines(events):
        click.echo(line)


COMMANDS: tuple[click.Command, ...] = (audit,)
