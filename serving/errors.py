"""Serving's own branches of the error tree; light, so the web layer needn't import the predictor for them.

BadInput
├── EventsRefused        some events can't be of this shop
└── TokensRefused        some tokens are mistyped or another purpose's
EnvironmentFailed
└── ModelUnavailable     no champion of an asked model is in service
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from privacy.counted import counted
from privacy.errors import BadInput, CustosError, EnvironmentFailed, Refused

__all__ = ["EventsRefused", "ModelUnavailable", "TokensRefused", "named", "refused_detail"]

_MAX_POSITIONS: Final = 20


class EventsRefused(BadInput):
    """Some events are dated in the future or tell what the shop has no column for; holds positions, no value."""

    def __init__(self, places: Sequence[int], asked: int, columns: Sequence[str]) -> None:
        self.places = tuple(places)
        super().__init__(
            f"{len(places)} of {counted(asked, 'event')} dated in the future or with a column that this shop lacks",
            remedy=f"its lines have {', '.join(columns)}",
        )

    def errors(self) -> list[dict[str, object]]:
        """Return the code, the count and the first positions."""
        return [{"code": "event_unfit", "count": len(self.places), "positions": list(self.places[:_MAX_POSITIONS])}]


class TokensRefused(BadInput):
    """Some tokens are mistyped or belong to another purpose; holds positions (from 0), never a token.

    >>> TokensRefused([3], [], 10).errors()
    [{'code': 'token_mistyped', 'count': 1, 'positions': [3]}]
    """

    def __init__(self, mistyped: Sequence[int], foreign: Sequence[int], asked: int) -> None:
        self.mistyped, self.foreign = tuple(mistyped), tuple(foreign)
        super().__init__(
            f"{len(mistyped)} mistyped and {len(foreign)} of another purpose, of {asked} customer tokens",
            remedy="send tokens of your own purpose, unchanged",
        )

    def errors(self) -> list[dict[str, object]]:
        """Return code, count and the first positions of each kind of refusal."""
        kinds = (("token_mistyped", self.mistyped), ("token_of_another_purpose", self.foreign))
        return [
            {"code": code, "count": len(where), "positions": list(where[:_MAX_POSITIONS])}
            for code, where in kinds
            if where
        ]


class ModelUnavailable(EnvironmentFailed):
    """No champion of an asked model is in service."""


def refused_detail(error: Refused) -> str:
    """Tell a caller why; the error's own remedy is the operator's, and names what a caller hasn't got.

    >>> refused_detail(Refused("no", remedy="change policy.yaml"))
    'no; ask whoever gave you the bearer token for one of another role or purpose'
    """
    return f"{error.what}; ask whoever gave you the bearer token for one of another role or purpose"


def named(error: BaseException) -> str:
    """Name an error for a log: our own by their text, any other by type and place, as its text may quote data.

    >>> named(BadInput("no such file")), named(KeyError("Ann"))
    ('no such file', 'KeyError')
    """
    if isinstance(error, CustosError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
