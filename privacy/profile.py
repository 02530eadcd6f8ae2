"""Everybody's quasi-identifiers at once: generalised together, by what was fitted before, or dropped and told why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.anonymity import anonymise
from privacy.anonymity_report import Report, grade
from privacy.demands import Demands
from privacy.errors import BadInput, CheckFailed
from privacy.generalisation import Anonymised, Generalisation, column_of
from privacy.scales import UNKNOWN

__all__ = ["PROFILE", "Profile", "ProfileRule", "release_profile"]

PROFILE: Final = "profile"
"""The protected table that holds them: one row a person, their token, and what is told of them."""
_MEND: Final = "mend its values or its hierarchy, or give it a mask"
_LESS: Final = "more people, a lower k, l or t (anonymity), or masks let them be told"
_ROUND: Final = "years, months, 1-2-5"
"""Where ranges are cut; what was fitted by another rule, such as at days, is fitted anew."""
_COARSER: Final = "a hierarchy, a mask or a lower k (anonymity) may leave something"


@dataclass(frozen=True)
class ProfileRule:
    """What a descriptor asks: which columns are generalised, to what, and how much may be suppressed."""

    columns: tuple[str, ...]
    demands: Demands
    sensitive: tuple[str, ...] = ()
    hierarchies: Mapping[str, object] = field(default_factory=dict)
    max_suppression: float = 0.05


@dataclass(frozen=True)
class Profile:
    """The released table (token, then texts) or None, its figures, and each column that was dropped with why."""

    table: pa.Table | None
    report: Report | None
    dropped: Mapping[str, str]
    generalisation: Generalisation | None

    def told(self) -> dict[str, Any]:
        """What an ingest's report says of it, as JSON values."""
        version = None if self.generalisation is None else self.generalisation.version
        figures = None if self.report is None else self.report.to_dict()
        return {"figures": figures, "dropped": dict(self.dropped), "version": version}


def release_profile(people: pa.Table, token: str, rule: ProfileRule, kept: Path) -> Profile:
    """Generalise `people` (a token, the rule's columns and the sensitive ones; of several rows of a person the last).

    What was fitted for the same columns, hierarchies and demands is read from `kept` and applied, so that somebody's
    class stays what it was; otherwise it is fitted, and kept under the next version once it tells anything. A column
    that can't be used, or tells nothing, is dropped; all are where the people are fewer than k or l can't be met.
    Raises EnvironmentFailed when the kept file is damaged.
    """
    rows = _one_a_person(people, token)
    earlier = Generalisation.load(kept)
    columns, dropped = list(rule.columns), dict[str, str]()
    while columns:
        try:
            done = _generalised(rows, columns, rule, earlier)
        except (BadInput, CheckFailed) as error:
            culprits = [error.where] if error.where in columns else columns
            dropped |= dict.fromkeys(culprits, f"{error.what}; {_MEND if error.where in columns else _LESS}")
            columns = [name for name in columns if name not in culprits]
            continue
        blank = done.report.told_nothing
        dropped |= {name: _nothing_left(rows, name, rule.demands.k) for name in blank}
        told = [name for name in columns if name not in blank]
        if not told:  # nothing was released by it, so that more people may be cut anew
            break
        if done.generalisation is not earlier:
            done.generalisation.save(kept)
        # Of the other columns only the token is released: a pseudonym, which by itself names nobody.
        report = replace(done.report, as_they_are=(), gb_t_42460_grade=grade(done.report.risks.prosecutor))
        return Profile(done.table.select([token, *told]), report, dropped, done.generalisation)
    return Profile(None, None, dropped, None)


def _nothing_left(rows: pa.Table, name: str, k: int) -> str:
    """How far a column is from k, and what helps; nobody's value."""
    counts = pc.value_counts(rows[name].combine_chunks().drop_null()).field("counts")
    far = f"of {rows.num_rows:,} people {pc.sum(counts).as_py() or 0:,} have it, {pc.max(counts).as_py() or 0:,} alike"
    return f"nothing is left of it at k={k}: {far}, in {len(counts):,} different values; {_COARSER}"


def _generalised(rows: pa.Table, columns: list[str], rule: ProfileRule, earlier: Generalisation | None) -> Anonymised:
    demands, hierarchies = rule.demands, {name: rule.hierarchies[name] for name in columns if name in rule.hierarchies}
    meaning = _digest(rule, columns)
    if earlier is not None and earlier.meaning == meaning and earlier.columns == columns:
        _require_places(rows, rule, earlier)
        return earlier.apply(rows)
    done = anonymise(
        rows,
        quasi_identifiers=columns,
        k=demands.k,
        sensitive=rule.sensitive,
        l=demands.l,
        t=demands.t,
        hierarchies=hierarchies,
        max_suppression=rule.max_suppression,
    )
    version = 1 if earlier is None else earlier.version + 1
    return done.of(version, meaning)


def _require_places(rows: pa.Table, rule: ProfileRule, earlier: Generalisation) -> None:
    """Refuse values that a hierarchy lacks as the fit did: beyond what may be suppressed the column is named."""
    for scale in earlier.scales:
        if scale.column not in rule.hierarchies:
            continue
        values = column_of(rows, scale.column)
        lost = int(((scale.encode(values) == UNKNOWN) & values.is_valid().to_numpy(zero_copy_only=False)).sum())
        if lost > rule.max_suppression * rows.num_rows:
            told = f"{lost:,} of {rows.num_rows:,} rows have a value of {scale.column} that its hierarchy lacks"
            allowed = f"max_suppression allows {int(rule.max_suppression * rows.num_rows):,}"
            raise BadInput(f"{told}, {allowed}", where=scale.column)


def _digest(rule: ProfileRule, columns: list[str]) -> str:
    """What a generalisation is fitted for: another digest, another version."""
    demands = rule.demands
    asked = [_ROUND, demands.k, repr(demands.l), demands.t, rule.sensitive, columns, rule.hierarchies]
    return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()


def _one_a_person(people: pa.Table, token: str) -> pa.Table:
    codes = people[token].combine_chunks().dictionary_encode().indices.to_numpy()
    _, places = np.unique(codes[::-1], return_index=True)
    return people.take(pa.array(np.sort(len(codes) - 1 - places)))
