"""The command line: `custos`. Frameworks are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from mlproject.commands import answers, audit, control, jobs, keys, policy
from mlproject.settings import debugging, quiet_environment
from privacy.errors import CustosError, EnvironmentFailed

__all__ = ["cli", "main"]

ENVIRONMENT_FAILED = EnvironmentFailed.exit_status


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
    *answers.COMMANDS,
    *control.COMMANDS,
    *audit.COMMANDS,
    *keys.COMMANDS,
    *policy.COMMANDS,
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
        error.show()
        return error.exit_code
    except CustosError as error:
        return _failed(str(error), error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        return _failed("stopped; run the command again to go on", 130)
    except SystemExit as error:
        if sys.stdout is not stdout:
            return 0  # click swaps it when the reader (head, less) went away: nothing to tell
        # Nothing of ours calls it: a shop's loader did, and must not pass for success.
        return _failed(f"a part of the program asked to stop (status {error.code})", ENVIRONMENT_FAILED)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return _failed(f"{error.strerror or 'the system refused'}{place}", ENVIRONMENT_FAILED)
    except Exception as error:  # noqa: BLE001 - the one edge where everything left becomes a line
        return _unforeseen(error)
    return result if isinstance(result, int) else 0


def _unforeseen(error: Exception) -> int:
    # The text of a foreign exception can quote data, so only its kind and place are shown.
    if debugging():
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere"  # noqa: PTH119
    kind = type(error).__name__
    message = f"unforeseen {kind} at {place}; nothing stored was lost. CUSTOS_DEBUG=1 shows the trace"
    return _failed(message, ENVIRONMENT_FAILED)


def _failed(message: str, status: int) -> int:
    click.echo(f"custos: {message}", err=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
