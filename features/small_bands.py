"""Bands of few people are joined to the next ones before anybody is told them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.demands import LEAST_PEOPLE

from .transforms.feature import Feature
from .transforms.vocabulary import STAGES

__all__ = ["LEAST_PEOPLE", "joined_bands", "least_people", "transition_shares", "without_small_bands"]


def least_people(profile_k: int | None) -> int:
    """How many people share a band at least in a shop whose profile has classes of `profile_k`, None without one."""
    return max(LEAST_PEOPLE, profile_k or 0)


def joined_bands(counts: Sequence[int], least: int) -> list[int | None]:
    """Say which band each of some ordered bands is told as, so that every told band has `least` people.

    A band with fewer joins the next and is told as it; what is left over at the end joins the last that has enough.
    All are None where there are fewer than `least` people.

    >>> joined_bands([2, 9, 0, 7, 4], least=5)
    [1, 1, 3, 3, 3]
    >>> joined_bands([1, 3], least=5)
    [None, None]
    """
    told: list[int | None] = []
    running, last = 0, None
    for band, count in enumerate(counts):
        running += count
        if running >= least:
            told += [band] * (band + 1 - len(told))
            running, last = 0, band
    return told + [last] * (len(counts) - len(told))


def without_small_bands(table: pa.Table, listed: Sequence[Feature], least: int) -> pa.Table:
    """Join the small bands of each banded feature of `listed` at every cut-off of `table`; null where nobody is enough.

    `table` has event_timestamp, and everybody of a cut-off.
    """
    moments = pc.dictionary_encode(table["event_timestamp"].combine_chunks()).indices.to_numpy()
    for feature in listed:
        if feature.bands:
            bands = pa.array(feature.bands, pa.string())
            codes = pc.index_in(table[feature.name].combine_chunks(), value_set=bands).to_numpy(zero_copy_only=False)
            told = bands.take(pa.array(_told(codes, moments, len(bands), least), pa.int64(), from_pandas=True))
            table = table.set_column(table.schema.get_field_index(feature.name), feature.name, told)
    return table


def transition_shares(rows: pa.Table, days: int, least: int) -> dict[str, dict[str, float | None]]:
    """Return, by stage, the share of times in each stage `days` later, in thousandths that add up to 1.

    A cell of few people is None: it is told as part of the next one that has a share, or else of the last. `rows` has
    customer_token, event_timestamp and stage. However often somebody moved, they are one of the `least` people of a
    cell; a stage with fewer isn't told.
    """
    from .engine import DuckDb  # what features a shop has is told without it
    from .transforms.insight import transitions

    counts = {(stage, later): (0, 0) for stage in STAGES for later in STAGES}
    with DuckDb().connect() as connection:
        for row in connection.read(transitions(connection.place(rows, "stages"), days)).to_pylist():
            counts[row["stage"], row["later"]] = row["times"], row["people"]
    shares: dict[str, dict[str, float | None]] = {}
    for stage in STAGES:
        times, people = zip(*(counts[stage, later] for later in STAGES), strict=True)
        joined, hidden = [0] * len(STAGES), set[int]()
        for at, (count, place) in enumerate(zip(times, joined_bands(people, least), strict=True)):
            if place is not None:
                joined[place] += count
            if count and place != at:
                hidden.add(at)
        if any(joined):
            told = [share / 1_000 for share in _thousandths(joined)]
            shares[stage] = {later: None if at in hidden else told[at] for at, later in enumerate(STAGES)}
    return shares


def _thousandths(counts: Sequence[int]) -> list[int]:
    """Shares of `counts` in thousandths that add up to 1,000: largest remainders first (Hamilton's method).

    >>> _thousandths([1, 1, 1, 0])
    [334, 333, 333, 0]
    """
    total = sum(counts)
    shares = [1_000 * count // total for count in counts]
    largest = sorted(range(len(counts)), key=lambda at: (-(1_000 * counts[at] % total), at))
    for at in largest[: 1_000 - sum(shares)]:
        shares[at] += 1
    return shares


def _told(
    codes: npt.NDArray[np.int64], moments: npt.NDArray[np.int64], bands: int, least: int
) -> npt.NDArray[np.float64]:
    """The band each row is told as, NaN for none."""
    cells = moments * bands + codes
    counts = np.bincount(cells, minlength=(int(moments.max(initial=-1)) + 1) * bands).reshape(-1, bands)
    places = [[np.nan if place is None else place for place in joined_bands(row.tolist(), least)] for row in counts]
    return np.asarray(places, np.float64).reshape(-1)[cells]
