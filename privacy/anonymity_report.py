"""What a release comes to: k, l, t, loss, discernibility, risks of re-identification and the GB/T 42460-2023 grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.scales import Codes, Scale

__all__ = ["ACCEPTED_RISK", "Report", "Risks", "grade", "release_report", "risks"]

Ints = npt.NDArray[np.int64]

ACCEPTED_RISK: Final = 0.05
"""The chance of picking the right person that a release outside may leave: a class of 20. GB/T 42460-2023 leaves the
threshold to the assessor; this is ours, and the stricter of those in use (El Emam: 0.33, 0.2, 0.09, 0.05)."""


@dataclass(frozen=True)
class Risks:
    """The greatest and the mean chance of naming the right person behind a row.

    The prosecutor knows that the person is in the table; the journalist wants anybody, and picks among the population
    (without a population it is the table, so the same); the marketer names everybody and is right on average.
    Source: El Emam, Guide to the De-Identification of Personal Health Information, 2013, ch. 16.
    """

    prosecutor: float
    prosecutor_mean: float
    journalist: float
    marketer: float


@dataclass(frozen=True)
class Report:
    """The figures of one release; shares are of all rows given, `sensitive` holds l and t by column.

    `as_they_are` are columns declared neither quasi-identifier nor sensitive, released unchanged: nothing is promised
    of them. They may name people, so that the grade of a release with any is 1.
    """

    rows: int
    released: int
    suppressed_share: float
    k: int
    classes: int
    average_class: float
    ncp: float | None
    ncp_by_column: Mapping[str, float]
    discernibility: int
    sensitive: Mapping[str, Mapping[str, float]]
    risks: Risks
    gb_t_42460_grade: int
    told_nothing: tuple[str, ...]
    as_they_are: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The report as JSON values."""
        return {**asdict(self), "told_nothing": list(self.told_nothing), "as_they_are": list(self.as_they_are)}


def release_report(
    scales: Sequence[Scale], published: tuple[Codes, Codes], regions: Ints, classes: Ints, rows: int
) -> Report:
    """The figures of a release: `published` codes by region, the region and class of each released row, rows given.

    `classes` goes on with those of rows released before, where they stand beside: sizes and risks are of all together.
    Suppressed rows have lost everything (NCP 1), and are as hard to discern as the whole table.
    Sources: Xu et al., KDD 2006; Bayardo, Agrawal, Data privacy through optimal k-anonymization, ICDE 2005.
    """
    sizes = np.bincount(classes)
    sizes = sizes[sizes > 0]
    suppressed = rows - len(regions)
    found = _risks(sizes, sizes)
    low, high = published
    losses, blank = {}, []
    in_region = np.bincount(regions, minlength=len(low))
    for at, scale in enumerate(scales):
        if scale.measurable and rows:
            lost = float((scale.losses(low[:, at], high[:, at]) * in_region).sum())
            losses[scale.column] = (lost + suppressed) / rows
        if scale.tells_nothing(low[in_region > 0, at], high[in_region > 0, at]).all():
            blank.append(scale.column)
    return Report(
        rows=rows,
        released=len(regions),
        suppressed_share=suppressed / rows if rows else 0.0,
        k=int(sizes.min()) if len(sizes) else 0,
        classes=len(sizes),
        average_class=len(classes) / len(sizes) if len(sizes) else 0.0,
        ncp=sum(losses.values()) / len(losses) if len(losses) == len(scales) else None,
        ncp_by_column=losses,
        discernibility=sum(size * size for size in sizes.tolist()) + suppressed * (rows + len(classes) - len(regions)),
        sensitive={},
        risks=found,
        gb_t_42460_grade=grade(found.prosecutor),
        told_nothing=tuple(blank),
    )


def risks(table: pa.Table, quasi_identifiers: Sequence[str], population: pa.Table | None = None) -> Risks:
    """Risks of a released table; `population` has the same columns, generalised alike, and holds the table's people.

    >>> table = pa.table({"age": ["20 to 34"] * 2 + ["35 or more"] * 4})
    >>> risks(table, ["age"]).prosecutor
    0.5
    >>> risks(table, ["age"], pa.concat_tables([table] * 5)).journalist
    0.1
    """
    names = list(quasi_identifiers)
    here = table.group_by(names).aggregate([([], "count_all")])
    if population is None:
        sizes = here["count_all"].to_numpy()
        return _risks(sizes, sizes)
    there = population.group_by(names).aggregate([([], "count_all")]).rename_columns([*names, "there"])
    marked = [pc.fill_null(there[name].cast(pa.string()), "\0") for name in names]
    there = pa.table([*marked, there["there"]], names=[*names, "there"])
    here = pa.table(
        [*(pc.fill_null(here[name].cast(pa.string()), "\0") for name in names), here["count_all"]],
        names=[*names, "count_all"],
    )
    joined = here.join(there, names, join_type="left outer")
    sizes = joined["count_all"].to_numpy()
    return _risks(sizes, np.maximum(pc.fill_null(joined["there"], 0).to_numpy(), sizes))


def _risks(sizes: npt.NDArray[np.int64], population: npt.NDArray[np.int64]) -> Risks:
    if not len(sizes):
        return Risks(0.0, 0.0, 0.0, 0.0)
    rows = float(sizes.sum())
    return Risks(
        prosecutor=1 / float(sizes.min()),
        prosecutor_mean=len(sizes) / rows,
        journalist=1 / float(population.min()),
        marketer=float((sizes / population).sum()) / rows,
    )


def grade(risk: float, accepted: float = ACCEPTED_RISK) -> int:
    """The level of identifiability by GB/T 42460-2023, clause 4, of rows without direct identifiers: 2 or 3.

    1 names people directly, 2 is without direct identifiers, 3 also of accepted risk, 4 is aggregated. `risk` is the
    greatest chance of the prosecutor.

    >>> grade(1 / 5), grade(1 / 20)
    (2, 3)
    """
    return 3 if risk <= accepted else 2
