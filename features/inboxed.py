"""From what waits in the inbox to protected order lines: tokens are there already, orders get theirs here."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.classification import FEATURE_STORE
from privacy.counted import counted
from privacy.errors import EnvironmentFailed
from privacy.keyring import Keyring
from privacy.keyset import KeyState
from privacy.tokens import handles_to_tokens, tokens_to_handles, valid_tokens
from privacy.treatment import ProtectReport, key_tokens, without_marked
from privacy.vault import Vault

from .data_time import in_utc
from .datasets.descriptor import Descriptor
from .former import FormerTokens
from .inbox import taken_columns
from .marking import MARKS, Marking
from .push import Safe, Stores

__all__ = ["inboxed_events"]

_WHOLE: Final = re.compile(r"-?[0-9]{1,19}")


def inboxed_events(
    descriptor: Descriptor, events: Sequence[Mapping[str, Any]], vault: Vault, keyring: Keyring, stores: Stores
) -> Safe:
    """Return events as protected order lines of people the vault knows; who isn't known any more is refused.

    An event is an order of its own: its token is made of the person and the event's id, so that the same event, sent
    twice, is there once, as it came first. Raises EnvironmentFailed for tokens under a key that isn't enabled; under
    one that is destroyed nobody can be known any more.
    """
    lines = [(event, line) for event in events for line in event["lines"]]
    numbers = [number for number, event in enumerate(events) for _ in event["lines"]]
    given = pa.array([event["customer_token"] for event, _ in lines], pa.string())
    handles, known = tokens_to_handles(keyring, given, FEATURE_STORE)
    if unreadable := int((valid_tokens(given, FEATURE_STORE) & ~known & ~_lost(given, keyring)).sum()):
        what = (
            f"of {counted(len(given), 'line')} in the inbox {unreadable} can't be read: their tokens' key isn't enabled"
        )
        raise EnvironmentFailed(what, remedy="enable it again (custos keys list), then push the inbox")
    former = FormerTokens(keyring)
    former.follow(stores.protected)
    handles = former.canonical(handles)  # somebody may have been linked since the service took their event
    references = pa.array(vault.audit_references(handles), pa.string())
    there = pc.and_(pa.array(known), pc.greater(pc.utf8_length(references), 0))
    gone = len(lines) - int(pc.sum(there).as_py() or 0)
    tokens = handles_to_tokens(keyring, handles, FEATURE_STORE, key_id=stores.protected.key_id())
    table = descriptor.tables["transactions"]
    schema = pq.read_schema(stores.protected.files("transactions")[0])
    columns: dict[str, pa.Array] = {field.name: pa.nulls(len(lines), field.type) for field in schema}
    columns["customer_token"] = tokens
    ids = pa.array([event["event"] for event, _ in lines], pa.string())
    columns["order_token"] = key_tokens(keyring.attribute("order_id"), handles, ids)
    columns["ordered_at"] = in_utc(dt.datetime.fromisoformat(event["ordered_at"]) for event, _ in lines)
    for name in taken_columns(descriptor) & set(schema.names):
        kind = schema.field(name).type
        columns[name] = pa.array([_as(kind, line.get(name)) for _, line in lines], kind)
    first = pa.array(_first_of_each(columns["order_token"], numbers), pa.bool_())
    batch = pa.RecordBatch.from_pydict(columns).filter(pc.and_(there, first))
    people = pa.table({"customer_token": tokens, "audit_reference": references}).filter(there)
    safe = Safe(people.group_by(people.column_names).aggregate([]), rows_in=len(lines), whole_orders=True)
    safe.tombstoned, safe.repeated = gone, len(lines) - gone - batch.num_rows
    if batch.num_rows:
        marks = Marking.kept(stores.protected.root / MARKS, descriptor).of_table(table.name)
        lacking = {name: pa.nulls(batch.num_rows, pa.string()) for name in table.columns if name not in schema.names}
        whole, done = pa.RecordBatch.from_pydict({**_by_name(batch), **lacking}), ProtectReport()
        plan = replace(table.plan(), marks=marks, held=())
        kept = pa.Table.from_batches([without_marked(whole, batch, plan, done)])
        safe.tables |= {table.name: kept} if kept.num_rows else {}
        safe.marked, safe.flags = done.marked, done.flags
    return safe


def _lost(tokens: pa.Array, keyring: Keyring) -> npt.NDArray[np.bool_]:
    """(n,) bool: which tokens are under a key that is destroyed, as a service goes on making until it is restarted."""
    destroyed = [info.key_id for info in keyring.keys if info.state is KeyState.DESTROYED]
    key_ids = pc.utf8_slice_codeunits(tokens, 3, 5)
    return np.asarray(pc.is_in(key_ids, value_set=pa.array(destroyed, pa.string())).to_numpy(zero_copy_only=False))


def _first_of_each(orders: pa.Array, events: Sequence[int]) -> list[bool]:
    """Which lines are of the first event that has their order's token."""
    first: dict[str, int] = {}
    return [first.setdefault(order, event) == event for order, event in zip(orders.to_pylist(), events, strict=True)]


def _as(kind: pa.DataType, value: Any) -> Any:
    """A value as its column has it; None for what it can't hold, which no mark and no feature is about."""
    if value is None:
        return None
    if pa.types.is_integer(kind):
        written = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
        whole = int(written) if _WHOLE.fullmatch(written) else 2**63
        return whole if -(2**63) <= whole < 2**63 else None
    return float(value) if pa.types.is_floating(kind) else str(value)


def _by_name(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))
