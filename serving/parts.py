"""What the service is made of: the composition root hands this over, nothing in `serving` builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privacy.policy import Policy

from .metrics import ServiceMetrics

if TYPE_CHECKING:  # Bento's supervisor imports the web layer too, and needs no pandas for it
    from .auth import Verifier
    from .champion import ChampionFollower
    from .predictor import Predictor
    from .receiver import Receiver

__all__ = ["ServingParts", "Slot"]


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class ServingParts:
    """Everything the service needs, made by a factory `(home: Path) -> ServingParts`.

    `predictor` answers, over gateway, policy, audit and these same `champions`; `verifier` checks bearers
    against the sealed sub-keyring; `policy` also says who may read metrics; `champions` is not started yet, the
    service starts and stops it; `close` releases whatever else the factory opened; `receiver` takes events.
    """

    predictor: Predictor
    verifier: Verifier
    policy: Policy
    champions: ChampionFollower
    close: Callable[[], None] = _nothing
    receiver: Receiver | None = None


class Slot:
    """Where the running service finds its parts; empty until start-up, so nothing is built at import."""

    def __init__(self) -> None:
        self._parts: ServingParts | None = None
        self.metrics = ServiceMetrics()

    @property
    def parts(self) -> ServingParts | None:
        """Return the parts, None before start-up and after shutdown."""
        return self._parts

    def fill(self, parts: ServingParts) -> None:
        """Put `parts` in service and start following champions."""
        self.metrics = ServiceMetrics(parts.champions.states)
        parts.champions.start()
        self._parts = parts

    def empty(self) -> None:
        """Take the parts out of service and release them; harmless when empty."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.champions.stop()
            parts.close()
