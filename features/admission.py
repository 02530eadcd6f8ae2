"""Who is let in to a feature service: the firewall first, then its purposes, the policy, its roles and its k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import Refused
from privacy.inference import Firewall
from privacy.policy import Principal

from .disclosures import Access, Disclosures
from .gateway_types import ServiceInfo

__all__ = ["Admission"]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
FIGURES: Final = frozenset({"attack", "count"})
"""Actions that nobody's row leaves by, only figures."""


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
        if principal.purpose not in info.purposes:
            self._refuse(
                Access(principal, action, resource, "deny", "service-purposes"),
                asked,
                f"service {service} does not serve the purpose {principal.purpose or 'none'}",
                f"it serves: {', '.join(info.purposes)}",
            )
        access = self._disclosures.require(principal, action, resource, asked, info.numbers)
        if principal.role not in info.roles:
            self._refuse(
                Access(principal, action, resource, "deny", "service-roles"),
                asked,
                f"service {service} does not answer the role {principal.role}",
                f"it answers: {', '.join(sorted(info.roles))}",
            )
        return info, access

    def require_rows(self, access: Access, info: ServiceInfo, rows: pa.Table, asked: int) -> None:
        """Hold an answer of `rows` to the service's k; who has no feature in it doesn't count: tokens are made up."""
        if info.k == 1:
            return
        told = [rows[name].is_valid().to_numpy() for name in info.features if name in rows.column_names]
        people = rows.filter(pa.array(np.any(told, axis=0)))[TOKEN] if told else rows[TOKEN]
        self.require_people(access, info, len(pc.unique(people)), asked, banded=False)

    def require_people(self, access: Access, info: ServiceInfo, people: int, rows: int, *, banded: bool) -> None:
        """Raise Refused for an answer about somebody, but about fewer than the k people of a service.

        What tells nothing but bands that k people share (`banded`) may tell one person's, and figures of many rows
        are no answer about a person.
        """
        if banded or access.action in FIGURES or not 0 < people < info.k:
            return
        self._refuse(
            Access(access.principal, access.action, access.resource, "deny", "service-k"),
            rows,
            f"service {info.name} answers about {info.k} people or more at once",
            "ask about more people; a single customer's bands are read online",
        )

    def _refuse(self, access: Access, rows: int, what: str, remedy: str) -> NoReturn:
        self._disclosures.refused(access, rows)
        raise Refused(what, remedy=remedy)
