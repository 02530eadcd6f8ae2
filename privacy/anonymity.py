"""Tables in which nobody stands alone: k-anonymity, l-diversity and t-closeness by Mondrian, verified before release.

What these promise and what they don't is said in docs/privacy.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.counted import counted
from privacy.demands import Demands, Entropy
from privacy.diversity import Sensitive
from privacy.errors import BadInput
from privacy.generalisation import Anonymised, Generalisation, column_of
from privacy.hierarchies import parse_hierarchy
from privacy.mondrian import Accept, partition
from privacy.scales import UNKNOWN, Codes, Scale, fit_ranges, fit_values, is_ranged

__all__ = ["anonymise"]

_REMEDY: Final = "nothing is released"
_FRAME: Final = "pa.Table.from_pandas(frame, preserve_index=False) makes one of a pandas frame"


def anonymise(
    table: pa.Table,
    *,
    quasi_identifiers: Sequence[str],
    k: int,
    sensitive: Sequence[str] = (),
    l: int | Entropy | None = None,  # noqa: E741 - the literature's name
    t: float | None = None,
    hierarchies: Mapping[str, object] | None = None,
    max_suppression: float = 0.0,
) -> Anonymised:
    """Generalise the quasi-identifiers until every row has at least k - 1 others like it; the rest stays as it is.

    Rows are counted: give one row a person, for somebody with several rows would be their own crowd. Columns that are
    neither quasi-identifiers nor sensitive, names and numbers of people among them, are released as they are;
    `.report.as_they_are` lists them.

    The answer's `.table` holds the quasi-identifiers as texts (`20 to 34`, `Owner | Renter`, `missing`, `*` for any)
    and the other columns unchanged, in the order given; `.report` says what it comes to; `.generalisation` takes
    newcomers. Numbers and dates are generalised by ranges, values by their hierarchy, values without one by how many
    have them. With `l` (or `Entropy(l)`) and `t` every class keeps them in each sensitive column. Rows with a value
    that its hierarchy lacks are suppressed, up to the share `max_suppression` of all rows. Equal data give equal
    answers.

    Raises BadInput, naming the column and how far it is, where the demands can't be met or the input can't be used;
    CheckFailed if a group-by that shares no code with the algorithm doesn't confirm them. Nothing is released then.

    >>> people = pa.table({"age": [21, 22, 23, 61, 62, 64], "bought": [1, 2, 3, 4, 5, 6]})
    >>> done = anonymise(people, quasi_identifiers=["age"], k=3)
    >>> done.table["age"].to_pylist()
    ['49 or less', '49 or less', '49 or less', '50 or more', '50 or more', '50 or more']
    >>> done.report.k, done.report.classes
    (3, 2)
    """
    if not isinstance(table, pa.Table):
        raise BadInput(f"anonymise takes a pyarrow table, not a {type(table).__name__}", remedy=_FRAME)
    demands, names, hidden = Demands(k, l, t), _names(quasi_identifiers), _names(sensitive)
    _check(table, names, hidden, demands, max_suppression)
    scales = fit_scales(table, names, k, hierarchies or {})
    codes = np.stack([scale.encode(column_of(table, scale.column)) for scale in scales], axis=1)
    placed = (codes != UNKNOWN).all(axis=1)
    _check_gaps(scales, codes, placed, k, max_suppression)
    rows = np.flatnonzero(placed)
    known = table if len(rows) == table.num_rows else table.filter(pa.array(placed))
    accept = _accept(known, hidden, demands)
    found = partition(codes[rows], [(s.first, s.last) for s in scales], [s.depths for s in scales], k, accept)
    box = found.low.astype(np.int32), found.high.astype(np.int32)
    ends = [scale.published(box[0][:, at], box[1][:, at]) for at, scale in enumerate(scales)]
    low, high = (np.stack([end[which] for end in ends], axis=1) for which in (0, 1))
    generalisation = Generalisation(tuple(scales), demands, tuple(hidden), found.cuts, low, high)
    regions = np.full(table.num_rows, -1)
    regions[rows] = found.of_row
    return generalisation.release(table, regions)


def fit_scales(table: pa.Table, names: Sequence[str], k: int, hierarchies: Mapping[str, object]) -> list[Scale]:
    """The scale of each quasi-identifier; BadInput for a hierarchy of none of them."""
    if strange := sorted(set(hierarchies) - set(names)):
        raise BadInput(f"a hierarchy is given for {strange[0]}, which is no quasi-identifier", where=strange[0])
    scales: list[Scale] = []
    for name in names:
        values = column_of(table, name)
        given = hierarchies.get(name)
        if given is None and is_ranged(values.type):
            scales.append(fit_ranges(name, values, k))
        else:
            scales.append(fit_values(name, values, k, None if given is None else parse_hierarchy(given, name)))
    return scales


def _names(given: Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _check(table: pa.Table, names: list[str], sensitive: list[str], demands: Demands, share: float) -> None:
    if not names:
        raise BadInput("no quasi-identifiers are named")
    listed = [*names, *sensitive]
    if doubled := [name for name in listed if listed.count(name) > 1]:
        raise BadInput(
            f"column {doubled[0]} is named twice", where=doubled[0], remedy="sensitive is no quasi-identifier"
        )
    for name in listed:
        column_of(table, name)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise BadInput("max_suppression must be a share of the rows, from 0 to below 1")
    if demands.k > table.num_rows:
        raise BadInput(f"k={demands.k} is more than the table's {counted(table.num_rows, 'row')}", remedy=_REMEDY)
    if demands.of_values and not sensitive:
        raise BadInput("l and t need a sensitive column", remedy="name it")


def _check_gaps(scales: list[Scale], codes: Codes, placed: npt.NDArray[np.bool_], k: int, share: float) -> None:
    """Refuse rows without a place in a hierarchy where they are more than may be suppressed."""
    lost = int((~placed).sum())
    if not lost:
        return
    gaps = (codes == UNKNOWN).sum(axis=0)
    worst = scales[int(gaps.argmax())].column
    if lost > share * len(codes) or len(codes) - lost < k:
        told = f"{counted(int(gaps.max()), 'row has', 'rows have')} a value of {worst} that its hierarchy lacks"
        allowed = (
            f"{lost:,} of {len(codes):,} rows would be suppressed, max_suppression allows {int(share * len(codes)):,}"
        )
        raise BadInput(f"{told}: {allowed}", where=worst, remedy=f"complete the hierarchy; {_REMEDY}")


def _accept(table: pa.Table, sensitive: list[str], demands: Demands) -> Accept | None:
    """What says whether groups of rows keep l and t; BadInput where not even the whole table does."""
    if not demands.of_values:
        return None
    columns = [Sensitive(name, column_of(table, name)) for name in sensitive]
    everyone = np.zeros(table.num_rows, np.int64)
    for column in columns:
        found = column.measures(slice(None), everyone, 1)
        if not found.fulfil(demands).all():
            entropy = isinstance(demands.l, Entropy)
            has = f"entropy l={np.exp(found.entropy[0]):.3f}" if entropy else f"{found.distinct[0]} values"
            wanted = demands.l.l if isinstance(demands.l, Entropy) else demands.l
            raise BadInput(
                f"the whole of sensitive column {column.name} has {has}, so l={wanted} can't be met",
                where=column.name,
                remedy=_REMEDY,
            )

    def accept(rows: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
        good = np.ones(count, bool)
        for column in columns:
            good &= column.measures(rows, groups, count).fulfil(demands)
        return good

    return accept
