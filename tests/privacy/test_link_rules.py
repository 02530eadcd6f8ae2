"""Connected components by hand, against a naive union, and in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.classification import LinkKind
from privacy.link_rules import CONTRADICTORY, UNKNOWN, Evidence, LinkReport, LinkRules, joined

CARD, DEVICE, EMAIL, PHONE = LinkKind.CARD, LinkKind.DEVICE, LinkKind.EMAIL, LinkKind.PHONE
Pairs = Mapping[LinkKind, Sequence[tuple[int, int]]]


def evidence(people: int, pairs: Pairs, **unique: Sequence[int]) -> Evidence:
    columns = {
        kind: (np.array([who for who, _ in found], np.int64), np.array([what for _, what in found], np.int64))
        for kind, found in pairs.items()
    }
    return Evidence(np.arange(people), columns, {place: np.array(values, np.int64) for place, values in unique.items()})


def found(given: Evidence, rules: LinkRules | None = None) -> tuple[list[list[int]], LinkReport]:
    groups, report = joined(given, rules or LinkRules())
    by_group: dict[int, list[int]] = {}
    for who, group in enumerate(groups.tolist()):
        if group >= 0:
            by_group.setdefault(group, []).append(who)
    return sorted(by_group.values()), report


def test_a_chain_of_different_kinds_is_one_person() -> None:
    groups, report = found(evidence(5, {EMAIL: [(0, 0), (1, 0), (4, 1)], CARD: [(1, 0), (2, 0), (3, 1)]}))
    assert groups == [[0, 1, 2]]
    assert (report.joined, report.persons, report.by_kind) == (2, 1, {"email": 2, "card": 2})


def test_an_id_of_too_many_links_nobody() -> None:
    family = {PHONE: [(who, 0) for who in range(4)] + [(4, 1), (5, 1), (6, 1)]}
    groups, report = found(evidence(7, family))
    assert groups == [[4, 5, 6]]
    assert report.too_shared == {"phone": 1}
    assert found(evidence(7, family), LinkRules(shared_by=4))[0] == [[0, 1, 2, 3], [4, 5, 6]]


def test_a_weak_id_links_only_together_with_another_weak_one() -> None:
    devices = {DEVICE: [(0, 0), (1, 0), (2, 1), (3, 1), (2, 2), (3, 2)]}
    assert found(evidence(4, devices))[0] == [[2, 3]]
    assert found(evidence(4, devices), LinkRules(weak=frozenset()))[0] == [[0, 1], [2, 3]]
    mixed = {DEVICE: [(0, 0), (1, 0), (2, 1)], PHONE: [(0, 0), (1, 0), (2, 1)]}
    groups, report = found(evidence(3, mixed), LinkRules(weak=frozenset({DEVICE, PHONE})))
    assert groups == [[0, 1]]
    assert report.by_kind == {"device": 2, "phone": 2}


def test_who_differs_in_a_unique_field_is_kept_apart_and_counted_by_kind() -> None:
    born = [1990, 1985, UNKNOWN, 1990]
    groups, report = found(evidence(4, {PHONE: [(0, 0), (1, 0)], EMAIL: [(2, 0), (3, 0)]}, born=born))
    assert groups == [[2, 3]]
    assert report.conflicts == {"phone: born": 2}


def test_a_conflict_through_others_joins_nobody_in_it() -> None:
    chain = {PHONE: [(0, 0), (1, 0)], EMAIL: [(1, 0), (2, 0)]}
    groups, report = found(evidence(3, chain, born=[1990, UNKNOWN, 1985]))
    assert groups == []
    assert (report.joined, report.conflicts, report.by_kind) == (0, {"through others: born": 3}, {})


def test_who_contradicts_themselves_is_joined_with_nobody() -> None:
    chain = {PHONE: [(0, 0), (1, 0), (2, 0)]}
    groups, report = found(evidence(3, chain, born=[CONTRADICTORY, UNKNOWN, UNKNOWN]))
    assert groups == [[1, 2]]
    assert report.conflicts == {"phone: born": 3}


def test_more_than_the_largest_are_left_apart() -> None:
    chain = {EMAIL: [pair for at in range(4) for pair in ((at, at), (at + 1, at))]}
    groups, report = found(evidence(5, chain), LinkRules(largest=4))
    assert (groups, report.too_many, report.joined) == ([], 5, 0)
    assert found(evidence(5, chain), LinkRules(largest=5))[0] == [[0, 1, 2, 3, 4]]


def test_links_of_before_count_as_customers_and_are_never_undone() -> None:
    phone = {PHONE: [(who, 0) for who in range(4)]}
    before = evidence(4, phone, born=[1990, UNKNOWN, UNKNOWN, UNKNOWN])
    known = Evidence(np.array([0, 0, 0, 1]), before.pairs, before.unique)
    groups, report = joined(known, LinkRules())
    assert groups.tolist() == [-1, -1]
    assert report.too_shared == {"phone": 1}
    groups, report = joined(known, LinkRules(shared_by=4, largest=3))
    assert (groups.tolist(), report.too_many) == ([-1, -1], 4)
    groups, report = joined(known, LinkRules(shared_by=4))
    assert groups.tolist() == [0, 0]
    assert (report.joined, report.persons, report.by_kind) == (1, 1, {"phone": 4})
    mail = {EMAIL: [(1, 0), (2, 0)]}
    differ = Evidence(np.array([0, 0, 1]), evidence(3, mail).pairs, {"born": np.array([1985, UNKNOWN, 1990])})
    groups, report = joined(differ, LinkRules())
    assert (groups.tolist(), report.conflicts) == ([-1, -1], {"through others: born": 3})


def test_nobody_and_nothing() -> None:
    assert found(evidence(0, {}))[0] == []
    assert found(evidence(3, {EMAIL: []}, born=[1, 2, 3]))[0] == []


def test_small_counts_are_not_told() -> None:
    report = LinkReport(joined=40, persons=9, by_kind={"email": 38, "card": 2, "phone": 0}, too_many=0)
    assert report.to_dict() == {
        "joined": 40, "persons": "<10", "by_kind": {"card": "<10", "email": 38}, "conflicts": {}, "too_shared": {},
        "junk": {}, "too_many": 0,
    }  # fmt: skip


PEOPLE = 9
some_pairs = st.sets(st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, 6)), max_size=14).map(sorted)
shops = st.fixed_dictionaries({}, optional=dict.fromkeys(LinkKind, some_pairs))
fields = st.lists(st.integers(CONTRADICTORY, 2), min_size=PEOPLE, max_size=PEOPLE)


def naive(pairs: Pairs, born: Sequence[int], rules: LinkRules) -> list[list[int]]:
    """The rules as they are written down, one pair at a time."""
    owners = {
        (kind, what): {who for who, other in listed if other == what}
        for kind, listed in pairs.items()
        for _, what in listed
    }
    groups = [{who} for who in range(PEOPLE)]
    for one, other in combinations(range(PEOPLE), 2):
        shared = [kind for (kind, _), who in owners.items() if {one, other} <= who and len(who) <= rules.shared_by]
        weak = sum(kind in rules.weak for kind in shared)
        differ = born[one] != born[other] and UNKNOWN not in {born[one], born[other]}
        if (len(shared) > weak or weak > 1) and not differ and CONTRADICTORY not in {born[one], born[other]}:
            mine, theirs = (next(group for group in groups if who in group) for who in (one, other))
            if mine is not theirs:
                mine |= theirs
                groups.remove(theirs)
    kept = [group for group in groups if 1 < len(group) <= rules.largest]
    return sorted(sorted(group) for group in kept if len({born[who] for who in group} - {UNKNOWN}) < 2)


@settings(max_examples=100, deadline=None)
@given(shops, fields, st.integers(2, 4), st.integers(2, 6), st.sets(st.sampled_from(LinkKind)), st.randoms())
def test_any_order_gives_what_the_rules_say(
    pairs: Pairs, born: Sequence[int], shared_by: int, largest: int, weak: set[LinkKind], draw: Random
) -> None:
    rules = LinkRules(frozenset(weak), shared_by, largest)
    expected = naive(pairs, born, rules)
    groups, report = found(evidence(PEOPLE, pairs, born=born), rules)
    assert groups == expected
    assert report.joined == sum(len(group) - 1 for group in groups)
    # other numbers for people and ids, other rows first, other tables first
    people, ids = draw.sample(range(PEOPLE), PEOPLE), draw.sample(range(7), 7)
    turned = {
        kind: draw.sample([(people[who], ids[what]) for who, what in listed], len(listed))
        for kind, listed in draw.sample(sorted(pairs.items()), len(pairs))
    }
    values = [born[people.index(who)] for who in range(PEOPLE)]
    again, other = found(evidence(PEOPLE, turned, born=values), rules)
    assert again == sorted(sorted(people[who] for who in group) for group in expected)
    assert other == report
