"""What a doctor finds: one thing looked at, how it is and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from privacy.errors import CustosError

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["Check", "Finding", "looked_at"]

Outcome = Literal["ok", "note", "bad"]
Check = Callable[["House"], Iterator["Finding"]]
DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, sqlite3.Error)
"""What reading a file of any content may raise; a doctor tells of it and looks on."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, `note` (not there yet) or `bad`, and the remedy."""

    what: str
    outcome: Outcome
    detail: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON types."""
        return asdict(self)

    def line(self) -> str:
        """Return it as one line.

        >>> Finding("keys", "ok", "open").line()
        'ok    keys        open'
        """
        return f"{self.outcome:<5} {self.what:<11} {self.detail}" + (f"; {self.remedy}" if self.remedy else "")


def looked_at(what: str, check: Check, house: House, remedy: str) -> list[Finding]:
    """Return a check's findings; what it can't read becomes one more."""
    found: list[Finding] = []
    try:
        found.extend(check(house))
    except CustosError as error:
        place = f" ({error.where})" if error.where else ""
        found.append(Finding(what, "bad", error.what + place, error.remedy or remedy))
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        found.append(Finding(what, "bad", f"{error.strerror or 'the system refused'}{place}", remedy))
    except DAMAGE as error:
        found.append(Finding(what, "bad", f"it is damaged ({type(error).__name__})", remedy))
    return found
