"""Whether columns that say `identifies` hold ids of that kind: counted as an ingest would read them, never shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from features.datasets.descriptor import Descriptor
from features.datasets.identity import identifying, link_rules
from features.datasets.references import Place
from privacy.classification import LinkKind
from privacy.errors import BadInput
from privacy.link_ids import is_junk, normalised

from .findings import Finding

__all__ = ["Identifying"]

_HOLDS = "name the column that holds them, or take 'identifies' out"


class Identifying:
    """Counts, by column, values that are filled, that have the form of their kind, and that say something."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._kinds: dict[Place, LinkKind] = {
            (table.name, column): kind
            for table in descriptor.tables.values()
            for column, kind in identifying(table).items()
        }
        self._rules = link_rules(descriptor.identity)
        self._filled, self._formed, self._telling = Counter[Place](), Counter[Place](), Counter[Place]()

    def meet(self, table: str, batch: pa.RecordBatch) -> None:
        """Take in the ids of a batch."""
        for place, kind in self._kinds.items():
            if place[0] != table or place[1] not in batch.schema.names:
                continue
            try:
                ids = normalised(batch.column(place[1]), kind, self._rules.region)
            except BadInput:  # of a type that holds no ids: the contract tells
                continue
            written = pc.cast(batch.column(place[1]), pa.string())
            junk = is_junk(ids, kind, self._rules.junk.get(kind, ()))
            self._filled[place] += pc.sum(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(written)), 0)).as_py() or 0
            self._formed[place] += len(ids) - ids.null_count
            self._telling[place] += len(ids) - ids.null_count - int(junk.sum())

    def findings(self) -> Iterator[Finding]:
        """Yield columns none of whose values identifies anybody, and how many values of others don't."""
        for place, kind in self._kinds.items():
            filled, formed, telling = self._filled[place], self._formed[place], self._telling[place]
            if not filled:
                continue
            if not formed:
                what = f"identifies by {kind}, and no value has its form"
                yield Finding(*place, "warning", "identifies_nobody", what, _HOLDS, filled, filled)
            elif not telling:
                what = f"identifies by {kind}, and every value says nothing (docs: One person, several ids)"
                yield Finding(*place, "warning", "identifies_nobody", what, _HOLDS, filled, filled)
            elif telling < filled:
                what = f"no {kind} that says who somebody is, and so links nobody,"
                yield Finding(*place, "note", "links_nobody", what, "", filled - telling, filled)
