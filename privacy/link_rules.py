"""Which customers are one person, by fixed rules on shared ids: connected components, limits, conflicts, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from privacy.classification import LinkKind
from privacy.demands import GROUP_FLOOR

__all__ = ["CONTRADICTORY", "UNKNOWN", "Evidence", "LinkReport", "LinkRules", "joined"]

Codes = npt.NDArray[np.int64]
Edges = tuple[Codes, Codes]

UNKNOWN: Final = -1
CONTRADICTORY: Final = -2
"""Of a customer whose own rows give a unique field different values: they agree with nobody."""
_THROUGH: Final = "through others"


@dataclass(frozen=True)
class LinkRules:
    """A weak id links only together with another weak one; an id of more than `shared_by` customers links nobody.

    More than `largest` customers aren't joined to one person. `junk` lists, by kind, normalised ids that say nothing;
    phone numbers without a country code are those of `region`.
    """

    weak: frozenset[LinkKind] = frozenset({LinkKind.DEVICE})
    shared_by: int = 3
    largest: int = 10
    region: str = ""
    junk: Mapping[LinkKind, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Customers by number: by kind, which of them have which ids, each pair once; by field, the code of what one has.

    `homes` says which person each customer is already, as links of before made them: all of 0 to the largest.
    """

    homes: Codes
    pairs: Mapping[LinkKind, Edges]
    unique: Mapping[str, Codes] = field(default_factory=dict)


@dataclass
class LinkReport:
    """Counts of customers and ids, of nobody in particular.

    `joined` people became one with another, which makes `persons` of several; `by_kind` says how many have an id of
    that kind in common. `conflicts` are customers kept apart by a unique field though they share an id of that kind, or
    are connected `through others`; `too_shared` and `junk` are ids that link nobody, `too_many` customers that would be
    one person.
    """

    joined: int = 0
    persons: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    too_shared: dict[str, int] = field(default_factory=dict)
    junk: dict[str, int] = field(default_factory=dict)
    too_many: int = 0

    def to_dict(self, least: int = GROUP_FLOOR) -> dict[str, object]:
        """The counts as JSON values, `<10` instead of one below `least`; nobody is 0.

        >>> LinkReport(joined=12, persons=4).to_dict()["persons"]
        '<10'
        """
        told: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, dict):
                told[name] = {key: _told(count, least) for key, count in sorted(value.items()) if count}
            else:
                told[name] = _told(value, least)
        return told


def joined(evidence: Evidence, rules: LinkRules) -> tuple[Codes, LinkReport]:
    """For each of the persons of before, the group that is one person now, -1 for whom nothing changes; the counts.

    Two customers are linked by each strong id, or by two weak ones, that they share with at most `shared_by` customers
    in all, unless a unique field of theirs differs. What is linked is one person, over any number of links, unless a
    unique field differs anywhere in it or it is of more than `largest` customers: then nobody in it is joined. The
    order of customers, ids and pairs means nothing. Time and memory grow as the pairs do.
    """
    report = LinkReport()
    homes, none = evidence.homes, np.zeros(0, np.int64)
    people = int(homes.max(initial=-1)) + 1
    edges = _without_conflicts(_all_edges(evidence, rules, report), evidence, report)
    firsts = homes[np.concatenate([none, *(first for first, _ in edges.values())])]
    seconds = homes[np.concatenate([none, *(second for _, second in edges.values())])]
    if not len(firsts):
        return np.full(people, -1, np.int64), report
    labels, count = _components(firsts, seconds, people)
    persons, sizes = np.bincount(labels, minlength=count), np.bincount(labels[homes], minlength=count)
    good = persons > 1
    for place, values in evidence.unique.items():
        clash = good & _differing(labels[homes], values, count)
        _add(report.conflicts, f"{_THROUGH}: {place}", int(sizes[clash].sum()))
        good &= ~clash
    large = good & (sizes > rules.largest)
    report.too_many = int(sizes[large].sum())
    good &= ~large
    groups = np.where(good[labels], labels, -1)
    for kind, (first, second) in edges.items():
        inside = groups[homes[first]] >= 0
        _add(report.by_kind, kind.value, _distinct(first[inside], second[inside]))
    report.persons = int(good.sum())
    report.joined = int(persons[good].sum()) - report.persons
    return groups, report


def _all_edges(evidence: Evidence, rules: LinkRules, report: LinkReport) -> dict[LinkKind, Edges]:
    """By kind, the pairs of customers that share ids of it and aren't one yet; of weak ones only who shares two."""
    edges: dict[LinkKind, Edges] = {}
    for kind, (people, ids) in sorted(evidence.pairs.items()):
        edges[kind], shared = _edges(people, ids, rules.shared_by)
        _add(report.too_shared, kind.value, shared)
    weak = [kind for kind in edges if kind in rules.weak]
    if weak:
        keys = {kind: edges[kind][0] * len(evidence.homes) + edges[kind][1] for kind in weak}
        pairs, counts = np.unique(np.concatenate(list(keys.values())), return_counts=True)
        enough = pairs[counts > 1]
        for kind in weak:
            both = np.isin(keys[kind], enough)
            edges[kind] = edges[kind][0][both], edges[kind][1][both]
    apart = {kind: evidence.homes[first] != evidence.homes[second] for kind, (first, second) in edges.items()}
    return {kind: (first[apart[kind]], second[apart[kind]]) for kind, (first, second) in edges.items()}


def _edges(people: Codes, ids: Codes, most: int) -> tuple[Edges, int]:
    """Each pair of customers, the smaller first, of every id that at most `most` have; how many ids have more."""
    degrees = np.bincount(ids)
    usable = (degrees[ids] > 1) & (degrees[ids] <= most)
    people, ids = people[usable], ids[usable]
    order = np.lexsort((people, ids))
    people, ids = people[order], ids[order]
    found: list[Edges] = [(people[:0], people[:0])]
    for step in range(1, most):  # the customers of an id stand side by side
        same = ids[step:] == ids[:-step]
        found.append((people[:-step][same], people[step:][same]))
    firsts, seconds = zip(*found, strict=True)
    return (np.concatenate(firsts), np.concatenate(seconds)), int((degrees > most).sum())


def _without_conflicts(
    edges: Mapping[LinkKind, Edges], evidence: Evidence, report: LinkReport
) -> dict[LinkKind, Edges]:
    """The pairs whose customers agree in every unique field that both have."""
    clear: dict[LinkKind, Edges] = {}
    for kind, (first, second) in edges.items():
        agree = np.ones(len(first), np.bool_)
        for place, values in evidence.unique.items():
            one, other = values[first], values[second]
            differ = (one != other) & (one != UNKNOWN) & (other != UNKNOWN)
            differ |= (one == CONTRADICTORY) | (other == CONTRADICTORY)
            _add(report.conflicts, f"{kind.value}: {place}", _distinct(first[differ], second[differ]))
            agree &= ~differ
        clear[kind] = first[agree], second[agree]
    return clear


def _components(firsts: Codes, seconds: Codes, people: int) -> tuple[Codes, int]:
    from scipy.sparse import coo_array  # it takes a while to load
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(firsts), np.int8), (firsts, seconds)), shape=(people, people))
    count, labels = connected_components(graph.tocsr(), directed=False)
    return labels.astype(np.int64), int(count)


def _differing(labels: Codes, values: Codes, count: int) -> npt.NDArray[np.bool_]:
    """(count,) bool: whose members have more than one value, or one has contradictory ones."""
    known = values >= 0
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(low, labels[known], values[known])
    np.maximum.at(high, labels[known], values[known])
    return np.asarray((high > low) | (np.bincount(labels[values == CONTRADICTORY], minlength=count) > 0), np.bool_)


def _distinct(first: Codes, second: Codes) -> int:
    return len(np.unique(np.concatenate([first, second])))


def _add(counts: dict[str, int], name: str, more: int) -> None:
    if more:
        counts[name] = counts.get(name, 0) + more


def _told(count: int, least: int) -> int | str:
    return count if count == 0 or count >= least else f"<{least}"
