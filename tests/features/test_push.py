"""Events pushed into a home: there once, in nobody's past, and their people's features as a build gives them."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features import json_lines
from features.build import BuildReport, build
from features.data_time import arrived, day_after
from features.datasets.descriptor import Descriptor, load_descriptor
from features.feature_table import EVENTS, FEATURES, UTC
from features.inboxed import _as, inboxed_events
from features.json_lines import lines_in, read_events, taken
from features.online_store import layout_of
from features.packed_views import key_prefix, views_of
from features.push import add_events
from features.services import shop_features
from features.storage import TableStore
from features.transforms.feature import Use
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.keyring import KeyState
from tests.shops import make_shop

from .conftest import Home, principal
from .pushes import event_of, push, split, stores
from .test_gateway import no_file_larger_than

SPLIT = dt.datetime(2024, 1, 20, tzinfo=dt.UTC)
CUTOFFS = tuple(SPLIT - dt.timedelta(days=28 * back) for back in range(6, 0, -1))
Shop = tuple[Home, Descriptor, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose first year is built and online; what came later is in `later.json`."""
    root = tmp_path_factory.mktemp("begun")
    descriptor = load_descriptor(str(make_shop(root / "shop", customers=25)))
    later = split(root / "shop", SPLIT)
    (root / "later.json").write_text(json.dumps(later))
    home = Home.create(root / "home")
    home.ingest(descriptor)
    full_build(home, descriptor)
    gateway = home.gateway()
    gateway.apply(descriptor)
    gateway.materialize(principal(), end_of(home, descriptor))
    home.vault.close()
    return root


@pytest.fixture
def shop(begun: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(begun, tmp_path, symlinks=True, dirs_exist_ok=True)
    home = Home.open(tmp_path / "home")
    descriptor = load_descriptor(str(tmp_path / "shop" / "shop.yaml"))
    yield home, descriptor, json.loads((tmp_path / "later.json").read_text())
    home.vault.close()


def end_of(home: Home, descriptor: Descriptor) -> dt.datetime:
    return day_after(dt.datetime.fromisoformat(stores(home, descriptor).protected.manifest()["last_event"]))


def full_build(home: Home, descriptor: Descriptor, into: Path | None = None, **options: Any) -> BuildReport:
    places, end = stores(home, descriptor), end_of(home, descriptor)
    cutoffs = (*CUTOFFS, *options.pop("more", ()))
    return build(descriptor, places.protected, TableStore(into) if into else places.features, cutoffs, end, **options)


def at(store: TableStore, moment: dt.datetime, tokens: list[str]) -> pa.Table:
    rows = store.read(FEATURES, where=pc.field("event_timestamp") == pa.scalar(moment, UTC))
    return rows.filter(pc.is_in(rows["customer_token"], pa.array(tokens))).sort_by("customer_token")


def assert_equal_numbers(descriptor: Descriptor, one: pa.Table, other: pa.Table) -> None:
    assert one["customer_token"].to_pylist() == other["customer_token"].to_pylist()
    numbers = [feature.name for feature in shop_features(descriptor) if feature.use is not Use.INSIGHT]
    assert len(numbers) > 40
    for name in numbers:
        mine, theirs = (table[name].to_numpy() for table in (one, other))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_data_pushed_day_by_day_are_those_of_one_ingest(shop: Shop, tmp_path: Path) -> None:
    home, descriptor, later = shop
    days = sorted({event["ordered_at"][:10] for event in later})
    for day in days:
        push(home, descriptor, [event for event in later if event["ordered_at"][:10] == day])
    whole = load_descriptor(str(make_shop(tmp_path / "whole", customers=25)))
    other = Home.create(tmp_path / "other")
    report = other.ingest(whole)
    manifest = stores(home, descriptor).protected.manifest()
    tables = stores(other, whole).protected.manifest()["tables"]
    assert {name: entry["digest"] for name, entry in manifest["tables"].items()} == {
        name: entry["digest"] for name, entry in tables.items()
    }
    assert manifest["last_event"] == report.last_event.isoformat()
    assert len(manifest["tables"]["transactions"]["files"]) < 12 < len(days)
    other.vault.close()


@pytest.mark.slow
def test_pushed_people_have_the_features_that_a_build_gives(shop: Shop, tmp_path: Path) -> None:
    home, descriptor, later = shop
    gateway = home.gateway()
    stranger = {**later[0], "customer_id": "c99999", "order_id": "new-1"}
    for part in (later[:9], [*later[9:], stranger]):
        safe, _, rows = push(home, descriptor, part)
        moment = end_of(home, descriptor)
        full_build(home, descriptor, tmp_path / "built")
        built = at(TableStore(tmp_path / "built"), moment, safe.tokens)
        assert rows is not None
        assert 0 < built.num_rows == rows.num_rows
        assert_equal_numbers(descriptor, rows.sort_by("customer_token"), built)
        assert_equal_numbers(descriptor, at(stores(home, descriptor).features, moment, safe.tokens), built)
        shutil.rmtree(tmp_path / "built")
    told = home.tokens(["c99999"], "retention")
    answer = gateway.online(principal(), "churn_v1", told)
    assert answer.present.all()
    assert answer.as_of == moment


def test_online_after_push_is_online_after_build_and_materialize(shop: Shop) -> None:
    home, descriptor, later = shop
    gateway = home.gateway()
    pushed = sorted({event["customer_id"] for event in later[:30]})
    push(home, descriptor, later[:30])
    tokens = home.tokens(pushed, "retention")
    soon = gateway.online(principal(), "churn_v1", tokens)
    full_build(home, descriptor)
    assert gateway.materialize(principal(), end_of(home, descriptor)) == 25
    late = home.gateway().online(principal(), "churn_v1", tokens)
    np.testing.assert_allclose(soon.values, late.values, rtol=0, atol=1e-9)
    assert soon.as_of == late.as_of


def test_the_same_again_changes_nothing(shop: Shop) -> None:
    home, descriptor, later = shop
    twice = [later[0], later[0], *later[1:5]]
    _, first, rows = push(home, descriptor, twice)
    assert first.events == 6
    places = stores(home, descriptor)
    before = places.protected.snapshot(), places.features.snapshot(), places.protected.manifest()["digest"]
    _, again, same = push(home, descriptor, twice)
    assert (again.events, again.people) == (0, 0)
    assert rows is not None
    assert same is not None
    assert rows.sort_by("customer_token").equals(same.sort_by("customer_token"))
    assert (places.protected.snapshot(), places.features.snapshot(), places.protected.manifest()["digest"]) == before
    assert push(home, descriptor, [later[0]] * 3)[1].events == 1


@pytest.mark.slow
def test_a_late_line_is_in_nobodys_past(shop: Shop, tmp_path: Path) -> None:
    home, descriptor, _ = shop
    before = full_build(home, descriptor, tmp_path / "before")
    line = {"customer": "c00001", "invoice": "late-1", "ts": CUTOFFS[0] - dt.timedelta(days=3), "quantity": 1.0,
            "price": 7.0, "stock": 3, "department": "dairy", "discount": 0.0}  # fmt: skip
    safe, added, rows = push(home, descriptor, [event_of(line)])
    assert (added.events, added.last_event) == (1, end_of_manifest(home, descriptor))
    after = full_build(home, descriptor, tmp_path / "after")
    stored = [TableStore(tmp_path / name) for name in ("before", "after")]
    past = pc.field("event_timestamp") < pa.scalar(end_of(home, descriptor), UTC)
    assert stored[0].read(FEATURES, where=past).equals(stored[1].read(FEATURES, where=past))
    assert before.digest != after.digest
    assert rows is not None
    built = at(stored[1], end_of(home, descriptor), safe.tokens)
    assert_equal_numbers(descriptor, rows, built)
    orders = [at(store, end_of(home, descriptor), safe.tokens)["lifetime_orders"][0].as_py() for store in stored]
    assert orders[1] == orders[0] + 1
    assert (
        TableStore(tmp_path / "after").manifest()["tables"][EVENTS]["digest"]
        == (stores(home, descriptor).features.manifest()["tables"][EVENTS]["digest"])
    )


def end_of_manifest(home: Home, descriptor: Descriptor) -> dt.datetime:
    return dt.datetime.fromisoformat(stores(home, descriptor).protected.manifest()["last_event"])


def test_bad_events_are_sealed_once_with_their_reason_and_the_good_ones_count(shop: Shop) -> None:
    home, descriptor, later = shop
    bad = [{**later[1], "ordered_at": "soon"}, {**later[2], "order_id": " "}, {**later[3], "amount": None}]
    held = home.quarantine.read(descriptor.name, "transactions")
    before = 0 if held is None else held.num_rows
    for _ in range(2):
        safe, _, _ = push(home, descriptor, [later[0], *bad])
        assert safe.quarantined == {
            "transactions.ordered_at: unparsable": 1,
            "transactions.order_id: blank": 1,
            "transactions.amount: missing": 1,
        }
        sealed = home.quarantine.read(descriptor.name, "transactions")
        assert sealed is not None
        assert sealed.num_rows == before + 3
    subject = home.subject(str(later[1]["customer_id"]))
    assert home.quarantine.count(subject) >= 1


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "line 1 is no JSON object"),
        (b"[1]", "line 1 is no JSON object"),
        (b'{"amount": NaN}', "line 1 is no JSON object"),
        (b'{"amount": 1, "amount": 2}', "line 1 is no JSON object"),
        (b'{"order_id": "\xff"}', "line 1 is no JSON object"),
        (b'{"order_id": "\\ud800"}', "line 1 has a value that is no text"),
        (b'{"order_id": {"a": 1}}', "line 1 has a value that is no text"),
        (b'{"nickname": "x"}', "line 1 has a key that is no column"),
        (b'{"table": "customers"}', "line 1 is of a table"),
        (b'{"customer_id": true}', "line 1 has yes or no for an id"),
        (b"  ", "there are no events"),
    ],
)
def test_what_cannot_be_read_is_refused_whole(shop: Shop, line: bytes, what: str) -> None:
    with pytest.raises(BadInput, match=what) as refused:
        read_events([line], shop[1], {})
    assert "nickname" not in str(refused.value)


def test_more_than_fits_in_a_push_is_refused_and_no_line_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LONGEST", 10)
    monkeypatch.setattr(json_lines, "MOST_LINES", 4)
    monkeypatch.setattr(json_lines, "MOST_BYTES", 24)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(BadInput, match="line 1 is longer than 10 bytes"):
        taken(lines_in(endless))
    assert taken(lines_in(io.BytesIO(b"one\n\n\ntwo"))) == [b"one\n", b"\n", b"\n", b"two"]
    for more in (b"one\n\n\n\ntwo\n", b"123456789\n" * 3):
        with pytest.raises(BadInput, match="more than 4 lines or 0 MB at once"):
            taken(lines_in(io.BytesIO(more)))
    with pytest.raises(BadInput, match="line 9 is longer"):
        taken([b"x", b"y" * 11], 8)


def test_numbers_are_read_as_they_are_written(shop: Shop) -> None:
    line = b'{"customer_id": 12345678901234567, "order_id": "7", "ordered_at": "2024-02-01T10:00", "amount": 0.1}'
    batch = read_events([line], shop[1], {})["transactions"]
    row = batch.to_pylist()[0]
    assert (row["customer_id"], row["order_id"], row["amount"]) == (12345678901234567, "7", 0.1)
    assert row["ordered_at"] == dt.datetime(2024, 2, 1, 10, tzinfo=dt.UTC)


@pytest.mark.parametrize("size", [1_000, 9_000])
def test_a_full_disk_leaves_what_was_there_and_the_next_push_completes(shop: Shop, size: int) -> None:
    home, descriptor, later = shop
    places = stores(home, descriptor)
    before = places.protected.manifest()
    with no_file_larger_than(size), pytest.raises(EnvironmentFailed):
        push(home, descriptor, later)
    assert places.protected.read("transactions").num_rows in (
        before["tables"]["transactions"]["rows"],
        before["tables"]["transactions"]["rows"] + len(later),
    )
    _, _, rows = push(home, descriptor, later)
    assert rows is not None
    assert places.protected.manifest()["tables"]["transactions"]["rows"] == (
        before["tables"]["transactions"]["rows"] + len(later)
    )
    assert at(places.features, end_of(home, descriptor), rows["customer_token"].to_pylist()).num_rows == rows.num_rows


def test_an_order_far_from_the_data_is_refused_and_nobody_registered(shop: Shop) -> None:
    home, descriptor, later = shop
    people = len(home.vault)
    until = SPLIT + dt.timedelta(days=5)
    with pytest.raises(BadInput, match="the newest order is 1 day after 2024-01-25, the last to push"):
        push(home, descriptor, [{**later[0], "customer_id": "c77777", "ordered_at": "2024-01-25T00:00:00Z"}], until)
    assert len(home.vault) == people
    _, added, _ = push(home, descriptor, [{**later[0], "ordered_at": "2024-01-24T23:59:59Z"}], until)
    assert added.events == 1


def test_the_erased_and_the_suppressed_stay_away(shop: Shop) -> None:
    home, descriptor, later = shop
    customer = str(later[0]["customer_id"])
    home.suppression.add(home.subject(customer).tokens[0])
    safe, added, rows = push(home, descriptor, later[:1])
    assert (added.events, len(safe.tokens)) == (1, 1)
    assert rows is not None
    assert rows.num_rows == 0
    erased = "c00002"
    home.vault.bury(pa.array([erased]), dt.datetime(2024, 6, 1, tzinfo=dt.UTC), "er_test")
    safe, added, _ = push(home, descriptor, [{**later[1], "customer_id": erased}])
    assert (added.events, safe.tombstoned) == (0, 1)


def test_materialize_writes_what_is_new_and_takes_nothing_newer_away(shop: Shop) -> None:
    home, descriptor, later = shop
    gateway, places = home.gateway(), stores(home, descriptor)
    old = dt.datetime.fromisoformat(places.features.manifest()["as_of"])
    push(home, descriptor, later[-5:])
    pushed = sorted({str(event["customer_id"]) for event in later[-5:]})
    tokens, clock = home.tokens(pushed, "retention"), end_of(home, descriptor)
    assert clock > old
    values = gateway.online(principal(), "churn_v1", tokens).values
    for moment in (clock, old, clock, clock):
        assert gateway.materialize(principal(), moment) == 25
        answer = gateway.online(principal(), "churn_v1", tokens)
        assert (answer.as_of, answer.present.all()) == (clock, True)
        np.testing.assert_array_equal(answer.values, values)


@pytest.mark.slow
def test_since_gives_the_bits_of_a_full_build(shop: Shop, tmp_path: Path) -> None:
    home, descriptor, later = shop
    places, old = stores(home, descriptor), end_of(home, descriptor)
    push(home, descriptor, later)
    late = {**later[0], "ordered_at": "2023-03-01T10:00:00Z", "order_id": "late-2"}
    push(home, descriptor, [late])
    more = [SPLIT + dt.timedelta(days=1)]
    whole = full_build(home, descriptor, tmp_path / "whole", more=more)
    links = {file.stat().st_ino for file in places.features.files(FEATURES)}
    report = full_build(home, descriptor, more=more, since=dt.datetime(2199, 1, 1, tzinfo=dt.UTC))
    assert (report.digest, report.rows) == (whole.digest, whole.rows)
    assert report.carried == CUTOFFS
    assert old not in report.cutoffs
    assert links & {file.stat().st_ino for file in places.features.files(FEATURES)}
    again = full_build(home, descriptor, more=more, since=CUTOFFS[3])
    assert (again.digest, again.carried) == (whole.digest, CUTOFFS[:3])
    home.ingest(descriptor)
    assert full_build(home, descriptor, since=CUTOFFS[3]).carried == ()


def test_before_a_build_events_are_only_kept(tmp_path: Path) -> None:
    descriptor = load_descriptor(str(make_shop(tmp_path / "shop", customers=5)))
    later = split(tmp_path / "shop", SPLIT)
    home = Home.create(tmp_path / "home")
    home.ingest(descriptor)
    _, added, rows = push(home, descriptor, later)
    assert (added.events, rows) == (len(later), None)
    home.vault.close()


def test_when_a_row_comes_in_data_time() -> None:
    last = dt.datetime(2024, 5, 5, 12, tzinfo=dt.UTC)
    moments = [last - dt.timedelta(days=1), last, last + dt.timedelta(days=1)]
    rows = pa.table({"ordered_at": pa.array(moments, UTC)})
    assert arrived(rows, "ordered_at", last)["created"].to_pylist() == [last, None, None]
    assert "created" not in arrived(rows.slice(1), "ordered_at", last).column_names
    told = [None, last + dt.timedelta(days=3), last - dt.timedelta(days=9)]
    rows = rows.append_column("created", pa.array(told, UTC))
    assert arrived(rows, "ordered_at", last)["created"].to_pylist() == [last, told[1], told[2]]


def test_keys_and_views_are_those_of_feast(shop: Shop) -> None:
    home, descriptor, _ = shop
    key = EntityKey(join_keys=["customer_token"], entity_values=[Value(string_val="")])
    assert key_prefix("customer_token") == serialize_entity_key(key, entity_key_serialization_version=3)[:-4]
    gateway = home.gateway()
    registered = {view.name: layout_of(view) for view in gateway._registered.feature_views()}
    registered.pop("profile", None)  # of that a push tells nothing
    assert dict(views_of(shop_features(descriptor))) == registered


def inbox_event(token: str, number: int, ordered_at: str, *amounts: float) -> dict[str, Any]:
    lines = [{"amount": amount, "category": "dairy"} for amount in amounts]
    return {"event": f"{number:032x}", "customer_token": token, "ordered_at": ordered_at, "lines": lines}


def test_an_event_of_the_api_counts_once_as_it_came_first_and_at_its_own_moment(shop: Shop) -> None:
    home, descriptor, _ = shop
    places, token = stores(home, descriptor), home.subject("c00001").tokens[0]
    first = inbox_event(token, 1, "2024-01-19T10:00:00+01:00", 1.0, 1.0)
    again = inbox_event(token, 1, "2024-01-19T10:00:00+01:00", 2.0)
    for events, added, repeated in (([first, first, again], 2, 3), ([again], 0, 0), ([first], 0, 0)):
        safe = inboxed_events(descriptor, events, home.vault, home.keyring, places)
        found = add_events(descriptor, safe, places, until=SPLIT + dt.timedelta(days=9))
        assert (found.events, safe.repeated, safe.tombstoned) == (added, repeated, 0)
    orders = places.protected.of("transactions", [token])
    mine = orders.filter(pc.equal(orders["order_token"], safe.tables["transactions"]["order_token"][0]))
    assert mine["amount"].to_pylist() == [1.0, 1.0]
    assert mine["ordered_at"].to_pylist() == [dt.datetime(2024, 1, 19, 9, tzinfo=dt.UTC)] * 2


def test_what_waits_under_a_disabled_key_is_not_taken_for_the_erased(shop: Shop) -> None:
    home, descriptor, _ = shop
    event = inbox_event(home.subject("c00001").tokens[0], 1, "2024-01-19T10:00:00Z", 1.0)
    old = home.keyring.keys[0].key_id
    home.keyring.rotate()
    home.keyring.set_state(old, KeyState.DISABLED)
    with pytest.raises(EnvironmentFailed, match="of 1 line in the inbox 1 can't be read: their tokens' key"):
        inboxed_events(descriptor, [event], home.vault, home.keyring, stores(home, descriptor))
    home.ingest(descriptor)
    home.keyring.set_state(old, KeyState.DESTROYED)
    other = inbox_event(home.subject("c00001").tokens[0], 2, "2024-01-19T10:00:00Z", 1.0)
    safe = inboxed_events(descriptor, [event, other], home.vault, home.keyring, stores(home, descriptor))
    assert (safe.tombstoned, safe.tables["transactions"].num_rows) == (1, 1)  # one of them blocks no other


@pytest.mark.parametrize(
    ("value", "kept"),
    [(2.0, 2), (-3, -3), ("007", 7), (2.5, None), ("x", None), (10**18, 10**18), (1e300, None), ("1_0", None)],
)
def test_whole_numbers_are_kept_whole(value: object, kept: int | None) -> None:
    assert _as(pa.int64(), value) == kept


def test_a_restored_online_store_is_written_whole(shop: Shop, tmp_path: Path) -> None:
    home, descriptor, later = shop
    gateway, token = home.gateway(), home.tokens([str(later[0]["customer_id"])], "retention")
    push(home, descriptor, later[:1])
    moment = end_of(home, descriptor)
    gateway.materialize(principal(), moment)
    file = Path(home.paths.online.removeprefix("sqlite:///"))
    for end in ("", "-wal"):
        if (kept := file.with_name(file.name + end)).exists():
            shutil.copy(kept, tmp_path / f"kept{end}")
    more = {**later[0], "order_id": "again"}  # of the same day: data time stays
    push(home, descriptor, [more])
    gateway.materialize(principal(), moment)
    expected = home.gateway().online(principal(), "churn_v1", token).values
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
        if (tmp_path / f"kept{end}").exists():
            shutil.copy(tmp_path / f"kept{end}", file.with_name(file.name + end))
    assert (home.gateway().online(principal(), "churn_v1", token).values != expected).any()
    home.gateway().materialize(principal(), moment)
    np.testing.assert_array_equal(home.gateway().online(principal(), "churn_v1", token).values, expected)


@pytest.mark.parametrize(
    ("view", "spoil", "told"),
    [("rfm", b"?", "1 of 1 online rows can't be read"), ("person", b"", "a row of the online store is damaged")],
)
def test_online_rows_that_are_met_damaged_are_written_anew_by_the_next_materialisation(
    shop: Shop, view: str, spoil: bytes, told: str
) -> None:
    home, descriptor, _ = shop
    gateway, token = home.gateway(), home.tokens(["c00001"], "retention")
    moment = end_of(home, descriptor)
    gateway.materialize(principal(), moment)
    expected = gateway.online(principal(), "churn_v1", token).values
    key = key_prefix("customer_token") + len(home.subject("c00001").tokens[0]).to_bytes(4, "little")
    where = (key + home.subject("c00001").tokens[0].encode(), view)
    with closing(sqlite3.connect(home.online_file)) as connection:
        text = "SELECT value FROM custos_rows WHERE entity_key = ? AND view = ?"
        [(value,)] = connection.execute(text, where).fetchall()
        spoilt = spoil * 8 + value[8:] if spoil else value[:-1]
        connection.execute("UPDATE custos_rows SET value = ? WHERE entity_key = ? AND view = ?", (spoilt, *where))
        connection.commit()
    with pytest.raises((EnvironmentFailed, CheckFailed), match=told):
        gateway.online(principal(), "churn_v1", token)
    gateway.materialize(principal(), moment)
    np.testing.assert_array_equal(gateway.online(principal(), "churn_v1", token).values, expected)


def test_since_carries_nothing_that_other_transforms_made(shop: Shop) -> None:
    home, descriptor, _ = shop
    assert full_build(home, descriptor, since=SPLIT).carried
    manifest = stores(home, descriptor).features.directory() / "manifest.json"
    told = manifest.read_text()
    [made] = re.findall(r'"transforms": "([0-9a-f]{64})"', told)
    manifest.write_text(told.replace(made, "0" * 64))
    assert full_build(home, descriptor, since=SPLIT).carried == ()
