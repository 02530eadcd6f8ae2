"""Anonymised tables: what is promised holds by a count of its own, and what can't be met is refused by name."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.anonymity import anonymise
from privacy.anonymity_check import verify
from privacy.demands import Entropy
from privacy.errors import BadInput, CheckFailed
from tests.households import HIERARCHIES, households


def smallest_class(table: pa.Table, names: list[str]) -> int:
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return min(Counter(rows).values())


def test_the_households_are_anonymous_and_useful() -> None:
    done = anonymise(households(), quasi_identifiers=list(HIERARCHIES), k=5, hierarchies=HIERARCHIES)
    assert smallest_class(done.table, list(HIERARCHIES)) >= 5
    assert done.table.num_rows == 801
    assert done.table["household_id"].equals(households()["household_id"])
    assert done.report.classes >= 90
    assert done.report.k >= 5
    assert "missing" in done.table["home_ownership"].to_pylist()
    homes = HIERARCHIES["home_ownership"]
    for own, told in zip(
        households()["home_ownership"].to_pylist(), done.table["home_ownership"].to_pylist(), strict=True
    ):
        parts = [leaf for part in told.removeprefix("missing or ").split(" | ") for leaf in homes.get(part, [part])]
        assert told == "*" or own in parts or (own is None and told.startswith("missing"))


def test_the_order_of_rows_changes_nothing() -> None:
    table = households()
    turned = table.take(pa.array(np.random.default_rng(3).permutation(801)))
    ours, theirs = (
        anonymise(rows, quasi_identifiers=list(HIERARCHIES), k=4, hierarchies=HIERARCHIES).table.sort_by("household_id")
        for rows in (table, turned)
    )
    assert ours.equals(theirs)


def test_a_table_small_enough_for_pencil_and_paper() -> None:
    table = pa.table(
        {"age": [20, 21, 30, 31, 40, 41], "town": ["a", "a", "a", "b", "b", "b"], "sum": [1, 2, 3, 4, 5, 6]}
    )
    done = anonymise(table, quasi_identifiers=["age", "town"], k=3)
    # Age is cut once, as a range holds three people at least; no half can be cut again. That three people of each half
    # live in one town may be chance (1 in 8), so the town isn't told: a newcomer from the other town finds a place.
    assert done.table.to_pydict() == {
        "age": ["30 or less"] * 3 + ["31 or more"] * 3,
        "town": ["*"] * 6,
        "sum": [1, 2, 3, 4, 5, 6],
    }
    report = done.report
    assert (report.k, report.classes, report.average_class, report.discernibility) == (3, 2, 3.0, 18)
    assert report.ncp_by_column == pytest.approx({"age": 10 / 21, "town": 1.0})
    assert (report.risks.prosecutor, report.risks.marketer) == (1 / 3, 1 / 3)
    assert (report.as_they_are, report.gb_t_42460_grade) == (("sum",), 1)  # nobody said that it names nobody
    assert anonymise(table, quasi_identifiers=["age", "town"], sensitive=["sum"], k=3).report.gb_t_42460_grade == 2
    assert anonymise(table, quasi_identifiers=["age"], k=6).table["age"].to_pylist() == ["*"] * 6


def test_nobodys_own_value_shows() -> None:
    draw = np.random.default_rng(1)
    incomes = np.append(draw.lognormal(10, 0.5, 500), [7_654_321.25, 0.125])
    table = pa.table(
        {"income": incomes, "born": [dt.date(1901, 3, 7)] + [dt.date(1980, 1, 1)] * 250 + [dt.date(1990, 5, 5)] * 251}
    )
    done = anonymise(table, quasi_identifiers=["income", "born"], k=5)
    shown = " ".join({*done.table["income"].to_pylist(), *done.table["born"].to_pylist()})
    assert "7654321" not in shown
    assert "0.125" not in shown
    assert "1901" not in shown
    assert any(text.endswith("or more") for text in done.table["income"].to_pylist())
    own = {f"{value:.12g}" for value in incomes}
    ends = {end for text in done.table["income"].to_pylist() for end in text.replace("<", "").split(" ")}
    assert not own & ends


def test_rare_values_without_a_hierarchy_have_no_name() -> None:
    table = pa.table({"job": ["cook"] * 10 + ["clerk"] * 6 + ["astronaut", "diver", "spy"]})
    done = anonymise(table, quasi_identifiers=["job"], k=5)
    assert Counter(done.table["job"].to_pylist()) == {"cook": 10, "clerk | (other)": 9}


def test_missing_is_a_class_of_its_own_where_k_allows() -> None:
    table = pa.table({"age": [None] * 4 + [20, 21, 22, 23, 40, 41, 42, 43]})
    assert Counter(anonymise(table, quasi_identifiers=["age"], k=4).table["age"].to_pylist()) == {
        "missing": 4, "39 or less": 4, "40 or more": 4,
    }  # fmt: skip
    few = pa.table({"age": [None, 20, 21, 22, 23, 40, 41, 42, 43]})
    assert Counter(anonymise(few, quasi_identifiers=["age"], k=4).table["age"].to_pylist()) == {
        "missing or 39 or less": 5, "40 or more": 4,
    }  # fmt: skip


def test_l_and_t_hold_in_every_class() -> None:
    draw = np.random.default_rng(5)
    count = 600
    age = draw.integers(18, 90, count)
    illness = np.where(age > 60, draw.integers(0, 3, count), draw.integers(2, 7, count))
    table = pa.table(
        {"age": age, "zip": draw.integers(0, 50, count), "illness": [f"i{x}" for x in illness], "cost": age * 3.0}
    )
    for demands in ({"l": 3}, {"l": Entropy(2.5)}, {"t": 0.3}, {"l": 2, "t": 0.4}):
        for hidden in (["illness"], ["illness", "cost"]):
            done = anonymise(table, quasi_identifiers=["age", "zip"], k=4, sensitive=hidden, **demands)
            classes: dict[tuple[str, str], list[str]] = {}
            for age_, zip_, ill in zip(*(done.table[n].to_pylist() for n in ("age", "zip", "illness")), strict=True):
                classes.setdefault((age_, zip_), []).append(ill)
            whole = Counter(table["illness"].to_pylist())
            for members in classes.values():
                counts = Counter(members)
                shares = [n / len(members) for n in counts.values()]
                away = sum(abs(counts[v] / len(members) - n / count) for v, n in whole.items()) / 2
                assert len(members) >= 4
                assert len(counts) >= (demands["l"] if isinstance(demands.get("l"), int) else 1)
                if isinstance(demands.get("l"), Entropy):
                    assert math.exp(-sum(p * math.log(p) for p in shares)) >= 2.5 - 1e-6
                assert away <= demands.get("t", 1) + 1e-6
            assert len(classes) > 1
            assert done.report.sensitive["illness"]["t"] <= demands.get("t", 1) + 1e-6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": 7}, "k=7 is more than the table's 6 rows"),
        ({"k": 1}, "k must be a whole number, 2 or more"),
        ({"k": True}, "k must be a whole number"),
        ({"quasi_identifiers": []}, "no quasi-identifiers"),
        ({"quasi_identifiers": ["age", "age"]}, "column age is named twice"),
        ({"quasi_identifiers": ["agee"]}, "column agee is missing"),
        ({"sensitive": ["sick"], "l": 3}, "sensitive column sick has 2 values, so l=3 can't be met"),
        ({"sensitive": ["sick"], "l": Entropy(2.0)}, "sensitive column sick has entropy l=1.890"),
        ({"sensitive": ["sick"], "l": 0}, "l must be a whole number"),
        ({"sensitive": ["sick"], "t": 0}, "t must be a number above 0"),
        ({"sensitive": ["age"], "l": 2}, "column age is named twice"),
        ({"l": 2}, "l and t need a sensitive column"),
        ({"max_suppression": 1.5}, "max_suppression must be a share"),
        ({"hierarchies": {"sick": ["a"]}}, "a hierarchy is given for sick, which is no quasi-identifier"),
        ({"hierarchies": {"age": ["1", "1"]}}, "the hierarchy of age lists a value twice"),
        ({"hierarchies": {"age": {"1": "2", "2": "1"}}}, "the hierarchy of age goes in a circle"),
        ({"hierarchies": {"age": {"1": "1"}}}, "the hierarchy of age goes in a circle"),
        ({"hierarchies": {"age": [["1", None]]}}, "the hierarchy of age has a gap"),
        ({"hierarchies": {"age": [["1", "a"], ["2"]]}}, "the hierarchy of age has rows of different length"),
        ({"hierarchies": {"age": {"young": ["20", "20"]}}}, "the hierarchy of age lists a value twice"),
        ({"hierarchies": {"age": 5}}, "the hierarchy of age is empty or neither"),
        ({"hierarchies": {"age": ["20", "21"]}}, "4 rows have a value of age that its hierarchy lacks"),
    ],
)
def test_what_cannot_be_met_is_refused_by_name(given: dict, said: str) -> None:
    table = pa.table({"age": [20, 21, 30, 31, 40, 41], "sick": [True, False, False, False, True, False]})
    with pytest.raises(BadInput) as refused:
        anonymise(table, **{"quasi_identifiers": ["age"], "k": 2, **given})
    assert said in str(refused.value)


def test_values_that_a_hierarchy_lacks_are_suppressed_within_the_budget() -> None:
    table = pa.table({"town": ["a", "a", "b", "b", "elsewhere"], "id": [1, 2, 3, 4, 5]})
    with pytest.raises(BadInput, match="1 of 5 rows would be suppressed, max_suppression allows 0"):
        anonymise(table, quasi_identifiers=["town"], k=2, hierarchies={"town": ["a", "b"]}, max_suppression=0.19)
    done = anonymise(table, quasi_identifiers=["town"], k=2, hierarchies={"town": ["a", "b"]}, max_suppression=0.2)
    assert done.table.to_pydict() == {"town": ["a", "a", "b", "b"], "id": [1, 2, 3, 4]}
    assert done.report.suppressed_share == 0.2
    assert done.report.ncp == 0.2
    assert done.kept.tolist() == [True] * 4 + [False]


def test_odd_columns_have_a_defined_result() -> None:
    count = 40
    table = pa.table(
        {
            "nothing": pa.nulls(count, pa.int64()),
            "no_text": pa.nulls(count, pa.string()),
            "untyped": pa.nulls(count),
            "constant": pa.array([5] * count),
            "same": pa.array(["x"] * count),
            "flag": pa.array([True, False] * 20),
            "real": pa.array([float("nan")] * 20 + [1.5, 2.5] * 10),
            "coded": pa.array(["p", "q"] * 20).dictionary_encode(),
            "fine": pa.array([10**15 + at for at in range(count)], pa.timestamp("ns", "Asia/Shanghai")),
            "when": pa.array([dt.datetime(2020, 1, day + 1, 12, tzinfo=dt.UTC) for day in range(20)] * 2),
        }
    )
    done = anonymise(table, quasi_identifiers=table.schema.names, k=5)
    assert set(done.table["nothing"].to_pylist()) == {"missing"}
    assert set(done.table["no_text"].to_pylist()) == {"missing"}
    assert set(done.table["untyped"].to_pylist()) == {"missing"}
    assert set(done.table["constant"].to_pylist()) == {"*"}
    assert set(done.table["same"].to_pylist()) == {"x"}
    assert {"nothing", "no_text", "untyped", "constant"} <= set(done.report.told_nothing)
    assert smallest_class(done.table, table.schema.names) >= 5


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1.0, float("inf"), 2.0]), "quasi-identifier x holds infinity in 1 row"),
        (pa.array([[1], [2], [3]]), "quasi-identifier x has a type that can't be generalised"),
        (pa.array([2**64 - 1, 1, 2], pa.uint64()), "quasi-identifier x holds numbers beyond 64 bits"),
    ],
)
def test_columns_that_cannot_be_used_are_named(column: pa.Array, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        anonymise(pa.table({"x": column}), quasi_identifiers=["x"], k=2)
    assert said in str(refused.value)


def test_empty_tables_and_doubled_columns_are_refused() -> None:
    with pytest.raises(BadInput, match="k=2 is more than the table's 0 rows"):
        anonymise(pa.table({"x": pa.array([], pa.int64())}), quasi_identifiers=["x"], k=2)
    with pytest.raises(BadInput, match="column x is there twice"):
        anonymise(pa.table([[1, 2], [3, 4]], names=["x", "x"]), quasi_identifiers=["x"], k=2)


def test_a_hundred_thousand_categories_come_to_one() -> None:
    table = pa.table({"id": [f"person {at}" for at in range(100_000)], "half": ["a", "b"] * 50_000})
    done = anonymise(table, quasi_identifiers=["id", "half"], k=3)
    assert set(done.table["id"].to_pylist()) <= {"(other)", "*"}
    assert done.report.classes == 2
    some = table.slice(0, 20_000)
    levels = pa.table({"value": some["id"], "ten": [f"ten {at // 10}" for at in range(20_000)]})
    done = anonymise(some, quasi_identifiers=["id"], k=10, hierarchies={"id": levels})
    assert done.report.classes >= 1_000
    assert done.report.k >= 10


def test_the_check_counts_by_itself() -> None:
    table = pa.table({"a": ["x", "x", None, None], "s": [1, 2, 3, 3]})
    assert verify(table, quasi_identifiers=["a"], k=2)
    with pytest.raises(CheckFailed, match="2 of 2 classes have fewer than k=3 rows, the smallest 2"):
        verify(table, quasi_identifiers=["a"], k=3)
    with pytest.raises(CheckFailed, match="a class has 1 values of s, not l=2"):
        verify(table, quasi_identifiers=["a"], k=2, sensitive=["s"], l=2)
    with pytest.raises(CheckFailed, match=r"entropy l=1\.000"):
        verify(table, quasi_identifiers=["a"], k=2, sensitive=["s"], l=Entropy(1.5))
    # Shares of 1, 2, 3: whole 1/4 1/4 1/2; first class 1/2 1/2 0. Running differences 1/4, 1/2, 0: (3/4)/2.
    with pytest.raises(CheckFailed, match=r"t=0\.375 away in s"):
        verify(table, quasi_identifiers=["a"], k=2, sensitive=["s"], t=0.37)
    assert verify(table, quasi_identifiers=["a"], k=2, sensitive=["s"], t=0.376)
    with pytest.raises(CheckFailed, match=r"t=0\.500 away in s"):
        verify(table.set_column(1, "s", [["1", "2", "3", "3"]]), quasi_identifiers=["a"], k=2, sensitive=["s"], t=0.4)
    assert verify(table.slice(0, 0), quasi_identifiers=["a"], k=2)
    with pytest.raises(BadInput, match="column b is missing"):
        verify(table, quasi_identifiers=["b"], k=2)


ages = st.one_of(st.none(), st.integers(0, 99))
jobs = st.sampled_from(["cook", "clerk", "spy", "diver", "rare", None])
people = st.lists(
    st.tuples(ages, jobs, st.sampled_from([1.0, 2.5, float("nan")]), st.integers(0, 3)), min_size=6, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(people=people, k=st.integers(2, 5), l=st.one_of(st.none(), st.integers(1, 3)))
def test_whatever_is_released_keeps_k_and_l(people: list, k: int, l: int | None) -> None:  # noqa: E741
    age, job, size, hidden = zip(*people, strict=True)
    table = pa.table(
        {"age": pa.array(age, pa.int32()), "job": pa.array(job, pa.string()), "size": size, "hidden": hidden}
    )
    names = ["age", "job", "size"]
    if l is not None and l > len(set(hidden)):
        with pytest.raises(BadInput, match="can't be met"):
            anonymise(table, quasi_identifiers=names, k=k, sensitive=["hidden"], l=l)
        return
    done = anonymise(table, quasi_identifiers=names, k=k, sensitive=["hidden"], l=l)
    assert done.table.num_rows == len(people)
    assert done.table["hidden"].to_pylist() == list(hidden)
    classes: dict[tuple[str, ...], list[int]] = {}
    for *shown, value in zip(*(done.table[name].to_pylist() for name in (*names, "hidden")), strict=True):
        classes.setdefault(tuple(shown), []).append(value)
    assert min(len(members) for members in classes.values()) >= k
    assert l is None or min(len(set(members)) for members in classes.values()) >= l
    assert done.report.classes == len(classes)
    for own, told in zip(age, done.table["age"].to_pylist(), strict=True):
        assert told == "*" or ("missing" in told if own is None else _covers(told.removeprefix("missing or "), own))


def _covers(told: str, own: int) -> bool:
    if told == "not missing":
        return True
    if told.endswith(" or less"):
        return own <= int(told.split()[0])
    if told.endswith(" or more"):
        return own >= int(told.split()[0])
    ends = [int(end) for end in told.split(" to ")]
    return ends[0] <= own <= ends[-1]


def test_undeclared_columns_are_named_and_get_no_grade_above_the_first() -> None:
    table = pa.table({"age": [21, 22, 23, 61, 62, 64], "name": list("abcdef"), "ill": list("xyzxyz")})
    done = anonymise(table, quasi_identifiers=["age"], k=3, sensitive=["ill"], l=2)
    assert (done.report.as_they_are, done.report.gb_t_42460_grade) == (("name",), 1)
    assert done.report.to_dict()["as_they_are"] == ["name"]
    declared = anonymise(table.drop_columns("name"), quasi_identifiers=["age"], k=3, sensitive=["ill"])
    assert (declared.report.as_they_are, declared.report.gb_t_42460_grade) == ((), 2)


def test_what_a_newcomer_gets_wrong_is_said_plainly() -> None:
    table = pa.table({"gender": ["f", "m"] * 3, "age": [1, 2, 3, 4, 5, 6]})
    one = anonymise(table, quasi_identifiers="gender", k=3)
    assert set(one.table["gender"].to_pylist()) == {"f", "m"}
    with pytest.raises(BadInput) as misspelt:
        anonymise(table, quasi_identifiers=["gendre"], k=3)
    assert str(misspelt.value).count("gendre") == 1
    assert "did you mean gender? the table has gender, age" in str(misspelt.value)
    with pytest.raises(BadInput, match=r"takes a pyarrow table, not a DataFrame.*from_pandas"):
        anonymise(table.to_pandas(), quasi_identifiers=["gender"], k=3)  # type: ignore[arg-type]
