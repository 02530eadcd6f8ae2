"""What is appended, and that it stays appended: ids, order, reopening, the derived files, the moments."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import privacy.audit_events
from privacy.audit import AuditLog, commitment, new_event_id, verify_audit
from privacy.audit_events import encoded
from privacy.classification import Purpose, Role
from privacy.errors import BadInput
from privacy.keyring import Keyring, SealedKeyring
from privacy.merkle import leaf_hash, root_of
from privacy.policy import Principal
from privacy.signed_note import Checkpoint, NoteKey, open_note

from .audited import ANN, Trail
from .conftest import Home


def test_events_are_stored_in_order_under_a_signed_checkpoint(trail: Trail, keyring: Keyring) -> None:
    assert trail.log.verify().events == 0
    ids = trail.add(3)
    ids.append(
        trail.log.append(
            action="identify",
            principal=Principal("root", Role.ADMIN, None),
            resource="vault",
            outcome="deny",
            reference="ab" * 16,
            commitment="c",
            detail={"reason": "一个\n理由"},
        )
    )
    events = trail.events_stored()
    assert [event["id"] for event in events] == ids
    assert events[0]["principal"] == {"name": "ann", "role": "analyst", "purpose": "retention"}
    assert events[3]["detail"] == {"reason": "一个\n理由"}
    summary = trail.log.verify()
    assert (summary.events, summary.unacknowledged) == (4, 0)
    assert (summary.first_at, summary.last_at) == (events[0]["at"], events[3]["at"])
    assert summary.root == base64.b64encode(root_of(map(leaf_hash, trail.lines()))).decode()
    assert summary.checkpoint == trail.checkpoint.read_text()
    text = open_note(trail.checkpoint.read_bytes(), NoteKey.parsed(trail.log.verifier_key))
    assert text == f"custos/{keyring.keyset_id}\n4\n{summary.root}\n"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DETAIL = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
    ),
)


@given(
    st.fixed_dictionaries(
        {
            "action": TEXT,
            "principal": st.builds(Principal, TEXT, st.sampled_from(Role), st.none() | st.sampled_from(Purpose)),
            "resource": TEXT,
            "outcome": TEXT,
        },
        optional={
            "id": TEXT.filter(bool),
            "rule": TEXT,
            "count": st.integers(),
            "reference": st.none() | TEXT,
            "commitment": st.none() | TEXT,
            "detail": st.none() | DETAIL,
        },
    )
)
def test_a_line_is_the_canonical_json_of_the_event(event: Any) -> None:
    [entry] = encoded([event])
    body = json.loads(entry.line)
    assert entry.line == json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert b"\n" not in entry.line
    assert body.pop("at")
    assert body.pop("id") == entry.id == event.get("id", entry.id)
    who = event["principal"]
    told = {name: value for name, value in event.items() if value is not None and name != "id"}
    assert body == {
        "rule": "",
        "count": 0,
        **told,
        "principal": {"name": who.name, "role": who.role, "purpose": who.purpose},
    }


def test_a_reopened_log_and_a_sealed_keyring_go_on(home: Home, keyring: Keyring, trail: Trail) -> None:
    trail.add(2)
    keyring.seal(home.root / "service.json", home.kms(), ["retention"])
    service = AuditLog(trail.directory, SealedKeyring.open(home.root / "service.json", home.kms()))
    trail.add(1, service)
    trail.add()
    trail.add(1, trail.again())
    assert verify_audit(trail.directory, keyring.audit_public_key).events == 5


def test_a_group_is_one_checkpoint_over_its_events_in_order(trail: Trail) -> None:
    events = [{"action": "a", "principal": ANN, "resource": "r", "outcome": "allow", "count": n} for n in range(64)]
    ids = trail.log.append_many(events)  # type: ignore[arg-type]
    assert [(event["id"], event["count"]) for event in trail.events_stored()] == list(zip(ids, range(64), strict=True))
    assert trail.log.append_many([]) == []
    assert trail.log.verify().events == 64


def test_a_begun_log_is_empty_and_stays_when_begun_again(trail: Trail, keyring: Keyring) -> None:
    begun = AuditLog.begin(trail.directory, keyring)
    assert (begun.verify().events, begun.verify().first_at) == (0, None)
    assert Checkpoint.opened(trail.checkpoint.read_bytes(), keyring.audit_public_key).size == 0
    trail.add(2, begun)
    assert AuditLog.begin(trail.directory, keyring).verify().events == 2


def test_an_event_with_an_id_is_stored_once(trail: Trail) -> None:
    event = {"action": "erase", "principal": ANN, "resource": "vault", "outcome": "allow", "id": new_event_id()}
    for one in (trail.log, trail.log, trail.again()):
        assert one.append(**event) == event["id"]  # type: ignore[arg-type]
    trail.add()
    assert trail.log.append_many([event, {**event, "id": "evt_x"}, {**event, "id": "evt_x"}]) == [  # type: ignore[list-item]
        event["id"],
        "evt_x",
        "evt_x",
    ]
    assert [e["id"] for e in trail.events_stored() if e["action"] == "erase"] == [event["id"], "evt_x"]


def test_an_id_inside_another_events_detail_is_not_that_event(trail: Trail) -> None:
    name = new_event_id()
    for detail in ({"reason": f'"id":"{name}"'}, {"id": name}):
        trail.log.append(action="erase", principal=ANN, resource="vault", outcome="allow", detail=detail)
    assert trail.log.append(action="erase", principal=ANN, resource="vault", outcome="allow", id=name) == name
    assert [event["id"] for event in trail.events_stored()].count(name) == 1
    assert trail.log.verify().events == 3


def test_an_id_on_a_line_that_was_never_acknowledged_is_stored(trail: Trail) -> None:
    trail.add()
    event = {"action": "erase", "principal": ANN, "resource": "vault", "outcome": "allow", "id": new_event_id()}
    old = trail.checkpoint.read_bytes()
    trail.log.append(**event)  # type: ignore[arg-type]
    trail.checkpoint.write_bytes(old)  # as if it had been killed before the checkpoint
    other = trail.again()
    assert other.verify().events == 1
    other.append(**event)  # type: ignore[arg-type]
    assert [e["id"] for e in trail.events_stored()][1:] == [event["id"]]
    assert other.verify().events == 2


@pytest.mark.parametrize(
    "detail",
    [
        {"x": float("nan")},
        {"x": "\ud800"},
        {("a", "b"): 1},
    ],
)
def test_what_is_no_json_is_refused_and_the_others_are_stored(trail: Trail, detail: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="can't be written as JSON"):
        trail.log.append(action="a", principal=ANN, resource="r", outcome="allow", detail=detail)
    trail.add()
    assert trail.log.verify().events == 1


class Clock(datetime):
    """Says what it is told to."""

    moment: datetime

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return cls.moment


def test_a_clock_that_jumps_back_changes_no_order(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy.audit_events, "datetime", Clock)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for count, days in enumerate((0, -400, 1)):
        Clock.moment = start + timedelta(days=days)
        trail.log.append(action="a", principal=ANN, resource="r", outcome="allow", count=count)
        trail.add(1, trail.again())
    summary = trail.again().verify()
    assert summary.events == 6
    assert (summary.first_at, summary.last_at) == (
        "2026-03-01T00:00:00.000000+00:00",
        "2026-03-02T00:00:00.000000+00:00",
    )
    assert [e["count"] for e in trail.events_stored()[::2]] == [0, 1, 2]


@pytest.mark.parametrize("lost", [["state.json"], ["leaves"], ["state.json", "leaves"]])
def test_derived_files_are_made_anew(trail: Trail, lost: list[str]) -> None:
    trail.add_many(600)
    for name in lost:
        (trail.directory / name).unlink()
    assert trail.again().verify().events == 600
    trail.add(1, trail.again())
    assert trail.leaves.read_bytes() == b"".join(map(leaf_hash, trail.lines()))
    assert trail.read_state().size == (600 if "state.json" in lost else 599)
    assert trail.again().verify().events == 601


def test_a_state_is_kept_now_and_then(trail: Trail) -> None:
    sizes = []
    for _ in range(20):
        trail.add_many(100)
        sizes.append(trail.read_state().size)
    assert sorted(set(sizes)) == [99, 699, 1299, 1899]


STATES = [
    b"",
    b"{",
    b"[]",
    b'{"size":1e999,"offset":0,"edge":[]}',
    b'{"size":1,"offset":0,"edge":[]}',
    b'{"size":0,"offset":-5,"edge":[]}',
    b'{"size":0,"offset":7,"edge":[]}',
    b'{"size":2,"offset":0,"edge":["%s"]}' % (b"00" * 32),
    b'{"size":4,"offset":0,"edge":["%s"]}' % (b"00" * 32),
    b'{"size":4,"offset":99999999999999999999999999,"edge":["%s"]}' % (b"00" * 32),
    b"[" * 100_000,
    b'{"size":9,"offset":99999999,"edge":["%s","%s"]}' % (b"00" * 32, b"00" * 32),
]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_a_state_that_does_not_come_out_at_the_signed_root_is_not_used(trail: Trail, state: bytes) -> None:
    trail.add_many(5)
    trail.state.write_bytes(state)
    before = trail.events.read_bytes()
    trail.add(1, trail.again())
    assert trail.events.read_bytes().startswith(before)
    assert trail.again().verify().events == 6


def test_a_state_with_a_wrong_offset_cuts_nothing_off(trail: Trail, tmp_path: Path) -> None:
    trail.add_many(6)
    saved = trail.saved(tmp_path / "saved")
    good = json.loads(trail.state.read_text())
    starts = [0]
    for line in trail.lines():
        starts.append(starts[-1] + len(line) + 1)
    before = trail.events.read_bytes()
    for wrong in (*starts, good["offset"] - 1, good["offset"] + 1):
        trail.put_back(saved)
        trail.state.write_text(json.dumps({**good, "offset": wrong}))
        trail.add(1, trail.again())
        assert trail.events.read_bytes().startswith(before)
        assert trail.again().verify().events == 7


def test_only_events_of_a_log_that_verifies_are_shown(trail: Trail) -> None:
    ids = trail.add(5)
    assert [event["id"] for event in trail.log.select(3, lambda event: event["count"] > 0)] == ids[2:]
    assert [event["id"] for event in trail.log.select(9)] == ids
    assert [event["id"] for event in trail.log.select(9, marks=[b'"count":2'])] == [ids[2]]
    assert trail.again().select(3, lambda event: False) == []


def test_commitments_hide_and_differ() -> None:
    one, other = commitment(["ret_a", "ret_b"]), commitment(["ret_b", "ret_a"])
    assert "ret_a" not in one
    assert one != other
