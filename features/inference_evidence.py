"""The one door to who bought marked lines: for the gate that tries to find it out, under the policy and audited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.audit import AuditLog
from privacy.policy import Policy, Principal

from .build import EVENTS
from .disclosures import Disclosures
from .inference_flags import InferenceFlags
from .storage import TableStore
from .transforms.orders import MONEY

__all__ = ["FlagWindow", "InferenceEvidence"]

TOKEN: Final = "customer_token"  # noqa: S105 - a column name
UTC: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class FlagWindow:
    """Who carries a flag at a moment: at least `baskets` marked baskets in the `days` before it."""

    days: int = 112
    baskets: int = 2


class InferenceEvidence:
    """Tells of people at moments who carried which flag, and how much they had spent on what isn't marked."""

    def __init__(self, flags: InferenceFlags, store: TableStore, policy: Policy, audit: AuditLog) -> None:
        self._flags, self._store, self._disclosures = flags, store, Disclosures(policy, audit)

    def of(
        self, principal: Principal, dataset: str, entities: pa.Table, attributes: Sequence[str], window: FlagWindow
    ) -> pa.Table:
        """Return `spend` (float64) and a boolean for each attribute, row by row of `entities`.

        `entities` has customer_token (the feature store's) and event_timestamp; nothing at or after that instant
        counts. Raises Refused where the policy doesn't let the principal test, EnvironmentFailed where the flags are
        gone.
        """
        access = self._disclosures.require(principal, "inference.test", f"dataset:{dataset}", entities.num_rows)
        tokens, moments = entities[TOKEN].combine_chunks(), entities["event_timestamp"].cast(UTC)
        spend = np.zeros(entities.num_rows)
        flags = {attribute: np.zeros(entities.num_rows, np.bool_) for attribute in attributes}
        for moment in pc.unique(moments).to_pylist():
            mine = pc.equal(moments, pa.scalar(moment, UTC)).combine_chunks().to_numpy(zero_copy_only=False)
            theirs = tokens.filter(pa.array(mine))
            spend[mine] = self._spend(theirs, moment, window.days)
            for attribute, column in flags.items():
                held = self._flags.held_at(dataset, attribute, moment, days=window.days, baskets=window.baskets)
                found = pc.is_in(theirs, value_set=pa.array(sorted(held), pa.string()))
                column[mine] = found.to_numpy(zero_copy_only=False)
        self._disclosures.disclosed(access, pc.unique(tokens).to_pylist(), entities.num_rows, [])
        return pa.table({"spend": spend, **flags})

    def _spend(self, tokens: pa.Array, moment: dt.datetime, days: int) -> np.ndarray:
        """What each of `tokens` spent in the `days` before `moment`, in currency."""
        at = pc.field("at")
        recent = (at < pa.scalar(moment, UTC)) & (at >= pa.scalar(moment - dt.timedelta(days=days), UTC))
        happened = self._store.read(EVENTS, [TOKEN, "value"], recent)
        sums = happened.group_by(TOKEN).aggregate([("value", "sum")])
        place = pc.index_in(tokens, value_set=sums[TOKEN].combine_chunks())
        spent = sums["value_sum"].combine_chunks().take(place)
        return pc.fill_null(spent, 0).to_numpy(zero_copy_only=False).astype(np.float64) / MONEY
