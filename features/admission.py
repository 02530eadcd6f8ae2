"""Who is let in to a feature service: the firewall first, then its purposes, the policy, its roles and its k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import Refused
from privacy.inference import Firewall
from privacy.policy import Principal

from .disclosures import Access, Disclosures
from .gateway_types import ServiceInfo

__all__ = ["Admission", "TooFew"]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
FIGURES: Final = frozenset({"attack", "count"})
"""Actions that nobody's row leaves by, only figures."""


class TooFew(Refused):
    """An answer would be about fewer people than its service answers about."""


class Admission:
    """Holds every question to what its service declares, in process as elsewhere; each refusal is audited.

    Feast itself holds nobody to a service's tags where it runs in process, and its tag permissions fail open.
    """

    def __init__(self, firewall: Firewall, disclosures: Disclosures, info: Callable[[str], ServiceInfo]) -> None:
        self._firewall, self._disclosures, self._info = firewall, disclosures, info

    def require(self, principal: Principal, service: str, asked: int, action: str) -> tuple[ServiceInfo, Access]:
        """Return the service and what the policy lets be read of it, for a question about `asked` rows.

        Raises Refused for a purpose that the service doesn't serve, where the policy refuses, and for a role that
        isn't among the service's, whatever a policy permits.
        """
        self._firewall.require(principal, action, service)
        info, resource = self._info(service), f"service:{service}"
        self._require_among(principal, "purpose", info.purposes, "serve", (service, action, asked))
        access = self._disclosures.require(principal, action, resource, asked, info.numbers)
        self._require_among(principal, "role", sorted(info.roles), "answer", (service, action, asked))
        return info, access

    def require_rows(
        self,
        access: Access,
        info: ServiceInfo,
        rows: pa.Table,
        asked: int,
        people_of: Callable[[pa.ChunkedArray], pa.Array],
    ) -> None:
        """Hold an answer of `rows` to the service's k; who has no feature in it doesn't count: tokens are made up.

        `people_of` gives for tokens those of the people behind them, who may have several.
        """
        if info.k == 1:
            return
        told = [rows[name].is_valid().to_numpy() for name in info.features if name in rows.column_names]
        tokens = rows.filter(pa.array(np.any(told, axis=0)))[TOKEN] if told else rows[TOKEN]
        self.require_people(access, info, len(pc.unique(people_of(tokens))), asked, banded=False)

    def require_people(self, access: Access, info: ServiceInfo, people: int, rows: int, *, banded: bool) -> None:
        """Raise TooFew for an answer about somebody, but about fewer than the k people of a service.

        What tells nothing but bands that k people share (`banded`) may tell one person's, and figures of many rows
        are no answer about a person.
        """
        if banded or access.action in FIGURES or not 0 < people < info.k:
            return
        self._disclosures.refused(Access(access.principal, access.action, access.resource, "deny", "service-k"), rows)
        what = f"service {info.name} answers about {info.k} people or more at once"
        raise TooFew(what, remedy="ask about more people; a single customer's bands are read online")

    def _require_among(
        self, principal: Principal, kind: str, named: Sequence[str], verb: str, question: tuple[str, str, int]
    ) -> None:
        """Refuse a principal whose `kind`, purpose or role, isn't among those `named` by the service."""
        given = principal.purpose if kind == "purpose" else principal.role
        if given in named:
            return
        service, action, asked = question
        self._disclosures.refused(Access(principal, action, f"service:{service}", "deny", f"service-{kind}s"), asked)
        what = f"service {service} does not {verb} the {kind} {given or 'none'}"
        raise Refused(what, remedy=f"it {verb}s: {', '.join(named)}")
