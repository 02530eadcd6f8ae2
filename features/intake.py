"""One table's rows held to its contract, batch by batch: good ones go on, bad ones are packed for the quarantine."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.treatment import Protector, ProtectReport

from .contracts import Contract, Tally, first_reasons
from .datasets.tables import Table
from .quality.meter import Meter
from .quarantine import Quarantine, written_ids

__all__ = ["Judge", "TableIntake"]


class Judge:
    """Tells good rows of `table` from bad ones; needs no key, so it may be anywhere. `now` bounds their dates."""

    def __init__(self, table: Table, now: dt.datetime, meter: Meter | None = None) -> None:
        self._table, self._meter, self._contract = table, meter, Contract(table, now)

    def sort(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, pa.Table]:
        """Return the good rows, with the declared columns alone; the bad ones as they came; what is wrong with each."""
        failures = self._contract.failures(batch)
        found = first_reasons(failures)
        rows, good = found["row"].combine_chunks(), batch
        if found.num_rows:
            good = batch.filter(pc.invert(pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=rows)))
        if self._meter is not None:
            self._meter.meet(batch, failures)
            self._meter.keep(good)
        return good.select(list(self._table.columns)), batch.take(rows), found.drop(["row"])


class TableIntake:
    """What became of the rows of `table`, be they ingested or pushed; `now` bounds their dates.

    `tally` counts rows and reasons, `bad` holds what the quarantine is to seal, `done` what protection does; a `meter`
    is shown every row, for the scorecard.
    """

    def __init__(
        self, table: Table, protector: Protector, quarantine: Quarantine, now: dt.datetime, meter: Meter | None = None
    ) -> None:
        self.table, self.meter, self.now = table, meter, now
        self._protector, self._quarantine, self._judge = protector, quarantine, Judge(table, now, meter)
        self.tally, self.done, self.bad = Tally(table.name), ProtectReport(), list[pa.Table]()

    def admit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the good rows of `batch`, with the declared columns alone."""
        good, bad, found = self._judge.sort(batch)
        self.tally.rows += batch.num_rows
        if self.meter is not None and self.meter.by_id and self.table.subject is not None:
            self.meter.identify(self._protector.indexes_of(good.column(self.table.subject)))
        self.refuse(bad, found)
        return good

    def refuse(self, bad: pa.RecordBatch, found: pa.Table) -> None:
        """Count and pack bad rows, of which `found` tells column and reason, but for those of erased people.

        Those must not come back, not even sealed.
        """
        if not bad.num_rows:
            return
        refused = self._of_the_erased(bad)
        if refused.any():
            stay = pa.array(~refused)
            bad, found = bad.filter(stay), found.filter(stay)
            self.done.tombstoned += int(refused.sum())
        self.tally.add(found)
        if bad.num_rows:
            self.bad.append(self._quarantine.pack(bad, found, self.table))

    def _of_the_erased(self, bad: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        table = self.table
        if table.subject is None:
            return np.zeros(bad.num_rows, np.bool_)
        dates = None
        if table.event_column is not None:
            written = bad.column(table.event_column).cast(pa.timestamp("us", "UTC"))
            # A bad row's date in the future is no proof that the person came back.
            credible = pc.less_equal(written, pa.scalar(self.now, written.type))
            dates = pc.if_else(credible, written, pa.scalar(None, written.type))
        return self._protector.tombstoned(written_ids(bad, table.subject), dates)
