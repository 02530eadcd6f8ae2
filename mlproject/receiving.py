"""What takes events in the service of a home: it holds no root key, so they wait in the inbox."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from features.datasets.descriptor import Descriptor
    from mlproject.home_paths import HomePaths
    from privacy.audit import AuditLog
    from privacy.keyring import SealedKeyring
    from privacy.policy import Policy
    from privacy.suppression import SuppressionList
    from serving.receiver import Receiver

__all__ = ["receiver_of"]


class _Home(Protocol):
    """What is needed of a home, no root key among it."""

    paths: HomePaths

    @property
    def descriptor(self) -> Descriptor: ...
    @property
    def sealed(self) -> SealedKeyring: ...
    @property
    def suppression(self) -> SuppressionList: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def audit(self) -> AuditLog: ...
    def now(self) -> datetime: ...


def receiver_of(house: _Home) -> Receiver:
    """Return what `POST /v1/events` gives events to."""
    from features.inbox import Inbox, taken_columns
    from features.own_tokens import OwnTokens
    from serving.receiver import Receiver

    descriptor, own = house.descriptor, OwnTokens(house.sealed, house.suppression)
    inbox, columns = Inbox(house.paths.inbox), taken_columns(descriptor)
    return Receiver(house.policy, house.audit, descriptor.name, own, inbox, columns, house.now)
