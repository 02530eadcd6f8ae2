"""One table's rows held to its contract, batch by batch: good ones go on, bad ones are packed for the quarantine."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from privacy.treatment import Protector, ProtectReport

from .contracts import Contract, Tally, first_reasons
from .datasets.tables import Table
from .quality.meter import Meter
from .quarantine import Quarantine, written_ids

__all__ = ["TableIntake"]


class TableIntake:
    """What became of the rows of `table`, be they ingested or pushed; `now` bounds their dates.

    `tally` counts rows and reasons, `bad` holds what the quarantine is to seal, `done` what protection does; a `meter`
    is shown every row, for the scorecard.
    """

    def __init__(
        self, table: Table, protector: Protector, quarantine: Quarantine, now: dt.datetime, meter: Meter | None = None
    ) -> None:
        self.table, self._protector, self._quarantine, self._now = table, protector, quarantine, now
        self._contract, self._meter = Contract(table, now), meter
        self.tally, self.done, self.bad = Tally(table.name), ProtectReport(), list[pa.Table]()

    def admit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the good rows of `batch`, with the declared columns alone."""
        failures = self._contract.failures(batch)
        found = first_reasons(failures)
        self.tally.rows += batch.num_rows
        good = batch
        if found.num_rows:
            mask = pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=found["row"].combine_chunks())
            good = batch.filter(pc.invert(mask))
            held = self._not_of_the_erased(batch, found)
            self.done.tombstoned += found.num_rows - held.num_rows
            self.tally.add(held)
            if held.num_rows:
                self.bad.append(self._quarantine.pack(batch, held, self.table))
        if self._meter is not None:
            self._meter.meet(batch, failures)
            self._meter.keep(good)
        return good.select(list(self.table.columns))

    def _not_of_the_erased(self, batch: pa.RecordBatch, found: pa.Table) -> pa.Table:
        """Leave out the bad rows of erased people: they must not come back, not even sealed."""
        table = self.table
        if table.subject is None:
            return found
        bad = batch.take(found["row"].combine_chunks())
        dates = None
        if table.event_column is not None:
            written = bad.column(table.event_column).cast(pa.timestamp("us", "UTC"))
            # A bad row's date in the future is no proof that the person came back.
            credible = pc.less_equal(written, pa.scalar(self._now, written.type))
            dates = pc.if_else(credible, written, pa.scalar(None, written.type))
        refused = self._protector.tombstoned(written_ids(bad, table.subject), dates)
        return found.filter(pa.array(~refused))
