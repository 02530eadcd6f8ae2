"""Whether keys are unique and references lead somewhere: on keyed hashes in memory, never spilled, never shown."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.datasets.descriptor import Descriptor
from features.datasets.inference import PRODUCT
from features.datasets.references import Place, Reference, references_of
from privacy.errors import BadInput
from privacy.identifiers import canonical_ids

from .findings import Finding, Level

__all__ = ["References"]

Hashes = npt.NDArray[np.uint64]


class References:
    """Gathers what is met of keys and references; each value becomes 64 bits of SipHash under a key of this run."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._references = list(references_of(descriptor.tables, descriptor.subject))
        keys = {reference.to for reference in self._references}
        for table, key in (("customers", descriptor.subject), ("products", PRODUCT)):
            if table in descriptor.tables and key in descriptor.tables[table].columns:
                keys.add((table, key))
        self._keys = sorted(keys)
        self._met: dict[Place, list[Hashes]] = defaultdict(list)
        self._secret = secrets.token_hex(8)

    def meet(self, table: str, batch: pa.RecordBatch) -> None:
        """Take in the keys and references of a batch: every row of a key, each value of a reference."""
        held = {reference.column for reference in self._references} - set(self._keys)
        for place in (*self._keys, *sorted(held)):
            if place[0] == table and place[1] in batch.schema.names:
                column = batch.column(place[1])
                self._met[place].append(self._hashes(column if place in self._keys else column.unique()))

    def findings(self) -> Iterator[Finding]:
        """Yield keys that aren't unique, and references that lead nowhere."""
        distinct: dict[Place, Hashes] = {}
        for place, parts in self._met.items():
            rows = np.concatenate(parts)
            distinct[place] = np.unique(rows)
            doubled = len(rows) - len(distinct[place])
            if place in self._keys and doubled:
                what, remedy = "repeats an earlier row's key", "keep one row of each: an ingest keeps them all"
                yield Finding(*place, "warning", "not_unique", what, remedy, doubled, len(rows))
        for reference in self._references:
            if reference.column in distinct and reference.to in distinct:
                yield from _dangling(reference, distinct[reference.column], distinct[reference.to])

    def _hashes(self, column: pa.Array) -> Hashes:
        texts = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
        filled = texts.filter(pc.fill_null(pc.greater(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0), False))
        try:
            values = canonical_ids(filled).to_numpy(zero_copy_only=False)
        except BadInput:  # not UTF-8: the contract tells
            return np.zeros(0, np.uint64)
        return pd.util.hash_array(values.astype(object), hash_key=self._secret, categorize=False)


def _dangling(reference: Reference, values: Hashes, keys: Hashes) -> Iterator[Finding]:
    missing = int((~np.isin(values, keys, assume_unique=True)).sum())
    if not missing:
        return
    to = ".".join(reference.to)
    if missing == len(values):
        remedy = "see whether both are written alike: leading zeros, text or number"
        yield Finding(
            *reference.column, "error", "dangling", f"no value is found in {to}", remedy, missing, len(values)
        )
        return
    remedy = f"add them to {reference.to[0]}" + ("" if reference.declared else ", if they belong there")
    level: Level = "error" if reference.declared else "warning"
    yield Finding(*reference.column, level, "dangling", f"values not found in {to}", remedy, missing, len(values))
