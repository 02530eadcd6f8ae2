"""The consent ledger: timelines by hand and against a slow reading of the law, persistence, damage, erasure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.consent import ConsentLedger, _references_of, _Timelines
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.rights import Subject
from privacy.tokens import handles_to_tokens

from .conftest import Home

UTC = pa.timestamp("us", "UTC")
NOW = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
HANDLES = np.random.default_rng(5).integers(0, 256, (12, 16)).astype(np.uint8)
Entry = tuple[int, str, bool, str]
"""person, purpose, granted, when"""


def tokens(keyring: Keyring, people: Sequence[int]) -> pa.Array:
    return handles_to_tokens(keyring, HANDLES[list(people)], "features")


def moments(texts: Sequence[str]) -> pa.Array:
    return pa.array([dt.datetime.fromisoformat(text).astimezone(dt.UTC) for text in texts], UTC)


def entries(keyring: Keyring, rows: Sequence[Entry]) -> pa.Table:
    people, purposes, granted, at = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "customer_token": tokens(keyring, people),
            "purpose": pa.array(purposes, pa.string()),
            "granted": pa.array(granted, pa.bool_()),
            "at": moments(at),
        }
    )


def ledger(home: Home, keyring: Keyring | SealedKeyring) -> ConsentLedger:
    return ConsentLedger(home.root / "consents.ledger", keyring, lambda: NOW)


def day(text: str) -> str:
    return f"2024-{text}T00:00:00+00:00"


TIMELINES: list[tuple[str, list[tuple[bool, str]], dict[str, bool]]] = [
    ("granted once", [(True, day("02-01"))], {day("01-31"): False, day("02-01"): True, day("05-01"): True}),
    ("never", [], {day("02-01"): False}),
    # Withdrawn since: nothing new may rest on it, whenever the row is of.
    (
        "withdrawn",
        [(True, day("02-01")), (False, day("03-01"))],
        {day("01-01"): False, day("02-15"): False, day("04-01"): False},
    ),
    (
        "granted again",
        [(True, day("02-01")), (False, day("03-01")), (True, day("04-01"))],
        {day("01-15"): False, day("02-15"): True, day("03-01"): False, day("03-15"): False, day("04-01"): True},
    ),
    (
        "withdrawn before any grant",
        [(False, day("01-01")), (True, day("02-01"))],
        {day("01-15"): False, day("02-01"): True},
    ),
    ("both at one instant", [(True, day("02-01")), (False, day("02-01"))], {day("02-01"): False, day("03-01"): False}),
    (
        "both at one instant, then again",
        [(False, day("02-01")), (True, day("02-01")), (True, "2024-02-01T00:00:00.000001+00:00")],
        {day("02-01"): False, "2024-02-01T00:00:00.000001+00:00": True},
    ),
    # 23:30 in New York on the 31st is 04:30 in London on the 1st; Shanghai's midnight is before London's.
    (
        "in other time zones",
        [(True, "2024-01-31T23:30:00-05:00")],
        {"2024-02-01T04:29:59+00:00": False, "2024-02-01T12:30:00+08:00": True, "2024-02-01T12:29:59+08:00": False},
    ),
    # What lies ahead of now neither grants nor withdraws yet.
    (
        "from tomorrow on",
        [(True, day("06-02"))],
        {day("05-01"): False, day("06-03"): False},
    ),
    ("until tomorrow", [(True, day("02-01")), (False, day("06-02"))], {day("03-01"): True, day("06-03"): True}),
]


@pytest.mark.parametrize(("rows", "told"), [case[1:] for case in TIMELINES], ids=[case[0] for case in TIMELINES])
def test_timelines_by_hand(home: Home, keyring: Keyring, rows: list[tuple[bool, str]], told: dict[str, bool]) -> None:
    kept = ledger(home, keyring)
    for backwards in (False, True):  # the order they come in means nothing
        mine = [(3, "marketing", granted, at) for granted, at in (reversed(rows) if backwards else rows)]
        others = [(4, "marketing", True, day("01-01")), (3, "research", True, day("01-01"))]
        kept.append(entries(keyring, [*mine, *others]))
        asked = tokens(keyring, [3] * len(told))
        assert kept.consented(asked, "marketing", moments(list(told))).tolist() == list(told.values())
    assert kept.consented(tokens(keyring, [3, 4]), "marketing", moments([day("05-01")] * 2)).tolist()[1]
    assert len(kept) == len(set(rows)) + 2


def slowly(rows: Sequence[Entry], person: int, purpose: str, moment: str) -> bool:
    """As the articles say it, one row at a time."""

    def state(limit: dt.datetime) -> bool:
        own = [
            (dt.datetime.fromisoformat(at), not granted)
            for who, what, granted, at in rows
            if (who, what) == (person, purpose) and dt.datetime.fromisoformat(at) <= limit
        ]
        return bool(own) and not max(own)[1]

    return state(min(dt.datetime.fromisoformat(moment), NOW)) and state(NOW)


days = st.integers(1, 28).map(lambda number: day(f"05-{number:02d}")) | st.just(day("06-02"))
people = st.integers(0, 3)
purposes = st.sampled_from(["marketing", "research"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(people, purposes, st.booleans(), days), max_size=25), st.lists(st.tuples(people, purposes, days))
)
def test_many_at_once_are_answered_as_one_by_one(rows: list[Entry], asked: list[tuple[int, str, str]]) -> None:
    references = {
        pair: bytes([at]) * 16
        for at, pair in enumerate((who, what) for who in range(4) for what in ("marketing", "research"))
    }
    table = pa.table(
        {
            "reference": pa.array([references[who, what] for who, what, _, _ in rows], pa.binary(16)),
            "granted": pa.array([granted for _, _, granted, _ in rows], pa.bool_()),
            "at": moments([at for *_, at in rows]),
        }
    )
    questions = pa.table({"reference": pa.array([references[who, what] for who, what, _ in asked], pa.binary(16))})
    then = moments([at for *_, at in asked]).cast(pa.int64()).to_numpy()
    now = np.full(len(asked), int(NOW.timestamp()) * 1_000_000, np.int64)
    found = _Timelines.of(table).granted(_references_of(questions), np.minimum(then, now), now)
    assert found.tolist() == [slowly(rows, *question) for question in asked]


def test_entries_are_added_once_and_never_changed(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    first = [(0, "marketing", True, day("01-01")), (1, "marketing", True, day("01-02"))]
    assert kept.append(entries(keyring, [*first, first[0]])) == 2
    assert kept.append(entries(keyring, first)) == 0
    assert kept.append(entries(keyring, [(0, "marketing", False, day("02-01"))])) == 1
    assert len(kept) == len(ledger(home, keyring)) == 3


def test_a_ledger_of_nobody_is_a_ledger(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    assert not kept.consented(tokens(keyring, [0]), "marketing", moments([day("01-01")])).any()
    assert not (home.root / "consents.ledger").exists()
    assert kept.append(entries(keyring, [])) == 0
    assert (home.root / "consents.ledger").exists()
    assert kept.consented(tokens(keyring, []), "marketing", moments([])).shape == (0,)
    assert len(ledger(home, keyring)) == 0


def test_who_or_when_nobody_knows_has_not_consented(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    kept.append(entries(keyring, [(0, "marketing", True, day("01-01"))]))
    [token] = tokens(keyring, [0]).to_pylist()
    asked = pa.array([token, None, "junk", token, token.replace("fs_", "mkt_")])
    at = pa.array([NOW, NOW, NOW, None, NOW], UTC)
    assert kept.consented(asked, "marketing", at).tolist() == [True, False, False, False, False]
    assert kept.consented(pa.chunked_array([asked]), "marketing", pa.chunked_array([at])).tolist()[0]


def test_other_processes_see_additions_without_the_root(home: Home, keyring: Keyring) -> None:
    keyring.seal(home.root / "service.json", home.kms(), [])
    service = ledger(home, SealedKeyring.open(home.root / "service.json", home.kms()))
    mine = ledger(home, keyring)
    for person in range(3):
        mine.append(entries(keyring, [(person, "marketing", True, day("01-01"))]))
        found = service.consented(tokens(keyring, range(4)), "marketing", moments([day("02-01")] * 4))
        assert found.tolist() == [at <= person for at in range(4)]


def test_tokens_of_a_rotated_key_are_the_same_people(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    kept.append(entries(keyring, [(0, "marketing", True, day("01-01"))]))
    before = tokens(keyring, [0])
    keyring.rotate()
    assert before != tokens(keyring, [0])
    both = pa.concat_arrays([before, tokens(keyring, [0])])
    assert kept.consented(both, "marketing", moments([day("02-01")] * 2)).all()


def test_the_file_says_neither_who_nor_that_two_purposes_are_one_persons(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    rows = [(person, purpose, True, day("01-01")) for person in range(6) for purpose in ("marketing", "research")]
    kept.append(entries(keyring, rows))
    data = (home.root / "consents.ledger").read_bytes()
    for token in tokens(keyring, range(6)).to_pylist():
        assert token.encode() not in data
        assert bytes.fromhex(token[-34:-2]) not in data
    bare = keyring.suppression.of_handles(HANDLES)  # as the suppression list names them
    assert not any(bytes(mac) in data for mac in bare)
    held = {bytes(reference) for reference in _references_of(kept._entries)}
    assert len(held) == 12
    assert (home.root / "consents.ledger").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("how", ["shortened", "garbage", "flipped", "another home's", "gone"])
def test_a_changed_ledger_stops_service_instead_of_serving(home: Home, keyring: Keyring, how: str) -> None:
    path = home.root / "consents.ledger"
    kept = ledger(home, keyring)
    kept.append(entries(keyring, [(0, "marketing", False, day("01-01"))]))
    data = bytearray(path.read_bytes())
    if how == "shortened":
        path.write_bytes(data[:-9])
    elif how == "garbage":
        path.write_bytes(b"x" * 300)
    elif how == "flipped":
        data[-20] ^= 1
        path.write_bytes(data)
    elif how == "gone":
        path.unlink()
    else:
        (home.root / "other").mkdir()
        other = Keyring.create(home.root / "other" / "keyring.json", home.kms())
        stranger = ConsentLedger(home.root / "other" / "consents.ledger", other)
        stranger.append(entries(other, [(0, "marketing", True, day("01-01"))]))
        path.write_bytes((home.root / "other" / "consents.ledger").read_bytes())
    for ask in (
        lambda: kept.consented(tokens(keyring, [0]), "marketing", moments([day("02-01")])),
        lambda: kept.append(entries(keyring, [(1, "marketing", True, day("01-01"))])),
        lambda: len(kept),
    ):
        with pytest.raises(EnvironmentFailed, match="the consent ledger") as raised:
            ask()
        assert "\n" not in str(raised.value)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"purpose": pa.array(["newsletter", "marketing"])}, "1 of 2 consents are to no purpose"),
    ({"purpose": pa.array([None, "marketing"])}, "1 of 2 consents are to no purpose"),
    ({"granted": pa.array([None, True])}, "1 consents don't say what or when"),
    ({"at": pa.array([None, None], UTC)}, "2 consents don't say what or when"),
    ({"customer_token": pa.array(["fs_CANARY", None])}, "2 of 2 consents are of no token"),
]


@pytest.mark.parametrize(("change", "told"), BAD, ids=[told for _, told in BAD])
def test_what_means_nothing_is_bad_input_and_adds_nothing(
    home: Home, keyring: Keyring, change: dict[str, Any], told: str
) -> None:
    table = entries(keyring, [(0, "marketing", True, day("01-01")), (1, "marketing", True, day("01-01"))])
    for name, column in change.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    with pytest.raises(BadInput, match=told) as raised:
        ledger(home, keyring).append(table)
    assert "CANARY" not in str(raised.value)
    assert not (home.root / "consents.ledger").exists()


def test_who_turns_out_to_be_one_person_answers_alike_by_every_token(home: Home, keyring: Keyring) -> None:
    held = ledger(home, keyring)
    former, now = tokens(keyring, [1, 3]), tokens(keyring, [0, 0])
    assert held.share(former, now) == 0  # there is no ledger
    rows: list[Entry] = [
        (0, "marketing", True, day("02-01")),
        (1, "marketing", False, day("03-01")),  # withdrawn under the token of before
        (3, "research", True, day("02-01")),  # consented to under another
        (2, "marketing", True, day("02-01")),
    ]
    held.append(entries(keyring, rows))
    asked, then = tokens(keyring, [0, 1, 3, 2]), moments([day("04-01")] * 4)
    assert held.consented(asked, "marketing", then).tolist() == [True, False, False, True]
    assert held.share(former, now) == 2 + 2 + 2  # each of three entries under the two other handles
    assert held.consented(asked, "marketing", then).tolist() == [False, False, False, True]
    assert held.consented(asked, "research", then).tolist() == [True, True, True, False]
    assert held.share(former, now) == 0
    assert len(ledger(home, keyring)) == 10


def test_a_person_is_counted_exported_and_erased(home: Home, keyring: Keyring) -> None:
    kept = ledger(home, keyring)
    rows = [
        (0, "marketing", True, day("01-01")),
        (0, "research", True, day("01-02")),
        (1, "marketing", True, day("01-01")),
    ]
    kept.append(entries(keyring, [*rows, (2, "marketing", True, day("03-01"))]))
    [token] = tokens(keyring, [0]).to_pylist()
    # 2 is who the person was before a link was found
    subject = Subject((token,), HANDLES[0].tobytes(), (), (HANDLES[2].tobytes(),))
    assert kept.count(subject) == 3
    assert kept.export(subject) == [
        {"purpose": "marketing", "granted": True, "at": day("01-01")},
        {"purpose": "research", "granted": True, "at": day("01-02")},
        {"purpose": "marketing", "granted": True, "at": day("03-01")},
    ]
    stale = home.root / ".consents.ledger.0123.tmp"
    stale.write_bytes(b"half a ledger")
    assert (kept.erase(subject), kept.erase(subject), kept.verify(subject), len(kept)) == (3, 0, 0, 1)
    assert not stale.exists()
    found = kept.consented(tokens(keyring, [0, 1]), "marketing", moments([day("05-01")] * 2))
    assert found.tolist() == [False, True]
    assert ConsentLedger(home.root / "none.ledger", keyring).erase(subject) == 0
