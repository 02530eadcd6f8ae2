"""`mlproject.connect` and `custos features history`: rows in and out, through the gateway, under a bearer."""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import io
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlproject
from mlproject.connection import Connection, Features, _holder
from mlproject.pipelines.history import utc_moments
from mlproject.wiring import House
from privacy.classification import FEATURE_STORE, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.policy import Principal, built_in_policy
from privacy.tokens import handles_to_tokens
from serving.auth import grant
from tests.home import Home
from tests.shops import make_shop

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
GONE = ("c00003", "c00004")
"""Of the shop's forty, the one who was erased and the one who must not be served."""


@dataclass(frozen=True)
class Shop:
    """A served home and what a test knows of it that no caller does."""

    home: Home
    tokens: dict[str, str]
    stored: dict[tuple[str, dt.datetime], dict[str, object]]

    def features(self) -> Features:
        return mlproject.connect(self.home.path, purpose="value").features


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Forty customers, built and online; then one was erased and one objected."""
    root = tmp_path_factory.mktemp("connected")
    home = Home(root)
    home.custos("ingest", str(make_shop(root / "shop", customers=40)))
    home.custos("build")
    home.custos("materialize")
    house = House.open(home.path)
    names = [f"c{number:05d}" for number in range(1, 41)]
    handles, known = house.vault.find(pa.array(names))
    assert known.all()
    own = handles_to_tokens(house.keyring, handles, FEATURE_STORE).to_pylist()
    tokens = dict(zip(names, handles_to_tokens(house.keyring, handles, "value").to_pylist(), strict=True))
    whose = dict(zip(own, names, strict=True))
    table = house.stores.feature_store("corner_shop").read("customer_features")
    stored = {(whose[row["customer_token"]], row["event_timestamp"]): row for row in table.to_pylist()}
    house.suppression.add(own[3])
    home.custos("subject", "erase", GONE[0])
    yield Shop(home, tokens, stored)
    house.vault.close()


def stranger(shop: Shop) -> str:
    """A token of somebody whom this home never met, under its own key."""
    handle = np.frombuffer(secrets.token_bytes(16), np.uint8).reshape(1, 16)
    return str(handles_to_tokens(House.open(shop.home.path).keyring, handle, "value")[0].as_py())


def entity_frame(shop: Shop) -> pd.DataFrame:
    """Rows out of order, twice, of people gone and never met; an index with repeats; columns of every kind."""
    moments = sorted({moment for _, moment in shop.stored})[-2:]
    asked = [("c00007", 1), (GONE[0], 1), ("c00001", 0), ("c00007", 1), ("", 0), (GONE[1], 0), ("c00001", 1)]
    return pd.DataFrame(
        {
            "note": pd.Series(["x", None, "z", "x", "", "v", "fs"], dtype="category"),
            "customer_token": [shop.tokens[name] if name else stranger(shop) for name, _ in asked],
            "code": pd.array([7, None, 9, 7, 1, 2, 3], dtype="Int64"),
            "event_timestamp": [moments[at] for _, at in asked],
            4: np.arange(7.0),
        },
        index=pd.Index(["b", "a", "a", "c", "d", "b", "e"], name="row"),
    )


def test_every_row_comes_back_in_order_with_what_was_known_then(shop: Shop) -> None:
    asked = entity_frame(shop)
    before = asked.copy(deep=True)
    found = shop.features().historical(asked, "clv_v1")
    pd.testing.assert_frame_equal(asked, before)
    pd.testing.assert_frame_equal(found[list(asked.columns)], asked)
    assert found["status"].tolist() == ["ok", "unknown", "ok", "ok", "unknown", "unknown", "ok"]
    names = [name for name in found.columns if name not in (*asked.columns, "status")]
    whose = {token: name for name, token in shop.tokens.items()}
    for _, row in found.iterrows():
        if row["status"] == "ok":
            stored = shop.stored[whose[row["customer_token"]], row["event_timestamp"]]
            assert [None if pd.isna(row[name]) else row[name] for name in names] == [stored[name] for name in names]
        else:  # erased, objected or never met: equal in all
            assert row[names].isna().all()
    assert "recency_days" in names
    assert "audit_reference" not in names
    assert not re.search(r"fs_[a-z2-7]{2}[0-9a-f]{34}", found.to_csv())


def test_whoever_had_not_bought_yet_is_unknown(shop: Shop) -> None:
    moments = sorted({moment for _, moment in shop.stored})
    later = sorted(set(shop.tokens) - {name for name, moment in shop.stored if moment == moments[0]} - set(GONE))
    assert later
    asked = pd.DataFrame({"customer_token": [shop.tokens[later[0]]] * 2, "event_timestamp": [moments[0], moments[-1]]})
    assert shop.features().historical(asked, "clv_v1")["status"].tolist() == ["unknown", "ok"]


def test_moments_are_moments_in_any_zone_and_naive_ones_are_utc(shop: Shop) -> None:
    features = shop.features()
    moment = features.cutoffs("clv_v1")[-1]
    assert (moment.tz is not None, features.cutoffs("clv_v1").is_monotonic_increasing) == (True, True)
    aware = pd.DataFrame({"customer_token": [shop.tokens["c00001"]] * 2, "event_timestamp": [moment] * 2})
    expected = features.historical(aware, "clv_v1").drop(columns="event_timestamp")
    naive = moment.tz_localize(None)
    given: list[pd.Series] = [
        pd.Series([moment] * 2).dt.tz_convert("Asia/Shanghai"),
        pd.Series([naive] * 2),
        pd.Series([naive] * 2).astype("timestamp[us][pyarrow]"),
        pd.Series([naive.isoformat(), moment.tz_convert("America/New_York").isoformat()], dtype="category"),
        pd.Series([naive.to_pydatetime(), moment.to_pydatetime()], dtype=object),
        pd.Series([moment + pd.Timedelta(999, "ns")] * 2),
    ]
    for moments in given:
        assert utc_moments(pa.array(moments, from_pandas=True)).to_pylist() == [moment.to_pydatetime()] * 2
    old = pa.array([-1], pa.timestamp("ns"))
    assert utc_moments(old).to_pylist() == [dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)]
    found = features.historical(aware.assign(event_timestamp=given[0]), "clv_v1")
    pd.testing.assert_frame_equal(found.drop(columns="event_timestamp"), expected)
    just_after = aware.assign(event_timestamp=moment + pd.Timedelta(1, "us"))
    with pytest.raises(BadInput, match="no features were built at"):
        features.historical(just_after, "clv_v1")


def test_what_cannot_be_asked_is_told_in_one_line(shop: Shop) -> None:
    features, good = shop.features(), entity_frame(shop)
    early = dt.datetime(1999, 1, 1, tzinfo=dt.UTC)
    faults: list[tuple[object, str]] = [
        (good.to_dict("list"), "entity_frame is no DataFrame"),
        (good.drop(columns="customer_token"), "has no column customer_token"),
        (good.drop(columns="event_timestamp"), "has no column event_timestamp"),
        (good[["customer_token", "customer_token", "event_timestamp"]], "is there twice"),
        (good.assign(customer_token=7), "tokens are no texts"),
        (good.assign(customer_token=None), "7 of 7 are not tokens of the purpose value"),
        (good.assign(customer_token="ret_" + "a" * 36), "7 of 7 are not tokens of the purpose value"),
        (good.assign(event_timestamp=pd.NaT), "7 of 7 rows have no event_timestamp"),
        (good.assign(event_timestamp="last May"), "a text in event_timestamp is no time"),
        (good.assign(event_timestamp=3.5), "event_timestamp is double, not a time"),
        (good.assign(event_timestamp=[early, *["x"] * 6]), "holds what is no time"),
        (good.assign(event_timestamp=early), "no features were built at 1999-01-01; ask of 2"),
        # Also of people nobody may be told of: how many are known isn't told by an error.
        (good.iloc[[1]].assign(event_timestamp=early), "no features were built at 1999-01-01"),
        (good.rename(columns={"note": "status"}), "column status would stand for two things"),
        (good.rename(columns={"code": "recency_days"}), "column recency_days would stand for two things"),
    ]
    for frame, told in faults:
        with pytest.raises(BadInput, match=told) as raised:
            features.historical(frame, "clv_v1")  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
        assert not re.search(r"(val|fs)_[a-z2-7]{2}[0-9a-f]{34}", str(raised.value))
    with pytest.raises(BadInput, match="no feature service 'clv_v9'"):
        features.historical(good, "clv_v9")
    nobody = [good.iloc[:0], pd.DataFrame({"customer_token": [], "event_timestamp": []}, dtype=float)]
    for frame in nobody:
        assert features.historical(frame, "insight_v1")[["status", "stage"]].dtypes.tolist() == [np.dtype(object)] * 2


def test_online_answers_in_order(shop: Shop) -> None:
    asked = pd.Series([shop.tokens[name] for name in ("c00002", GONE[0], "c00001", "c00002")], index=list("abca"))
    found = shop.features().online(asked, "clv_v1")
    assert (found.index.tolist(), found["customer_token"].tolist()) == (list("abca"), asked.tolist())
    assert found["status"].tolist() == ["ok", "unknown", "ok", "ok"]
    assert found.iloc[1, 2:].isna().all()
    told = json.loads(shop.home.custos("features", "get", "clv_v1", "--purpose", "value", "--json", asked.iloc[2]))
    assert {name: None if pd.isna(value) else value for name, value in found.iloc[2, 2:].items()} == told[0]["features"]
    bands = shop.features().online(list(asked), "insight_v1")
    assert bands["stage"].isna().tolist() == [False, True, False, False]
    with pytest.raises(BadInput, match="1 of 1 is no token of the purpose value"):
        shop.features().online(["fs_aa" + "0" * 34], "clv_v1")
    nobody = shop.features().online([], "insight_v1")
    assert (len(nobody), nobody.dtypes.tolist()) == (0, bands.dtypes.tolist())
    with pytest.raises(BadInput, match="the tokens are in no order; give a list"):
        shop.features().online(set(asked), "clv_v1")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="one text is no list"):
        shop.features().online(asked.iloc[0], "clv_v1")


def test_features_are_listed_and_described(shop: Shop) -> None:
    listed = shop.features().list()
    assert listed.loc["recency_days", "services"] == ["churn_v1", "clv_v1"]
    assert shop.features().describe("recency_days")["unit"] == listed.loc["recency_days", "unit"]
    with pytest.raises(BadInput, match="did you mean recency_days"):
        shop.features().describe("recency_day")


def bearer_of(shop: Shop, role: Role, purpose: Purpose | None, *, now: dt.datetime | None = None) -> str:
    keyring = House.open(shop.home.path).keyring
    return grant(keyring, "ann", role, purpose, dt.timedelta(hours=1), now or dt.datetime.now(dt.UTC))


def test_a_bearers_role_and_purpose_hold(shop: Shop) -> None:
    asked = entity_frame(shop)
    scientist = mlproject.connect(shop.home.path, bearer_of(shop, Role.DATA_SCIENTIST, Purpose.VALUE))
    assert scientist.principal == Principal("ann", Role.DATA_SCIENTIST, Purpose.VALUE)
    assert scientist.features.historical(asked, "clv_v1")["status"].tolist().count("ok") == 4
    event = json.loads((shop.home.path / "audit" / "events.jsonl").read_text().splitlines()[-1])
    assert (event["action"], event["resource"], event["detail"]["rows"]) == ("features.read", "service:clv_v1", 4)
    assert "ann" in json.dumps(event)
    with pytest.raises(Refused, match="churn_v1 does not serve the purpose value"):
        scientist.features.historical(asked, "churn_v1")
    analyst = mlproject.connect(shop.home.path, bearer_of(shop, Role.ANALYST, Purpose.VALUE)).features
    for ask in (lambda: analyst.historical(asked, "clv_v1"), lambda: analyst.online([shop.tokens["c00001"]], "clv_v1")):
        with pytest.raises(Refused, match=r"role analyst may not features\.read service:clv_v1"):
            ask()
    nobody = mlproject.connect(shop.home.path, bearer_of(shop, Role.ADMIN, None)).features
    with pytest.raises(Refused, match="does not serve the purpose none"):
        nobody.historical(asked, "clv_v1")


def test_bad_bearers_are_refused(shop: Shop, tmp_path: Path) -> None:
    good = bearer_of(shop, Role.ADMIN, Purpose.VALUE)
    old = bearer_of(shop, Role.ADMIN, Purpose.VALUE, now=dt.datetime.now(dt.UTC) - dt.timedelta(hours=2))
    for bearer, told in (
        ("", "no bearer token was given"),
        (old, "the bearer token has expired"),
        (good[:-3] + "abc", "not one of ours"),
        ("not a bearer", "not one of ours"),
    ):
        with pytest.raises(Refused, match=told) as raised:
            mlproject.connect(shop.home.path, bearer)
        assert not bearer or bearer not in str(raised.value)
    with pytest.raises(Refused, match="neither a bearer nor a purpose"):
        mlproject.connect(shop.home.path)
    with pytest.raises(Refused, match="for another purpose"):
        mlproject.connect(shop.home.path, good, purpose="retention")
    with pytest.raises(BadInput, match="there is no such purpose"):
        mlproject.connect(shop.home.path, purpose="curiosity")
    with pytest.raises(BadInput, match="this home has no keys yet"):
        mlproject.connect(tmp_path / "none", good)
    with pytest.raises(BadInput, match="this home has no keys yet"):
        mlproject.connect(tmp_path / "none", purpose="value")
    assert not (tmp_path / "none").exists()


def test_a_bearer_that_expires_meanwhile_ends_the_connection(shop: Shop) -> None:
    moment = dt.datetime.now(dt.UTC)
    clock = [moment]
    opened = House.open(shop.home.path)
    house = House(opened.paths, opened.settings, now=lambda: clock[0])
    connection = Connection(house, _holder(house, bearer_of(shop, Role.ADMIN, Purpose.VALUE, now=moment), None))
    assert len(connection.features.online([shop.tokens["c00001"]], "clv_v1")) == 1
    clock[0] += dt.timedelta(hours=1)
    for ask in (
        lambda: connection.principal,
        lambda: connection.features.online([shop.tokens["c00001"]], "clv_v1"),
        lambda: connection.features.historical(entity_frame(shop), "clv_v1"),
        lambda: connection.features.cutoffs("clv_v1"),
        connection.features.list,
        lambda: connection.features.describe("recency_days"),
    ):
        with pytest.raises(Refused, match="has expired"):
            ask()
    assert str(shop.home.path) not in repr(connection)


def test_a_policy_and_an_operator_that_change_meanwhile_hold_at_once(shop: Shop) -> None:
    bearer = mlproject.connect(shop.home.path, bearer_of(shop, Role.DATA_SCIENTIST, Purpose.VALUE)).features
    operator = mlproject.connect(shop.home.path, purpose="value").features
    asked = [shop.tokens["c00001"]]
    own, settings = shop.home.path / "policy.yaml", shop.home.path / "settings.yaml"
    try:
        rule = "{name: not-now, forbid: true, actions: [features.read], resources: ['service:clv_v1']}"
        own.write_text(f"{built_in_policy().read_text()}\n  - {rule}\n")
        for features in (bearer, operator):
            with pytest.raises(Refused, match="not-now"):
                features.online(asked, "clv_v1")
        own.unlink()
        settings.write_text("role: analyst\n")
        assert len(bearer.online(asked, "clv_v1")) == 1
        with pytest.raises(Refused, match="role analyst may not"):
            operator.online(asked, "clv_v1")
    finally:
        own.unlink(missing_ok=True)
        settings.unlink(missing_ok=True)
    assert len(operator.online(asked, "clv_v1")) == 1


def history(shop: Shop, *arguments: str, expect: int = 0) -> str:
    words = ("features", "history", "--service", "clv_v1", "--purpose", "value", *arguments)
    return shop.home.custos(*words, expect=expect)


def test_the_command_answers_files_row_by_row(shop: Shop, tmp_path: Path) -> None:
    asked = entity_frame(shop).rename(columns={4: "nought"}).assign(shelf="007")
    expected = shop.features().historical(asked, "clv_v1")
    asked.to_csv(tmp_path / "asked.csv", index=False)
    asked.to_parquet(tmp_path / "asked.parquet", index=False)
    said = history(shop, str(tmp_path / "asked.csv"), "--out", str(tmp_path / "then.csv"))
    assert "7 rows, 4 with features of clv_v1, 3 unknown" in said
    rows = pd.read_csv(tmp_path / "then.csv", dtype={"shelf": str}, float_precision="round_trip")
    assert rows.columns.tolist() == expected.columns.tolist()
    assert (rows["shelf"].tolist(), rows["status"].tolist()) == (["007"] * 7, expected["status"].tolist())
    np.testing.assert_array_equal(rows["recency_days"], expected["recency_days"])
    history(shop, str(tmp_path / "asked.parquet"), "--out", str(tmp_path / "then.parquet"))
    written, source = (pq.read_table(tmp_path / name) for name in ("then.parquet", "asked.parquet"))
    assert written.select(source.column_names).equals(source)
    assert (tmp_path / "then.parquet").stat().st_mode & 0o077 == 0
    told = json.loads(history(shop, str(tmp_path / "asked.parquet"), "--json"))
    assert [row["status"] for row in told] == expected["status"].tolist()
    assert told[1]["recency_days"] is None
    assert told[2]["recency_days"] == expected["recency_days"].iloc[2]


def test_the_cutoffs_are_listed_and_a_refusal_names_those_around(shop: Shop, tmp_path: Path) -> None:
    built = sorted({moment for _, moment in shop.stored})
    told = json.loads(shop.home.custos("features", "cutoffs", "--json"))
    assert [dt.datetime.fromisoformat(each) for each in told] == built
    days = shop.home.custos("features", "cutoffs").splitlines()
    assert days == [each.removesuffix("T00:00:00+00:00") for each in told]
    assert len(built) > 6
    asked = pd.DataFrame({"customer_token": [shop.tokens["c00001"]], "event_timestamp": [days[-4]]})
    asked.to_csv(tmp_path / "asked.csv", index=False)
    history(shop, str(tmp_path / "asked.csv"))
    for day, around in (
        (built[4] + dt.timedelta(days=1), days[2:8]),
        (dt.datetime(1999, 1, 1, tzinfo=dt.UTC), days[:6]),
    ):
        asked.assign(event_timestamp=day.isoformat()).to_csv(tmp_path / "asked.csv", index=False)
        history(shop, str(tmp_path / "asked.csv"), expect=2)
        refused = shop.home.spoken[-1].decode()
        assert f"ask of {', '.join(around)}, or one of {len(days) - 6} others" in refused
        assert "(`custos features cutoffs` lists them)" in refused
    nothing = Home(tmp_path)
    nothing.custos("features", "cutoffs", expect=2)
    nothing.custos("ingest", str(make_shop(tmp_path / "shop", customers=4)))
    nothing.custos("features", "cutoffs", expect=2)
    assert "no features were built yet" in nothing.spoken[-1].decode()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"customer_token,event_timestamp\n", 0),
        (b"customer_token\nx\n", 2),
        (b"event_timestamp\n2024-01-01\n", 2),
        (b"customer_token,event_timestamp,event_timestamp\n", 2),
        (b"customer_token,event_timestamp\n\xff\xfe,x\n", 2),
        (b"customer_token,event_timestamp\nval_aa,2024-01-01\n", 2),
        (b"", 2),
    ],
)
def test_files_that_cannot_be_asked_with(shop: Shop, tmp_path: Path, content: bytes, status: int) -> None:
    (tmp_path / "asked.csv").write_bytes(content)
    history(shop, str(tmp_path / "asked.csv"), expect=status)
    history(shop, str(tmp_path / "none.csv"), expect=2)
    history(shop, str(tmp_path / "asked.csv"), "--out", str(shop.home.path / "then.csv"), expect=2)
    history(shop, str(tmp_path / "asked.csv"), "--out", str(tmp_path / "then.xlsx"), expect=2)


def test_the_command_asks_for_its_purpose(shop: Shop, tmp_path: Path) -> None:
    entity_frame(shop).drop(columns=[4]).to_parquet(tmp_path / "asked.parquet")
    words = ("features", "history", "--service", "clv_v1", str(tmp_path / "asked.parquet"), "--purpose")
    shop.home.custos(*words, "research", expect=3)
    shop.home.custos(*words, "retention", expect=2)  # tokens of another purpose


def cells() -> list[str]:
    document = json.loads(NOTEBOOK.read_text("utf-8"))
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def test_the_notebook_runs_from_top_to_bottom(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOS_HOME", str(shop.home.path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for cell in cells():
            tree = ast.parse(cell)
            last = tree.body[-1]
            exec(compile(tree, "notebook", "exec"), names)
            if isinstance(last, ast.Expr):  # what a notebook would show
                print(eval(compile(ast.Expression(last.value), "notebook", "eval"), names))
    then = names["then"]
    assert isinstance(then, pd.DataFrame)
    assert (len(then), set(then["status"])) == (20, {"ok"})
    assert shown.getvalue().count("no bearer token was given") == 1
    assert "does not serve the purpose research" in shown.getvalue()


def test_the_notebook_holds_no_output_and_no_machine() -> None:
    assert cells()
    text = NOTEBOOK.read_text("utf-8")
    assert not re.search(r"/(home|tmp|root|work|Users)/|[a-z]{2,3}_[a-z2-7]{2}[0-9a-f]{34}", text)
