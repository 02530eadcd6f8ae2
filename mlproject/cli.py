"""The command line: `custos`. Frameworks are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from mlproject.commands import (
    answers,
    audit,
    budget,
    control,
    dataset,
    inference,
    jobs,
    keys,
    policy,
    push,
    quality,
    risk,
)
from mlproject.settings import debugging, quiet_environment
from privacy.errors import BadInput, CustosError, EnvironmentFailed, printable

__all__ = ["cli", "main"]

ENVIRONMENT_FAILED = EnvironmentFailed.exit_status
_ARGUMENTS = re.compile(r"(?<=^Got unexpected extra argument) .*|(?<=^Got unexpected extra arguments) .*")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="custos", prog_name="custos")
def cli() -> None:
    """Predict what a customer is worth and whether they will leave, without handing anyone the customer.

    \b
    Begin with:   custos demo
    Your shop:    custos run shop.yaml
    Then:         custos report | custos mlflow | custos serve

    Everything is kept in one home: --home, else CUSTOS_HOME, else the nearest parent folder holding .custos.
    Exit status: 0 done, 1 a verification or gate failed, 2 bad input, 3 refused by policy, 4 the environment failed.
    """


_COMMANDS = (
    *jobs.COMMANDS,
    *push.COMMANDS,
    *answers.COMMANDS,
    *control.COMMANDS,
    *audit.COMMANDS,
    *keys.COMMANDS,
    *policy.COMMANDS,
    *risk.COMMANDS,
    *budget.COMMANDS,
    *inference.COMMANDS,
    *dataset.COMMANDS,
    *quality.COMMANDS,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Every error becomes one line on standard error.

    >>> main(["--version"])
    custos, version 0.1.0
    0
    """
    quiet_environment()
    stdout = sys.stdout
    if not debugging():
        # Frameworks warn of each other's deprecations, and a warning may quote data.
        warnings.showwarning = lambda *_, **__: None
    try:
        result = cli.main(args=argv, prog_name="custos", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        return _failed(_usage(error), BadInput.exit_status)
    except CustosError as error:
        return _failed(str(error), error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        return _failed("stopped; run the command again to go on", 130)
    except SystemExit as error:
        if sys.stdout is not stdout:
            return 0  # click swaps it when the reader (head, less) went away: nothing to tell
        # Nothing of ours calls it: a shop's loader did, and must not pass for success.
        return _failed(f"a part of the program asked to stop (status {error.code})", ENVIRONMENT_FAILED)
    except Exception as error:  # noqa: BLE001 - the one edge where everything left becomes a line
        if isinstance(error, OSError) and error.errno is not None:
            return _failed(_refused(error), ENVIRONMENT_FAILED)
        return _unforeseen(error)
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException) -> str:
    """What is wrong with the words of the command, in one line that quotes no argument, such as a customer's id."""
    told = " ".join(error.format_message().split()).rstrip(".")
    told = _ARGUMENTS.sub("", told)
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_ = f"{context.command_path if context else 'custos'} --help"
    return f"{told[:1].lower()}{told[1:]}; see `{help_}`"


def _refused(error: OSError) -> str:
    """What the system refused, and where: an error without a path is told by the line of ours that it came to."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    reason = os.strerror(error.errno or 0)
    return f"{reason} ({' -> '.join(names) or _place(error)}); check that the disk has room and the permissions let you"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere"  # noqa: PTH119


def _unforeseen(error: Exception) -> int:
    # The text of a foreign exception can quote data, so only its kind and place are shown.
    if debugging():
        traceback.print_exception(error)
    kind = type(error).__name__
    message = f"unforeseen {kind} at {_place(error)}; nothing stored was lost. CUSTOS_DEBUG=1 shows the trace"
    return _failed(message, ENVIRONMENT_FAILED)


def _failed(message: str, status: int) -> int:
    click.echo(f"custos: {printable(message)}", err=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
