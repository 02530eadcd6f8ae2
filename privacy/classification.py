"""The vocabulary every layer shares: sensitivities, purposes, lawful bases, roles, kinds of ids.

Sources: GDPR art. 4(1), 6(1), 9(1); PIPL art. 13, 28; CCPA 1798.140.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["DOMAIN_CODES", "FEATURE_STORE", "LawfulBasis", "LinkKind", "Purpose", "Role", "Sensitivity"]


class Sensitivity(StrEnum):
    """How a column relates to a person; a column without one is refused."""

    DIRECT_IDENTIFIER = "direct_identifier"
    QUASI_IDENTIFIER = "quasi_identifier"
    SENSITIVE = "sensitive"
    BEHAVIOURAL = "behavioural"
    NON_PERSONAL = "non_personal"


class Purpose(StrEnum):
    """What personal data is processed for (GDPR art. 5(1)(b))."""

    RETENTION = "retention"
    VALUE = "value"
    MARKETING = "marketing"
    SERVICE = "service"
    RESEARCH = "research"
    COMPLIANCE = "compliance"


class LawfulBasis(StrEnum):
    """Why a purpose is lawful (GDPR art. 6(1)); only consent needs a ledger entry."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTEREST = "legitimate_interest"


class Role(StrEnum):
    """Who is asking."""

    DATA_SCIENTIST = "data_scientist"
    ANALYST = "analyst"
    MARKETER = "marketer"
    CRM_SERVICE = "crm_service"
    PRIVACY_OFFICER = "privacy_officer"
    AUDITOR = "auditor"
    ADMIN = "admin"


class LinkKind(StrEnum):
    """What an id is by which a customer may turn out to be another one too."""

    ACCOUNT = "account"
    CARD = "card"
    DEVICE = "device"
    EMAIL = "email"
    PHONE = "phone"


FEATURE_STORE: Final = "features"
"""The feature store's own token domain; no caller ever sees its tokens."""

DOMAIN_CODES: Final = MappingProxyType(
    {
        Purpose.RETENTION.value: "ret",
        Purpose.VALUE.value: "val",
        Purpose.MARKETING.value: "mkt",
        Purpose.SERVICE.value: "svc",
        Purpose.RESEARCH.value: "rsc",
        Purpose.COMPLIANCE.value: "cmp",
        FEATURE_STORE: "fs",
    }
)
"""Token domain -> the code its tokens begin with."""
