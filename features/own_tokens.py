"""From a caller's tokens to the feature store's own, without whoever must not be served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.classification import FEATURE_STORE
from privacy.consent import ConsentLedger
from privacy.errors import EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.suppression import SuppressionList
from privacy.tokens import handles_to_tokens, tokens_to_handles

from .disclosures import Access
from .former import FormerTokens

__all__ = ["TOKEN", "WITHOUT_CONSENT", "OwnTokens"]

TOKEN: Final = "customer_token"  # noqa: S105  a column name
MOMENT: Final = "event_timestamp"
WITHOUT_CONSENT: Final = "without_consent"
"""What the audit event calls those who were left out because they don\'t consent."""


class OwnTokens:
    """Translates and holds back; `key_id` is that of the key which the store asked was written under."""

    def __init__(
        self, keyring: SealedKeyring | Keyring, suppression: SuppressionList, consents: ConsentLedger | None = None
    ) -> None:
        self._keyring, self._suppression, self._consents = keyring, suppression, consents
        self.former = FormerTokens(keyring)

    def of(self, tokens: Sequence[str], purpose: str, key_id: str | None) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Translate the valid tokens of `purpose`; say which positions the answer came from.

        A token from before a link becomes that of the person it stands for now, unless either must not be served.
        A token under a key that isn't enabled here is as unknown as a mistyped one. Raises EnvironmentFailed when
        the store itself is under such a key: after a rotation its key isn't the primary, and must stay enabled.
        """
        if key_id is not None and key_id not in self._keyring.token_keys(FEATURE_STORE).by_id:
            raise EnvironmentFailed(
                f"the stored features are under key {key_id}, which isn't enabled",
                remedy="enable it again (custos keys list), or run `custos run` on the source",
            )
        handles, known = tokens_to_handles(self._keyring, pa.array(list(tokens), pa.string()), purpose)
        if not known.any():
            return [], known
        given = handles[known]
        now = self.former.canonical(given)
        own = handles_to_tokens(self._keyring, now, FEATURE_STORE, key_id=key_id)
        free = ~self._suppression.contains(own)
        if now is not given:
            free &= ~self._suppression.contains(handles_to_tokens(self._keyring, given, FEATURE_STORE, key_id=key_id))
        known[np.flatnonzero(known)[~free]] = False
        return own.filter(pa.array(free)).to_pylist(), known

    def suppressed(self, tokens: pa.Array) -> list[str]:
        """Return those of the store's tokens that must not be served."""
        return tokens.filter(pa.array(self._suppression.contains(tokens))).to_pylist()

    def unsuppressed(self, rows: pa.Table) -> pa.Table:
        """Return the rows of everybody else."""
        if rows.num_rows == 0:
            return rows
        return rows.filter(pa.array(~self._suppression.contains(rows[TOKEN].combine_chunks())))

    def how_many_suppressed(self) -> int:
        """Count who must not be served."""
        return len(self._suppression)

    def permitted(self, access: Access, rows: pa.Table) -> pa.Table:
        """The rows of who isn't suppressed and, where it rests on that, consents as of the row's moment and now."""
        served = self.unsuppressed(rows)
        return served.filter(pa.array(self.consenting(access, served))) if access.on_consent else served

    def consenting(self, access: Access, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """(n,) bool: who of the store's tokens consents as of their moment and now; how many don't is noted."""
        found = np.zeros(rows.num_rows, np.bool_)
        if self._consents is not None:
            tokens, moments = (rows[name].combine_chunks() for name in (TOKEN, MOMENT))
            found = self._consents.consented(tokens, str(access.principal.purpose), moments)
        access.counted[WITHOUT_CONSENT] = int((~found).sum())
        return found

    def list_is_readable(self) -> None:
        """Raise EnvironmentFailed unless the suppression list can be asked."""
        self._suppression.contains(pa.array([], pa.string()))
