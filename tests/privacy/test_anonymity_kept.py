"""A generalisation that is kept: newcomers and erasures leave k as it was, and a damaged file is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.anonymity import anonymise
from privacy.anonymity_check import verify
from privacy.demands import Demands
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.generalisation import Generalisation
from privacy.profile import Profile, ProfileRule, release_profile
from tests.households import HIERARCHIES, households

COLUMNS = list(HIERARCHIES)


@pytest.fixture(scope="module")
def fitted() -> Generalisation:
    return anonymise(households().slice(0, 600), quasi_identifiers=COLUMNS, k=5, hierarchies=HIERARCHIES).generalisation


def test_what_is_read_back_does_the_same(fitted: Generalisation, tmp_path: Path) -> None:
    fitted.save(tmp_path / "kept.json")
    again = Generalisation.load(tmp_path / "kept.json")
    assert again is not None
    ours, theirs = fitted.apply(households()), again.apply(households())
    assert ours.table.equals(theirs.table)
    assert ours.report.k >= 5
    assert again.to_json() == fitted.to_json()
    assert Generalisation.load(tmp_path / "none.json") is None


def test_the_file_holds_nobodys_own_value(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    table = pa.table(
        {"income": [*draw.lognormal(10, 1, 300), 98_765_432.5], "town": ["x"] * 150 + ["y"] * 150 + ["Nowhere-on-Sea"]}
    )
    anonymise(table, quasi_identifiers=["income", "town"], k=5).generalisation.save(tmp_path / "kept.json")
    text = (tmp_path / "kept.json").read_text()
    assert "Nowhere" not in text
    assert "98765432" not in text
    kept = set(json.loads(text)["scales"][0]["cuts"])
    assert not kept & set(table["income"].to_pylist())


def test_newcomers_join_a_class_or_are_suppressed(fitted: Generalisation) -> None:
    before, newcomers = fitted.apply(households().slice(0, 600)).table, households().slice(600)
    alone = fitted.apply(newcomers)  # by themselves they must be five alike
    beside = fitted.apply(newcomers, beside=before)
    assert beside.table.num_rows > alone.table.num_rows
    assert beside.report.suppressed_share < 0.15
    names = [*COLUMNS, "household_id"]
    together = pa.concat_tables([before.select(names), beside.table.select(names)])
    assert min(Counter(zip(*(together[name].to_pylist() for name in COLUMNS), strict=True)).values()) >= 5
    strange = pa.table({name: ["never seen"] for name in COLUMNS})
    assert fitted.apply(strange, beside=before).table.num_rows == 0


def test_a_class_that_erasure_leaves_too_small_is_suppressed(fitted: Generalisation) -> None:
    table = households().slice(0, 600)
    released = fitted.apply(table).table
    classes = Counter(zip(*(released[name].to_pylist() for name in COLUMNS), strict=True))
    smallest = min(classes, key=classes.__getitem__)
    members = [row["household_id"] for row in released.to_pylist() if tuple(row[n] for n in COLUMNS) == smallest]
    left = table.filter(pa.array([home != members[0] for home in table["household_id"].to_pylist()]))
    after = fitted.apply(left)
    assert verify(after.table, quasi_identifiers=COLUMNS, k=5)
    gone = set(left["household_id"].to_pylist()) - set(after.table["household_id"].to_pylist())
    assert gone == (set(members[1:]) if len(members) == 5 else set())


def test_rows_beside_that_this_generalisation_did_not_release_are_refused(fitted: Generalisation) -> None:
    with pytest.raises(BadInput, match="2 rows beside were not released by this generalisation"):
        fitted.apply(households(), beside=pa.table({name: ["?"] * 2 for name in COLUMNS}))
    with pytest.raises(BadInput, match="column age is missing"):
        fitted.apply(households().drop_columns(["age"]))


def test_rows_beside_that_are_too_few_by_themselves_are_told(fitted: Generalisation) -> None:
    some = fitted.apply(households().slice(0, 600)).table.slice(0, 1)
    with pytest.raises(CheckFailed, match="fewer than k=5"):
        fitted.apply(households().slice(0, 0), beside=some)


def test_demands_on_sensitive_columns_hold_for_newcomers_too() -> None:
    draw = np.random.default_rng(9)
    table = pa.table({"age": draw.integers(18, 90, 400), "ill": [f"i{x}" for x in draw.integers(0, 4, 400)]})
    kept = anonymise(table, quasi_identifiers=["age"], k=5, sensitive=["ill"], l=3).generalisation
    same = pa.table({"age": table["age"].slice(0, 60), "ill": ["i0"] * 60})
    with_them = kept.apply(same, beside=kept.apply(table).table)
    assert with_them.table.num_rows == 60
    assert kept.apply(same).table.num_rows == 0


def test_newcomers_who_move_the_whole_too_far_are_all_suppressed() -> None:
    """Two classes of four, half of each ill: t is 0. Six more who are well make the whole 4 of 14 ill.

    Then the elder's class of 2 in 4 is 1/2 - 4/14 = 3/14 = 0.214 away, though nobody joined it.
    """
    people = pa.table({"age": [20, 21, 22, 23, 60, 61, 62, 63], "ill": [True, True, False, False] * 2})
    kept = anonymise(people, quasi_identifiers=["age"], k=4, sensitive=["ill"], t=0.2).generalisation
    standing = kept.apply(people).table
    well = pa.table({"age": [20, 21, 22, 20, 21, 22], "ill": [False] * 6})
    assert kept.apply(well, beside=standing).table.num_rows == 0
    # With two who are ill among six it is 6 of 14: the young 4 of 10, away 0.029, the elder 1/2, away 0.071.
    mixed = well.set_column(1, "ill", [[True, True, False, False, False, False]])
    done = kept.apply(mixed, beside=standing)
    assert done.table.num_rows == 6
    assert done.report.sensitive["ill"] == pytest.approx({"l": 2, "entropy_l": 1.9601, "t": 1 / 14}, abs=1e-4)


def test_the_report_is_of_the_newcomers_and_those_beside_together() -> None:
    people = pa.table({"age": [20, 21, 22, 60, 61, 62]})
    kept = anonymise(people, quasi_identifiers=["age"], k=3).generalisation
    report = kept.apply(pa.table({"age": [20]}), beside=kept.apply(people).table).report
    # Classes of 4 and 3: the greatest risk 1/3, on average 2/7; 16 + 9 pairs can't be told apart.
    assert (report.rows, report.released, report.k, report.classes, report.average_class) == (1, 1, 3, 2, 3.5)
    assert (report.risks.prosecutor, report.risks.marketer, report.discernibility) == (1 / 3, 2 / 7, 25)


def test_later_values_that_a_hierarchy_lacks_are_held_to_the_same_share(tmp_path: Path) -> None:
    def told(towns: str, share: float) -> Profile:
        people = pa.table({"token": [f"t{at}" for at in range(len(towns))], "town": list(towns), "age": [1, 50] * 5})
        rule = ProfileRule(("town", "age"), Demands(2), hierarchies={"town": ["a", "b"]}, max_suppression=share)
        return release_profile(people, "token", rule, tmp_path / "kept.json")

    first = told("aaaaabbbbb", 0.1)
    assert (first.dropped, first.told()["version"]) == ({}, 1)
    within = told("aaaaabbbbc", 0.1)
    assert (within.dropped, within.told()["version"], within.table and within.table.num_rows) == ({}, 1, 9)
    beyond = told("aaaaabbbcc", 0.1)
    assert beyond.dropped == {
        "town": "2 of 10 rows have a value of town that its hierarchy lacks, max_suppression allows 1; "
        "mend its values or its hierarchy, or give it a mask"
    }
    assert beyond.table is not None
    assert beyond.table.column_names == ["token", "age"]
    assert beyond.told()["version"] == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("cuts"),
        lambda told: told.update(format=2),
        lambda told: told.update(k=1),
        lambda told: told["low"].pop(),
        lambda told: told["cuts"]["left"].__setitem__(0, 0),
        lambda told: told["cuts"]["column"].__setitem__(0, 99),
        lambda told: told["scales"][0].update(kind="odd"),
        lambda told: told["scales"].pop(),
        lambda told: told.update(low=[[0] * 7]),
    ],
)
def test_a_damaged_file_is_told_by_name(fitted: Generalisation, tmp_path: Path, spoil: object) -> None:
    told = json.loads(json.dumps(fitted.to_json()))
    spoil(told)  # type: ignore[operator]
    (tmp_path / "kept.json").write_text(json.dumps(told))
    with pytest.raises(EnvironmentFailed, match="the kept generalisation is damaged"):
        Generalisation.load(tmp_path / "kept.json")


rows = st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc"), st.booleans()), min_size=8, max_size=40)


@settings(max_examples=40, deadline=None)
@given(first=rows, later=st.lists(rows, max_size=3), gone=st.sets(st.integers(0, 39), max_size=6), k=st.integers(2, 4))
def test_increments_and_erasures_keep_k(first: list, later: list, gone: set, k: int) -> None:
    def table(people: list) -> pa.Table:
        age, town, left = zip(*people, strict=True) if people else ((), (), ())
        return pa.table(
            {"age": pa.array(age, pa.int64()), "town": pa.array(town, pa.string()), "left": pa.array(left, pa.bool_())}
        )

    kept = anonymise(table(first), quasi_identifiers=["age", "town"], k=k).generalisation
    standing = kept.apply(table(first)).table
    assert standing.num_rows == len(first)
    for people in later:
        fresh = kept.apply(table(people), beside=standing)
        standing = pa.concat_tables([standing, fresh.table])
        counts = Counter(zip(standing["age"].to_pylist(), standing["town"].to_pylist(), strict=True))
        assert min(counts.values()) >= k
        assert fresh.table.num_rows == fresh.kept.sum()
    remaining = kept.apply(table([row for at, row in enumerate(first) if at not in gone])).table
    counts = Counter(zip(remaining["age"].to_pylist(), remaining["town"].to_pylist(), strict=True))
    assert not counts or min(counts.values()) >= k
