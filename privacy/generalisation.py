"""A generalisation once fitted: scales, cuts and classes. It is kept, and newcomers join its classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.anonymity_check import verify
from privacy.anonymity_report import Report, release_report
from privacy.counted import counted
from privacy.demands import Demands, Entropy
from privacy.diversity import Sensitive
from privacy.durable import write_beside
from privacy.errors import BadInput, EnvironmentFailed
from privacy.json_files import read_object
from privacy.mondrian import Cuts
from privacy.scales import Scale, scale_from_json

__all__ = ["Anonymised", "Generalisation", "column_of"]

Ints = npt.NDArray[np.int64]

FORMAT: Final = 1
NOWHERE: Final = -1
_INCOMPARABLE: Final = (
    pa.types.is_float16, pa.types.is_interval, pa.types.is_run_end_encoded, pa.types.is_string_view,
    pa.types.is_binary_view,
)  # fmt: skip
_DAMAGED: Final = "remove it: the next ingest fits another, and rows released by the lost one must not be kept beside"


@dataclass(frozen=True)
class Anonymised:
    """A released table, its figures, which rows it was made of, and what newcomers are generalised by."""

    table: pa.Table
    report: Report
    kept: npt.NDArray[np.bool_]
    generalisation: Generalisation

    def of(self, version: int, meaning: str) -> Anonymised:
        """The same, its generalisation marked by a version and by what it was fitted for."""
        return replace(self, generalisation=replace(self.generalisation, version=version, meaning=meaning))


@dataclass(frozen=True)
class Generalisation:
    """Scales of the quasi-identifiers, the tree of cuts, and the published codes of each region, (regions, columns).

    It holds places of cuts, and names of values that k people have or a hierarchy lists; nobody's row.
    """

    scales: tuple[Scale, ...]
    demands: Demands
    sensitive: tuple[str, ...]
    cuts: Cuts
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    version: int = 1
    meaning: str = ""
    """A digest of what it was fitted for, where it is kept."""

    @property
    def columns(self) -> list[str]:
        """The quasi-identifiers, in order."""
        return [scale.column for scale in self.scales]

    def labels(self) -> pa.Table:
        """What is published of each region, one row a region."""
        ends = enumerate(self.scales)
        return pa.table({scale.column: scale.labels(self.low[:, at], self.high[:, at]) for at, scale in ends})

    def regions_of(self, table: pa.Table) -> Ints:
        """(n,) The region that each row belongs to, -1 for those whose values have no place in any."""
        codes = np.stack([scale.encode(column_of(table, scale.column)) for scale in self.scales], axis=1)
        found = self.cuts.region_of(codes)
        inside = ((codes >= self.low[found]) & (codes <= self.high[found])).all(axis=1)
        return np.where(inside, found, NOWHERE)

    def apply(self, table: pa.Table, beside: pa.Table | None = None) -> Anonymised:
        """Release rows of `table` by this generalisation; of `beside`, rows it has released before that still stand.

        Rows join the region they fall in. Suppressed are those that fall in none, and those whose class, with the rows
        beside, doesn't keep the demands: so they hold for both tables together, which the report is of. Without
        `beside` they hold for the answer alone, as after an erasure. Raises BadInput for missing columns, and for rows
        beside that this generalisation didn't release; CheckFailed if the rows beside break the demands by themselves.
        """
        for name in self.sensitive:
            column_of(table, name)
        return self.release(table, self.regions_of(table), beside)

    def release(self, table: pa.Table, regions: Ints, beside: pa.Table | None = None) -> Anonymised:
        """`apply` where the rows' regions are known."""
        labels = self.labels()
        class_of_region = _classes(labels)
        of_row = np.where(regions == NOWHERE, NOWHERE, class_of_region[regions])
        standing = np.zeros(0, np.int64) if beside is None else _classes_of(beside, labels, class_of_region)
        kept = self._kept(table, of_row, standing, beside, int(class_of_region.max()) + 1)
        chosen = regions[kept]
        try:
            rows = table.filter(pa.array(kept))
        except pa.ArrowNotImplementedError:
            raise BadInput("rows can't be chosen of a column of its type", remedy="cast views to plain types") from None
        for name in self.columns:
            coded = labels[name].combine_chunks()
            texts = pa.DictionaryArray.from_arrays(coded.indices.take(pa.array(chosen)), coded.dictionary)
            rows = rows.set_column(rows.schema.get_field_index(name), name, texts.cast(pa.string()))
        together = rows if beside is None else self._checked_columns(beside, rows)
        demands = self.demands
        verify(
            together, quasi_identifiers=self.columns, k=demands.k, sensitive=self.sensitive, l=demands.l, t=demands.t
        )
        classes = np.concatenate((of_row[kept], standing))
        report = release_report(self.scales, (self.low, self.high), regions[kept], classes, len(kept))
        other = tuple(name for name in table.schema.names if name not in {*self.columns, *self.sensitive})
        level = 1 if other else report.gb_t_42460_grade
        report = replace(report, as_they_are=other, gb_t_42460_grade=level)
        return Anonymised(rows, replace(report, sensitive=self._measured(together, classes)), kept, self)

    def save(self, path: Path) -> None:
        """Keep this generalisation in one JSON file, whole or not at all."""
        content = self.to_json()
        write_beside(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())

    def to_json(self) -> dict[str, Any]:
        """This generalisation as JSON values."""
        l = self.demands.l  # noqa: E741 - the literature's name
        return {
            "format": FORMAT,
            "version": self.version,
            "meaning": self.meaning,
            "k": self.demands.k,
            "l": None if isinstance(l, Entropy) else l,
            "entropy_l": l.l if isinstance(l, Entropy) else None,
            "t": self.demands.t,
            "sensitive": list(self.sensitive),
            "scales": [scale.to_json() for scale in self.scales],
            "cuts": {name: getattr(self.cuts, name).tolist() for name in ("column", "at", "left", "right")},
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        }

    @classmethod
    def load(cls, path: Path) -> Generalisation | None:
        """Read one back, None when there is no file; EnvironmentFailed when it is damaged."""
        what = "the kept generalisation"
        content = read_object(path, what, remedy=_DAMAGED)
        if content is None:
            return None
        try:
            return cls._of(content)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, BadInput):
            raise EnvironmentFailed(f"{what} is damaged", where=str(path), remedy=_DAMAGED) from None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Generalisation:
        if content["format"] != FORMAT:
            raise ValueError("another format")
        scales = tuple(scale_from_json(told) for told in content["scales"])
        l = Entropy(content["entropy_l"]) if content["entropy_l"] is not None else content["l"]  # noqa: E741
        cuts = Cuts(*(np.array(content["cuts"][name], np.int64) for name in ("column", "at", "left", "right")))
        low, high = (np.array(content[end], np.int32).reshape(-1, len(scales)) for end in ("low", "high"))
        regions, nodes = len(low), len(cuts.column)
        leaf = cuts.column < 0
        whole = (
            regions == len(high) == int(leaf.sum()) > 0
            and all(len(part) == nodes for part in (cuts.at, cuts.left, cuts.right))
            and sorted(cuts.left[leaf].tolist()) == list(range(regions))
            and bool((cuts.column < len(scales)).all())
            # Children come after their parent, so that no walk goes in a circle.
            and all(bool((part[~leaf] > np.flatnonzero(~leaf)).all()) for part in (cuts.left, cuts.right))
            and bool((np.maximum(cuts.left, cuts.right)[~leaf] < nodes).all())
            and bool(((low >= 0) & (low <= high) & (high <= [scale.last for scale in scales])).all())
        )
        if not whole:
            raise ValueError("parts that don't fit")
        demands = Demands(content["k"], l, content["t"])
        marks = int(content["version"]), str(content["meaning"])
        return cls(scales, demands, tuple(content["sensitive"]), cuts, low, high, *marks)

    def _kept(
        self, table: pa.Table, of_row: Ints, standing: Ints, beside: pa.Table | None, classes: int
    ) -> npt.NDArray[np.bool_]:
        """Which rows may be released: those of classes that keep the demands, counted with the rows that stand."""
        kept = of_row != NOWHERE
        while True:
            together = np.concatenate((of_row[kept], standing))
            sizes = np.bincount(together, minlength=classes)
            good = sizes >= self.demands.k
            if self.demands.of_values and len(together):
                present, groups = np.unique(together, return_inverse=True)
                for name in self.sensitive:
                    values = [column_of(table, name).filter(pa.array(kept))]
                    values += [] if beside is None else [column_of(beside, name).cast(values[0].type)]
                    measured = Sensitive(name, pa.concat_arrays(values)).measures(slice(None), groups, len(present))
                    good[present] &= measured.fulfil(self.demands)
            # Where newcomers move the whole so far that classes of before break t, none of them may join.
            fewer = kept & good[of_row] & good[standing].all()
            if fewer.sum() == kept.sum():
                return kept
            kept = fewer  # what went has changed the whole that t is measured from

    def _checked_columns(self, beside: pa.Table, rows: pa.Table) -> pa.Table:
        names = [*self.columns, *self.sensitive]
        return pa.concat_tables([rows.select(names), beside.select(names).cast(rows.select(names).schema)])

    def _measured(self, rows: pa.Table, of_row: Ints) -> dict[str, dict[str, float]]:
        """The l and t that the release reaches, by sensitive column."""
        if not rows.num_rows or not self.sensitive:
            return {}
        present, groups = np.unique(of_row, return_inverse=True)
        answer = {}
        for name in self.sensitive:
            found = Sensitive(name, column_of(rows, name)).measures(slice(None), groups, len(present))
            reached = {"l": int(found.distinct.min()), "entropy_l": float(np.exp(found.entropy.min()))}
            answer[name] = {**reached, "t": float(found.distance.max())}
        return answer


def column_of(table: pa.Table, name: str) -> pa.Array:
    """The one column of that name as one array; BadInput if there is none, several, or one that Arrow can't compare."""
    count = table.schema.names.count(name)
    if count != 1:
        raise BadInput(f"column {name} is there twice", where=name) if count else _missing(table, name)
    column = table[name].combine_chunks()
    if isinstance(column.type, pa.BaseExtensionType) or any(is_kind(column.type) for is_kind in _INCOMPARABLE):
        raise BadInput(f"column {name} has a type that can't be compared", where=name, remedy="cast it to a plain one")
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _missing(table: pa.Table, name: str) -> BadInput:
    """BadInput that says which columns there are, and which of them may have been meant."""
    there = table.schema.names
    near = get_close_matches(name, there, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return BadInput(f"column {name} is missing", remedy=f"{meant}the table has {', '.join(there) or 'no columns'}")


def _classes(labels: pa.Table) -> Ints:
    """The class of each region: regions that are published alike are one class."""
    classes: Ints = np.zeros(labels.num_rows, np.int64)
    for column in labels.columns:
        coded = column.combine_chunks()
        classes = classes * len(coded.dictionary) + coded.indices.to_numpy()
        classes = np.unique(classes, return_inverse=True)[1].astype(np.int64)
    return classes


def _classes_of(beside: pa.Table, labels: pa.Table, class_of_region: Ints) -> Ints:
    """The class of each row that was released before."""
    names = labels.schema.names
    for name in names:
        column_of(beside, name)
    texts = labels.cast(pa.schema([(name, pa.string()) for name in names]))
    known = texts.append_column("_class", pa.array(class_of_region)).group_by(names).aggregate([("_class", "min")])
    numbered = beside.select(names).append_column("_row", pa.array(np.arange(beside.num_rows)))
    joined = numbered.join(known, names, join_type="left outer").sort_by("_row")
    if joined["_class_min"].null_count:
        count = joined["_class_min"].null_count
        raise BadInput(f"{counted(count, 'row beside was', 'rows beside were')} not released by this generalisation")
    return joined["_class_min"].to_numpy()
