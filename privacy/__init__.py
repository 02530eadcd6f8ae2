"""Keys, tokens, vault, masks, policy, audit and rights: what permits, and what hides.

The names below load their module when first used, so importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privacy.anonymity import anonymise
    from privacy.demands import Entropy
    from privacy.generalisation import Generalisation
    from privacy.keyring import Keyring, SealedKeyring
    from privacy.kms import LocalKms
    from privacy.tokens import Pseudonymiser
    from privacy.vault import Vault

__all__ = [
    "Entropy",
    "Generalisation",
    "Keyring",
    "LocalKms",
    "Pseudonymiser",
    "SealedKeyring",
    "Vault",
    "anonymise",
]

_HOMES = {
    "Entropy": "demands",
    "Generalisation": "generalisation",
    "Keyring": "keyring",
    "LocalKms": "kms",
    "Pseudonymiser": "tokens",
    "SealedKeyring": "keyring",
    "Vault": "vault",
    "anonymise": "anonymity",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
