"""What the table `consents` of a descriptor must be: the ledger keeps who, to which purpose, whether and when."""

from __future__ import annotations

from typing import Final

from privacy.classification import Sensitivity
from privacy.errors import BadInput

from .tables import CONSENT_TYPES, CONSENTS, Table

__all__ = ["check_consents"]

OPEN: Final = (Sensitivity.BEHAVIOURAL, Sensitivity.NON_PERSONAL)


def check_consents(table: Table, where: str) -> None:
    """Raise BadInput unless a table `consents` can fill the ledger; other tables are passed over.

    A column that the ledger wouldn't keep is refused rather than left out in silence.
    """
    if table.name != CONSENTS:
        return
    remedy = f"it has the subject, {', '.join(CONSENT_TYPES)}; see docs/descriptor.md"
    for name, kind in CONSENT_TYPES.items():
        if name not in table.columns:
            raise BadInput(f"table '{CONSENTS}' has no column '{name}'", where=where, remedy=remedy)
        column = table.columns[name]
        if table.kind_of(name) != kind or column.sensitivity not in OPEN or column.mask is not None or column.key:
            what = f"column '{CONSENTS}.{name}' must be a {kind}, behavioural or non_personal, without mask or key"
            raise BadInput(what, where=where)
    if further := [name for name in table.columns if name not in CONSENT_TYPES and name != table.subject]:
        what = f"column '{CONSENTS}.{further[0]}' isn't kept by the consent ledger"
        raise BadInput(what, where=where, remedy="leave it out")
    if table.event_column != "at" or table.anonymity is not None:
        raise BadInput(f"table '{CONSENTS}' is dated by 'at' and never generalised", where=where, remedy=remedy)
