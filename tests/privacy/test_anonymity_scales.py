"""The contract of every scale, and hand-computed texts, cuts and distances."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from privacy.anonymity import anonymise
from privacy.anonymity_report import grade, risks
from privacy.demands import Entropy
from privacy.diversity import Sensitive
from privacy.errors import BadInput
from privacy.hierarchies import parse_hierarchy
from privacy.mondrian import partition
from privacy.scales import UNKNOWN, Scale, fit_ranges, fit_values, scale_from_json

DAYS = [dt.date(1950, 1, 1) + dt.timedelta(days=97 * at) for at in range(300)]
COLUMNS = {
    "int": pa.array([None, *range(200)]),
    "float": pa.array([None, *(at / 7 for at in range(200))]),
    "date": pa.array([None, *DAYS]),
    "text": pa.array([None, *"aaabbbccd"]),
    "tree": pa.array([None, "p", "q", "r", "s"]),
    "ordered": pa.array(["low", "high", "middle"]),
}
GIVEN = {"tree": {"left": ["p", "q"], "right": {"far": ["r", "s"]}}, "ordered": ["low", "middle", "high"]}


def scale_of(name: str, k: int = 2) -> Scale:
    values = COLUMNS[name]
    if name in ("int", "float", "date"):
        return fit_ranges(name, values, k)
    return fit_values(name, values, k, parse_hierarchy(GIVEN[name], name) if name in GIVEN else None)


@pytest.fixture(params=COLUMNS)
def scale(request: pytest.FixtureRequest) -> Scale:
    return scale_of(request.param)


class TestContract:
    def test_every_value_of_the_fit_has_a_code(self, scale: Scale) -> None:
        codes = scale.encode(COLUMNS[scale.column])
        assert codes.min() == scale.first
        assert codes.max() == scale.last
        assert len(scale.depths) == scale.last + 1

    def test_intervals_have_texts_and_losses(self, scale: Scale) -> None:
        pairs = [(a, b) for a in range(scale.first, scale.last + 1) for b in range(a, scale.last + 1)]
        low, high = (np.array(end, np.int32) for end in zip(*pairs, strict=True))
        wide = scale.published(low, high)
        assert (wide[0] <= low).all()
        assert (wide[1] >= high).all()
        texts = scale.labels(*wide).to_pylist()
        losses = scale.losses(*wide)
        assert all(texts)
        assert ((losses >= 0) & (losses <= 1)).all()
        assert texts[pairs.index((scale.first, scale.last))] == "*"
        codes = np.arange(scale.first, scale.last + 1)
        single = scale.labels(codes, codes).to_pylist()
        assert len(set(single)) == len(single)
        assert not scale.missing or single[0] == "missing"

    def test_it_is_the_same_when_read_back(self, scale: Scale) -> None:
        again = scale_from_json(json.loads(json.dumps(scale.to_json())))
        values = COLUMNS[scale.column]
        assert (again.encode(values) == scale.encode(values)).all()
        codes = np.arange(scale.first, scale.last + 1, dtype=np.int32)
        assert again.labels(codes, codes).equals(scale.labels(codes, codes))

    def test_nobody_missed_it_so_a_newcomer_may_not(self, scale: Scale) -> None:
        nothing = pa.nulls(1, COLUMNS[scale.column].type)
        assert scale.encode(nothing).tolist() == [0 if scale.missing else UNKNOWN]


def test_every_range_is_held_by_k_people_and_cut_at_a_round_place() -> None:
    draw = np.random.default_rng(4)
    values = draw.lognormal(10, 1, 5_000)
    for k in (2, 10, 100):
        scale = fit_ranges("x", pa.array(values), k)
        assert np.bincount(scale.encode(pa.array(values)))[1:].min() >= k
        cuts = np.array(scale.to_json()["cuts"])
        assert not set(cuts.tolist()) & set(values.tolist())
        assert max(len(f"{cut:.12g}".rstrip("0").replace(".", "")) for cut in cuts) <= 4


@pytest.mark.parametrize("kind", ["date32", "timestamp"])
@pytest.mark.parametrize(("people", "k"), [(30, 3), (800, 5), (20_000, 10)])
def test_dates_are_cut_at_years_and_months_never_at_somebodys_day(kind: str, people: int, k: int) -> None:
    draw = np.random.default_rng(people)
    born = np.datetime64("1940-01-01") + draw.integers(0, 25_000, people)
    seen = born if kind == "date32" else born.astype("M8[s]") + draw.integers(0, 86_400, people)
    scale = fit_ranges("born", pa.array(seen), k)
    cuts = np.array(scale.to_json()["cuts"]).astype("M8[D]")
    assert len(cuts) >= 5
    assert (cuts == cuts.astype("M8[M]")).all()
    assert np.bincount(scale.encode(pa.array(seen)))[1:].min() >= k
    if people == 30:  # ranges of years on end: a month is never needed
        assert (cuts == cuts.astype("M8[Y]")).all()


def test_where_no_round_place_lies_between_there_is_no_cut() -> None:
    days = pa.array([dt.date(1980, 5, 2 + at) for at in range(20)] + [dt.date(1980, 9, 9)] * 3)
    assert fit_ranges("born", days, 3).to_json()["cuts"] == [
        (np.datetime64("1980-06-01") - np.datetime64(0, "D")).astype(int)
    ]
    assert fit_ranges("born", days[:20], 3).to_json()["cuts"] == []
    assert fit_ranges("x", pa.array([7] * 9), 3).to_json()["cuts"] == []
    # Neighbours are mostly 1,000 apart: 51,237 and 51,239 are told apart by nothing.
    pay = [*range(20_500, 50_500, 1_000), 51_237, 51_237, 51_239, 51_239]
    cuts = fit_ranges("pay", pa.array(pay), 2).to_json()["cuts"]
    assert cuts
    assert all(cut % 1_000 == 0 for cut in cuts)


def test_numbers_at_the_ends_of_what_fits_are_cut_all_the_same() -> None:
    wide = pa.array([1e308, -1e308, 1e-300, 5e-324, 0.0, 7.0] * 4)
    assert np.bincount(fit_ranges("x", wide, 2).encode(wide))[1:].min() >= 2
    whole = pa.array([2**63 - 1, -(2**63), 0, 5, 6, 7, 2**62] * 4)
    assert np.bincount(fit_ranges("x", whole, 2).encode(whole))[1:].min() >= 2


def test_texts_are_those_a_person_would_write() -> None:
    whole = scale_from_json({"kind": "int", "column": "x", "missing": True, "empty": False, "cuts": [-3, 20, 21, 35]})
    ends = [(1, 1), (2, 2), (3, 3), (3, 4), (5, 5), (1, 5), (0, 0), (0, 2), (0, 5)]
    low, high = (np.array(end) for end in zip(*ends, strict=True))
    assert whole.labels(low, high).to_pylist() == [
        "-4 or less", "-3 to 19", "20", "20 to 34", "35 or more", "not missing", "missing", "missing or 19 or less",
        "*",
    ]  # fmt: skip
    days = [np.datetime64(text).astype(int).item() for text in ("1980-01-01", "1981-01-01", "1985-03-01", "1985-03-04")]
    born = scale_from_json({"kind": "date", "column": "x", "missing": False, "empty": False, "cuts": days})
    ends = [(1, 1), (2, 2), (2, 3), (3, 3), (4, 4), (5, 5)]
    low, high = (np.array(end) for end in zip(*ends, strict=True))
    assert born.labels(low, high).to_pylist() == [
        "before 1980", "1980", "1980-01 to 1985-02", "1981-01 to 1985-02", "1985-03-01 to 1985-03-03",
        "1985-03-04 or later",
    ]  # fmt: skip


def test_hierarchies_name_the_largest_nodes_of_an_interval() -> None:
    tree = scale_of("tree")
    low, high = np.array([1, 1, 2, 3, 1]), np.array([1, 2, 3, 4, 3])
    assert tree.labels(low, high).to_pylist() == ["p", "left", "q | r", "right", "left | r"]
    assert tree.depths.tolist() == [0, 0, 2, 1, 3]
    wide = fit_values("x", pa.array(["a"]), 2, parse_hierarchy({"all": [*"abcdefgh"], "none": ["i", "j"]}, "x"))
    shown = wide.published(np.array([1, 1, 2], np.int32), np.array([4, 5, 9], np.int32))
    assert wide.labels(*shown).to_pylist() == ["a | b | c | d", "all", "*"]


def test_loss_is_the_share_of_a_column_that_an_interval_covers() -> None:
    """Xu et al.: of a nominal column the leaves below a node over all leaves, 0 at a leaf; of others their extent."""
    low, high = np.array([1, 1, 2, 3, 1, 0, 0]), np.array([1, 2, 3, 4, 4, 0, 1])
    # p, left (p, q), q | r, right (r, s), all four, missing, missing or p: two of the five that there are with missing
    assert scale_of("tree").losses(low, high) == pytest.approx([0, 2 / 4, 2 / 4, 2 / 4, 1, 0, 2 / 5])
    # low, low to middle, middle to high, all: one, then two of the two steps
    ends = np.array([1, 1, 2, 1]), np.array([1, 2, 3, 3])
    assert scale_of("ordered").losses(*ends) == pytest.approx([0, 1 / 2, 1 / 2, 1])
    numbers = fit_ranges("x", pa.array([0, 1, 2, 3, 10, 11, 18, 20]), 2)
    codes = numbers.encode(pa.array([0, 20]))
    assert numbers.losses(codes[:1], codes[1:]) == pytest.approx([1.0])
    first = numbers.encode(pa.array([1, 2, 3]))
    inside = [value for value, code in zip((1, 2, 3), first, strict=True) if code == first[0]]
    assert numbers.losses(first[:1], first[:1]) == pytest.approx([max(inside) / 20])  # from 0 to the last of them


def test_a_column_whose_values_all_stay_unnamed_tells_nothing() -> None:
    code = np.array([1], np.int32)
    alone = fit_values("x", pa.array(["a", "b", "c"]), 2, None)
    assert alone.tells_nothing(code, code).tolist() == [True]
    assert alone.labels(code, code).to_pylist() == ["*"]
    some = fit_values("x", pa.array(["a", "b", None, None]), 2, None)  # who has one is told from who hasn't
    assert some.tells_nothing(code, code).tolist() == [False]
    assert some.labels(code, code).to_pylist() == ["(other)"]


def test_newcomers_beyond_a_scale_have_no_place() -> None:
    assert scale_of("tree").encode(pa.array(["p", "z"])).tolist() == [1, UNKNOWN]
    assert scale_of("text").encode(pa.array(["a", "z"])).tolist() == [1, 4]  # (other)
    assert scale_of("int").encode(pa.array([5.5, float("inf"), 1e300])).tolist() == [
        UNKNOWN,
        UNKNOWN,
        scale_of("int").last,
    ]


def test_a_shallow_cut_comes_before_an_even_one() -> None:
    codes = np.array([[1]] * 3 + [[2]] * 5 + [[3]] * 4)
    depths = np.array([0, 0, 2, 1])
    found = partition(codes, [(1, 3)], [depths], 3)
    assert sorted(zip(found.low[:, 0].tolist(), found.high[:, 0].tolist(), strict=True)) == [(1, 1), (2, 2), (3, 3)]
    assert found.cuts.at[0] == 3  # of depth 1; the cut at 2, of depth 2, comes after
    assert (found.cuts.region_of(codes) == found.of_row).all()


def test_distances_are_the_earth_movers() -> None:
    """Li et al., t-closeness, 3.1: salaries 3k to 11k; the class 3k, 4k, 5k is 0.375 away, 6k, 8k, 11k 0.167."""
    salaries = Sensitive("salary", pa.array([3, 4, 5, 6, 11, 8, 7, 9, 10]))
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    found = salaries.measures(slice(None), groups, 3)
    assert found.distance[:2] == pytest.approx([0.375, 1 / 6])
    assert found.distinct.tolist() == [3, 3, 3]
    assert found.entropy == pytest.approx([np.log(3)] * 3)
    ills = Sensitive("ill", pa.array(["flu", "flu", "gout", None]))
    both = ills.measures(slice(None), np.array([0, 0, 1, 1]), 2)
    assert both.distance == pytest.approx([0.5, 0.5])
    assert both.distinct.tolist() == [1, 2]


def test_risks_of_a_sample_are_those_of_its_population() -> None:
    table = pa.table({"a": ["x"] * 2 + ["y"] * 4 + [None] * 2})
    alone = risks(table, ["a"])
    assert (alone.prosecutor, alone.prosecutor_mean, alone.journalist, alone.marketer) == (0.5, 3 / 8, 0.5, 3 / 8)
    population = pa.table({"a": ["x"] * 10 + ["y"] * 8 + [None] * 4 + ["z"]})
    known = risks(table, ["a"], population)
    assert (known.prosecutor, known.journalist) == (0.5, 1 / 4)
    assert known.marketer == pytest.approx((2 / 10 + 4 / 8 + 2 / 4) / 8)
    assert [grade(1 / k) for k in (2, 5, 19, 20, 50)] == [2, 2, 2, 3, 3]


@pytest.mark.slow
def test_a_hundred_thousand_values_may_have_a_hierarchy() -> None:
    names = [f"c{at}" for at in range(100_000)]
    table = pa.table({"q": names, "n": list(range(100_000))})
    upward = {name: f"g{at // 500}" for at, name in enumerate(names)}
    nested = {f"g{at}": names[500 * at : 500 * at + 500] for at in range(200)}
    for hierarchy in (upward, nested):
        done = anonymise(table, quasi_identifiers=["q", "n"], k=50, hierarchies={"q": hierarchy})
        assert done.report.k >= 50
        assert done.report.classes > 100


def test_a_sensitive_column_may_be_a_dictionary() -> None:
    values = pa.array(["x", "y", "z", "x", "y", "z"]).dictionary_encode()
    table = pa.table({"q": [1, 1, 1, 2, 2, 2], "s": values})
    done = anonymise(table, quasi_identifiers=["q"], k=3, sensitive=["s"], l=3, t=0.5)
    assert done.report.sensitive["s"]["l"] == 3
    assert done.table["s"].type == values.type


def test_a_hierarchy_of_whole_floats_finds_them() -> None:
    table = pa.table({"q": [1.5, 2.0, 3.0] * 3})
    done = anonymise(table, quasi_identifiers=["q"], k=3, hierarchies={"q": [1.5, 2.0, 3.0]})
    assert set(done.table["q"].to_pylist()) == {"1.5", "2", "3"}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0] * 6).cast(pa.float16()),
        pa.array(["a"] * 6, pa.string_view()),
        pa.array([(1, 2, 3)] * 6, pa.month_day_nano_interval()),
        pa.RunEndEncodedArray.from_arrays([6], pa.array(["a"])),
        pa.array([b"a" * 16] * 6, pa.uuid()),
    ],
    ids=lambda column: str(column.type),
)
def test_types_that_arrow_cannot_compare_are_named(column: pa.Array) -> None:
    plain = pa.array([1, 1, 1, 2, 2, 2])
    with pytest.raises(BadInput, match="column q has a type"):
        anonymise(pa.table({"q": column}), quasi_identifiers=["q"], k=3)
    with pytest.raises(BadInput, match="column s has a type"):
        anonymise(pa.table({"q": plain, "s": column}), quasi_identifiers=["q"], k=3, sensitive=["s"], l=1)


@pytest.mark.parametrize("l", [None, "3", True, 0, float("nan"), float("inf")])
def test_an_entropy_that_is_no_number_is_refused(l: object) -> None:  # noqa: E741
    with pytest.raises(BadInput, match="entropy l must be a number"):
        Entropy(l)  # type: ignore[arg-type]
