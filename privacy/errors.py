"""The error tree of Custos.

CustosError                  exit status
├── CheckFailed              1  a verification or a gate failed
├── BadInput                 2  the caller gave something unusable
├── Refused                  3  the policy says no
└── EnvironmentFailed        4  disk, store, server or key material failed

A message says what happened, where, how many and what to do about it.
It never quotes a person's value.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BadInput", "CheckFailed", "CustosError", "EnvironmentFailed", "Refused", "printable"]


class CustosError(Exception):
    """An error that Custos explains to its user in one line.

    >>> str(BadInput("no column 'ts'", where="orders.parquet", remedy="name it in the descriptor"))
    "no column 'ts' (orders.parquet); name it in the descriptor"
    """

    exit_status: ClassVar[int] = 4

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.what}{place}" + (f"; {self.remedy}" if self.remedy else "")


class CheckFailed(CustosError):  # noqa: N818 - reads as a sentence: BadInput, Refused
    """A verification or a promotion gate failed."""

    exit_status = 1


class BadInput(CustosError):  # noqa: N818 - reads as a sentence: BadInput, Refused
    """What the caller gave can't be used as it is."""

    exit_status = 2


class Refused(CustosError):  # noqa: N818 - reads as a sentence: BadInput, Refused
    """The policy does not allow this principal to do this for this purpose."""

    exit_status = 3


class EnvironmentFailed(CustosError):  # noqa: N818 - reads as a sentence: BadInput, Refused
    """A disk, a store, a server or key material failed."""

    exit_status = 4


def printable(text: str) -> str:
    """Return `text` on one line: in the place of every sign that isn't printable is U+FFFD.

    Names of files and columns may hold line ends, terminal codes and signs that turn the order of what follows.

    >>> printable("orders\\x1b[31m\\n.csv")
    'orders�[31m�.csv'
    """
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
