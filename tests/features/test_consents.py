"""A shop's table `consents` fills the ledger, and for a purpose on consent the gateway reads nobody without one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.datasets.descriptor import Descriptor, load_descriptor
from features.gateway import FeatureGateway
from privacy.classification import LawfulBasis, Purpose, Role
from privacy.consent import LEFT_OUT
from privacy.errors import BadInput, Refused
from privacy.policy import Policy
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import AS_OF, CUTOFFS, NOW, Home, principal
from .tables import entities, last_event

DAY = dt.timedelta(days=1)
EARLY = dt.datetime(2022, 6, 1, tzinfo=dt.UTC)
NAMES = [f"c{number:05d}" for number in range(1, 10)]
Row = tuple[str, str, bool | None, dt.datetime | None]
ROWS: list[Row] = [
    ("c00001", "retention", True, EARLY),
    ("c00002", "retention", True, CUTOFFS[4]),  # at the very moment of a cut-off
    ("c00003", "retention", True, EARLY),
    ("c00003", "retention", False, AS_OF + 30 * DAY),  # after every row, before today
    ("c00004", "retention", True, EARLY),
    ("c00004", "retention", False, CUTOFFS[2] + DAY),
    ("c00004", "retention", True, CUTOFFS[5] + DAY),
    ("c00005", "retention", False, EARLY),
    ("c00005", "retention", True, EARLY + DAY),
    ("c00006", "marketing", True, EARLY),
    ("c00007", "retention", True, AS_OF + DAY),  # after the end of data time
    ("c00008", "retention", True, EARLY),
    ("c00008", "retention", False, EARLY),
    ("c00009", "retention", True, EARLY),
]
"""c00009 consents to all and is erased; of the others, whose cut-offs may be read:"""
READABLE = {
    "c00001": range(8),
    "c00002": range(4, 8),
    "c00004": [0, 1, 2, 6, 7],
    "c00005": range(8),
    "c00009": range(8),
}
NOW_READABLE = ["c00001", "c00002", "c00004", "c00005", "c00009"]


def consents_document(**columns: Any) -> dict[str, Any]:
    document = shop_document()
    declared = {
        "customer_id": {"from": "who", "sensitivity": "direct_identifier"},
        "purpose": {"from": "what", "sensitivity": "non_personal"},
        "granted": {"from": "yes", "sensitivity": "behavioural"},
        "at": {"from": "when", "sensitivity": "behavioural"},
    }
    document["tables"]["consents"] = {"source": "consents.parquet", "columns": {**declared, **columns}}
    return document


def shop(folder: Path, rows: list[Row], **changes: Any) -> Descriptor:
    make_shop(folder, customers=9)
    who, what, yes, when = zip(*rows, strict=True)
    moments = pa.array(when, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"who": who, "what": what, "yes": yes, "when": moments}), folder / "consents.parquet")
    return load_descriptor(str(write_descriptor(folder, {**consents_document(), **changes})))


def on_consent() -> Policy:
    return Policy.load(None, {"retention": LawfulBasis.CONSENT}, ledger=True)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, FeatureGateway, FeatureGateway]]:
    """Nine customers with consents; the gateway of a purpose that rests on them, and one that rests on interest."""
    root = tmp_path_factory.mktemp("consents")
    home = Home.create(root / "home")
    descriptor = shop(root / "shop", ROWS)
    report = home.ingest(descriptor)
    assert (report.tables["consents"].rows_in, report.tables["consents"].kept) == (len(ROWS), len(ROWS))
    home.build(descriptor)
    gateway = home.gateway(policy=on_consent())
    gateway.apply(descriptor)
    gateway.materialize(principal(), AS_OF)
    yield home, gateway, home.gateway()
    home.vault.close()


def readable(home: Home) -> set[tuple[str, dt.datetime]]:
    return {(home.subject(name).tokens[0], CUTOFFS[at]) for name, places in READABLE.items() for at in places}


def pairs(rows: pa.Table) -> list[tuple[str, dt.datetime]]:
    return list(zip(rows["customer_token"].to_pylist(), rows["event_timestamp"].to_pylist(), strict=True))


Asked = tuple[Home, FeatureGateway, FeatureGateway]


def test_training_rows_are_of_who_consented_then_and_still_does(asked: Asked) -> None:
    home, gateway, free = asked
    every = free.training_rows(principal(), "churn_v1", CUTOFFS, 28, None)
    assert LEFT_OUT not in (every.schema.metadata or {})
    rows = gateway.training_rows(principal(), "churn_v1", CUTOFFS, 28, None)
    expected = [pair for pair in pairs(every) if pair in readable(home)]
    assert pairs(rows) == expected
    left_out = every.num_rows - len(expected)
    assert 0 < left_out < every.num_rows
    assert rows.schema.metadata[LEFT_OUT] == str(left_out).encode()
    assert last_event(home.root / "audit")["detail"] == {"rows": len(expected), "without_consent": left_out}
    wide = gateway.historical(principal(), "churn_v1", every)
    assert pairs(wide) == expected
    assert last_event(home.root / "audit")["detail"]["without_consent"] == left_out


def test_snapshots_scores_and_counts_are_of_consenting_people(asked: Asked) -> None:
    home, gateway, _ = asked
    expected = {home.subject(name).tokens[0] for name in NOW_READABLE}
    rows = gateway.snapshot_rows(principal(), "churn_v1", AS_OF, action="score")
    assert set(rows["customer_token"].to_pylist()) == expected
    assert last_event(home.root / "audit")["detail"] == {"rows": 5, "without_consent": 4}
    early = gateway.snapshot_rows(principal(), "churn_v1", CUTOFFS[3], action="count")
    assert set(pairs(early)) == {pair for pair in readable(home) if pair[1] == CUTOFFS[3]} & set(pairs(early))


def test_online_who_does_not_consent_is_as_absent_as_the_unknown(asked: Asked) -> None:
    home, gateway, free = asked
    tokens = [*home.tokens(NAMES, "retention"), "nonsense"]
    for action in ("features.read", "predict"):
        answer = gateway.online(principal(), "churn_v1", tokens, action=action)
        assert [name for name, there in zip(NAMES, answer.present, strict=False) if there] == NOW_READABLE
        unknown = [str(values) for values, there in zip(answer.values, answer.present, strict=True) if not there]
        assert len(unknown) == 5
        assert len(set(unknown)) == 1
        assert [reference is not None for reference in answer.references] == answer.present.tolist()
    gateway.online(principal(), "churn_v1", tokens)
    assert last_event(home.root / "audit")["detail"] == {"rows": 10, "without_consent": 4}
    assert free.online(principal(), "churn_v1", tokens).present.sum() == 9


def test_rows_of_ones_own_tokens_stay_and_tell_nothing(asked: Asked) -> None:
    home, gateway, _ = asked
    own = entities(home.tokens(NAMES, "retention"), [AS_OF] * 9)
    found = gateway.historical_own(principal(), "churn_v1", own)
    assert [name for name, there in zip(NAMES, found["known"].to_pylist(), strict=True) if there] == NOW_READABLE
    hidden = found.filter(pa.array([name not in NOW_READABLE for name in NAMES]))
    assert all(column.null_count == 4 for column in hidden.drop_columns(["known"]).columns)


def test_other_purposes_are_not_asked_for_consent(asked: Asked) -> None:
    _, gateway, _ = asked
    assert gateway.snapshot_rows(principal(purpose=Purpose.VALUE), "clv_v1", AS_OF).num_rows == 9


def test_marketing_is_served_who_consented_to_it(asked: Asked) -> None:
    home, _, free = asked
    marketer = principal(Role.MARKETER, Purpose.MARKETING)
    with pytest.raises(Refused, match=r"rule no-consent-ledger\); marketing rests on consent"):
        free.online(marketer, "insight_v1", home.tokens(NAMES, "marketing"))
    gateway = home.gateway(policy=Policy.load(ledger=True))
    answer = gateway.online(marketer, "insight_v1", home.tokens(NAMES, "marketing"))
    assert [name for name, there in zip(NAMES, answer.present, strict=True) if there] == ["c00006"]
    with pytest.raises(Refused, match="insight_v1 answers about 5 people or more"):  # one isn't enough for rows
        gateway.snapshot_rows(marketer, "insight_v1", AS_OF)


def test_a_gateway_without_the_ledger_serves_nobody(asked: Asked) -> None:
    home, gateway, _ = asked
    blind = FeatureGateway(gateway._settings, home.keyring, on_consent(), home.audit, home.suppression)
    assert blind.snapshot_rows(principal(), "churn_v1", AS_OF).num_rows == 0
    assert not blind.online(principal(), "churn_v1", home.tokens(NAMES, "retention")).present.any()


def test_consents_are_kept_by_the_ledger_alone(asked: Asked) -> None:
    home, _, _ = asked
    assert len(home.consents) == len(ROWS)
    assert "consents" not in home.paths.protected_store("corner_shop").manifest()["tables"]
    data = (home.root / "consents.ledger").read_bytes()
    assert not [name for name in NAMES if name.encode() in data]
    assert home.consents.count(home.subject("c00004")) == 3


def test_ingesting_again_adds_what_is_new_and_forgets_nothing(home: Home, tmp_path: Path) -> None:
    plain = home.ingest(shop(tmp_path / "shop", ROWS[:1]))
    assert len(home.consents) == 1
    again = home.ingest(shop(tmp_path / "shop", [("c00001", "retention", False, AS_OF)]))
    assert len(home.consents) == 2
    assert plain.digest == again.digest  # of what is learnt from; who may be is asked when it is read
    token = pa.array([home.subject("c00001").tokens[0]])
    moment = pa.array([CUTOFFS[0]], pa.timestamp("us", "UTC"))
    assert not home.consents.consented(token, "retention", moment).any()


def test_an_erased_persons_consents_go_and_do_not_come_back(home: Home, tmp_path: Path) -> None:
    descriptor = shop(tmp_path / "shop", ROWS)
    home.ingest(descriptor)
    subject = home.subject("c00009")
    assert home.consents.count(subject) == 1
    home.vault.bury(pa.array(["c00009"]), NOW, "r-1")
    assert home.consents.erase(subject) == 1
    home.vault.sever(subject.handle, "r-1")
    report = home.ingest(descriptor).tables["consents"]
    assert (report.rows_in, report.tombstoned, report.kept) == (len(ROWS), 1, len(ROWS) - 1)
    assert len(home.consents) == len(ROWS) - 1


def test_times_without_a_zone_are_the_shops(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    make_shop(folder, customers=9)
    (folder / "consents.csv").write_text(
        "who,what,yes,when\nc00001,newsletter,y,2024-03-31 12:00:00\nc00002,newsletter,n,2024-03-31T12:00:00+09:00\n"
    )
    document = consents_document(
        purpose={"sql": "case what when 'newsletter' then 'marketing' end", "sensitivity": "non_personal"},
        granted={"sql": "yes = 'y'", "sensitivity": "behavioural"},
    )
    document["tables"]["consents"]["source"] = "consents.csv"
    document["time_zone"] = "Europe/Berlin"
    home.ingest(load_descriptor(str(write_descriptor(folder, document))))
    told = [entry for name in NAMES for entry in home.consents.export(home.subject(name))]
    assert told == [
        {"purpose": "marketing", "granted": True, "at": "2024-03-31T10:00:00+00:00"},
        {"purpose": "marketing", "granted": False, "at": "2024-03-31T03:00:00+00:00"},
    ]


FAULTY: list[tuple[Row, str]] = [
    (
        ("c00001", "newsletter", True, EARLY),
        "column 'consents.purpose' is not a purpose in 1 of 15 rows; give retention",
    ),
    (("c00001", "retention", None, EARLY), "column 'consents.granted' is missing in 1 of 15 rows"),
    (("c00001", "retention", False, None), "column 'consents.at' is missing in 1 of 15 rows"),
    (("c00001", "retention", False, NOW + 3 * DAY), "column 'consents.at' is in the future in 1 of 15 rows"),
    ((" ", "retention", False, EARLY), "column 'consents.customer_id' is blank in 1 of 15 rows"),
]


@pytest.mark.parametrize(("row", "told"), FAULTY, ids=[told for _, told in FAULTY])
def test_one_bad_row_refuses_all_for_it_may_be_a_withdrawal(home: Home, tmp_path: Path, row: Row, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        home.ingest(shop(tmp_path / "shop", [*ROWS, row]))
    assert told in str(raised.value)
    assert "newsletter" not in str(raised.value)
    assert not (home.root / "consents.ledger").exists()
    assert home.paths.protected_store("corner_shop").snapshot() is None


def _column(name: str, **change: Any) -> Callable[[dict[str, Any]], object]:
    return lambda table: table["columns"][name].update(change)


FAULTS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda table: table["columns"].pop("granted"), "table 'consents' has no column 'granted'"),
    (lambda table: table["columns"].pop("customer_id"), "table 'consents' has no column 'customer_id', the subject"),
    (_column("granted", type="string"), "column 'consents.granted' must be a boolean, behavioural or non_personal"),
    (_column("at", type="date"), "column 'consents.at' must be a timestamp"),
    (_column("purpose", mask="hash4"), "consents.purpose"),
    (_column("purpose", sensitivity="sensitive"), "column 'consents.purpose' must be a string"),
    (
        lambda table: table["columns"].update(channel={"from": "channel", "sensitivity": "behavioural"}),
        "column 'consents.channel' isn't kept by the consent ledger",
    ),
    (lambda table: table.update(dated_by="purpose"), "table 'consents' is dated by 'at'"),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_a_table_that_cannot_fill_the_ledger_is_refused(
    tmp_path: Path, fault: Callable[[dict[str, Any]], object], told: str
) -> None:
    document = consents_document()
    fault(document["tables"]["consents"])
    with pytest.raises(BadInput) as raised:
        load_descriptor(str(write_descriptor(tmp_path, document)))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
