"""`custos audit`: verify, checkpoint, prove, check, show, as their readers use them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlproject.cli import main
from mlproject.wiring import House
from privacy.classification import Purpose, Role
from privacy.policy import Principal
from privacy.signed_note import Checkpoint, NoteKey

PEOPLE = [
    Principal("crm", Role.CRM_SERVICE, Purpose.RETENTION),
    Principal("mei \x1b[31m", Role.ANALYST, Purpose.RETENTION),
    Principal("olga", Role.PRIVACY_OFFICER, None),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A home with keys and six events."""
    root = tmp_path_factory.mktemp("home")
    house = House.open(root)
    _ = house.keyring
    ids = [
        house.audit.append(action=action, principal=who, resource="model:churn", outcome=outcome, count=number)
        for number, (action, who, outcome) in enumerate(
            [
                ("predict", PEOPLE[0], "allow"),
                ("predict", PEOPLE[1], "mask"),
                ("erase", PEOPLE[2], "allow"),
                ("predict", PEOPLE[0], "deny"),
                ("identify", PEOPLE[2], "allow"),
                ("predict", PEOPLE[0], "allow"),
            ]
        )
    ]
    return root, ids


@pytest.fixture
def home(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    return shutil.copytree(made[0], tmp_path / "home")


@pytest.fixture
def ids(made: tuple[Path, list[str]]) -> list[str]:
    return made[1]


class Custos:
    """Runs a command on the home and gives what it printed."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *words: str | Path, expect: int = 0) -> str:
        status = main([*map(str, words), "--home", str(self.home)])
        shown = self._capsys.readouterr()
        assert status == expect, shown
        if not expect:
            return shown.out
        assert shown.err.count("\n") == 1
        return shown.err

    def json(self, *words: str | Path) -> Any:
        return json.loads(self(*words, "--json"))

    def append(self) -> None:
        House.open(self.home).audit.append(action="predict", principal=PEOPLE[0], resource="r", outcome="allow")

    def edit(self) -> None:
        events = self.home / "audit" / "events.jsonl"
        events.write_bytes(events.read_bytes().replace(b'"deny"', b'"DENY"'))


@pytest.fixture
def custos(home: Path, capsys: pytest.CaptureFixture[str]) -> Custos:
    return Custos(home, capsys)


def test_verify_tells_how_many_events_are_intact(custos: Custos) -> None:
    found = custos.json("audit", "verify")
    assert (found["events"], found["unacknowledged"], found["extends"]) == (6, 0, None)
    note = (custos.home / "audit" / "checkpoint").read_bytes()
    key = NoteKey.parsed(found["verifier_key"])
    assert Checkpoint.opened(note, key.public_key, origin=key.name).size == 6
    assert custos("audit", "verify") == f"6 events, intact; root {found['root']}\n"


def test_verify_tells_of_lines_that_were_never_acknowledged(custos: Custos) -> None:
    with (custos.home / "audit" / "events.jsonl").open("ab") as file:
        file.write(b"{}\n{")
    assert "2 lines behind them were never acknowledged" in custos("audit", "verify")
    assert custos.json("audit", "verify")["unacknowledged"] == 2


def test_verify_fails_naming_the_line(custos: Custos) -> None:
    custos.edit()
    assert "an audit line was edited" in (error := custos("audit", "verify", expect=1))
    assert "events.jsonl line 4" in error
    for words in (["checkpoint"], ["show"], ["prove", "evt_x"]):
        assert "events.jsonl line 4" in custos("audit", *words, expect=1)


def test_a_checkpoint_kept_outside_finds_a_rollback(custos: Custos, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "checkpoint"
    old = shutil.copytree(custos.home / "audit", tmp_path / "old")
    custos.append()
    assert "kept the checkpoint of 7 events" in custos("audit", "checkpoint", "--out", kept)
    custos.append()
    assert custos.json("audit", "verify", "--checkpoint", kept)["extends"] == 7
    assert "extends the kept checkpoint of 7 events" in custos("audit", "verify", "--checkpoint", kept)
    shutil.rmtree(custos.home / "audit")
    shutil.copytree(old, custos.home / "audit")
    assert custos.json("audit", "verify")["events"] == 6
    assert "rolled back" in custos("audit", "verify", "--checkpoint", kept, expect=1)
    before = kept.read_bytes()
    assert "rolled back" in custos("audit", "checkpoint", "--out", kept, expect=1)
    assert kept.read_bytes() == before


def test_a_kept_checkpoint_is_renewed_only_by_a_log_that_extends_it(custos: Custos, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint"
    custos("audit", "checkpoint", "--out", kept)
    custos.append()
    custos("audit", "checkpoint", "--out", kept)
    assert kept.read_text() == custos("audit", "checkpoint") == custos.json("audit", "checkpoint")["checkpoint"]
    (other := tmp_path / "notes.txt").write_text("my shopping list\n")
    assert "notes.txt" in custos("audit", "checkpoint", "--out", other, expect=1)
    assert other.read_text() == "my shopping list\n"
    assert "notes.txt" in custos("audit", "verify", "--checkpoint", other, expect=1)
    assert "no checkpoint" in custos("audit", "verify", "--checkpoint", tmp_path / "absent", expect=2)


def test_a_proof_checks_offline_with_the_verifier_key(
    custos: Custos, ids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, proof = tmp_path / "checkpoint", tmp_path / "proof.json"
    custos("audit", "checkpoint", "--out", kept)
    custos.append()
    assert custos("audit", "prove", ids[2], "--since", kept, "--out", proof) == ""
    key = custos.json("audit", "checkpoint")["verifier_key"]
    assert json.loads(custos("audit", "prove", ids[2], "--since", kept)) == json.loads(proof.read_text())
    shown = custos("audit", "check", proof)
    assert f"is event 3 of 7 in the log custos/{House.open(custos.home).sealed.keyset_id}" in shown
    assert "extends the older checkpoint of 6 events" in shown
    assert ids[2] in shown
    nowhere = tmp_path / "nowhere"
    assert main(["audit", "check", str(proof), "--key", key, "--json", "--home", str(nowhere)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["index"], found["tree_size"], found["extends"], found["event"]["id"]) == (2, 7, 6, ids[2])
    assert not nowhere.exists()


def test_a_proof_that_does_not_hold_fails(custos: Custos, ids: list[str], tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    custos("audit", "prove", ids[3], "--out", proof)
    proof.write_text(proof.read_text().replace("deny", "allow"))
    assert "inclusion proof does not hold" in custos("audit", "check", proof, expect=1)
    proof.write_text("{")
    assert "no JSON" in custos("audit", "check", proof, expect=2)
    proof.write_text("{}")
    assert "no proof of an audit event" in custos("audit", "check", proof, expect=2)
    assert "no proof" in custos("audit", "check", tmp_path / "absent", expect=2)
    assert "verifier key" in custos("audit", "check", proof, "--key", "nonsense", expect=2)
    for unknown in ("evt_x", "\udcff"):
        assert "no event of this id" in custos("audit", "prove", unknown, expect=2)


def test_show_is_a_table_with_the_newest_last(custos: Custos, ids: list[str]) -> None:
    heading, *rows = custos("audit", "show").splitlines()
    assert heading.split() == ["at", "action", "outcome", "who", "purpose", "resource", "count", "rule", "id"]
    assert [row.split()[-1] for row in rows] == ids
    assert "\x1b" not in "".join(rows)
    assert [row.split()[-1] for row in custos("audit", "show", "--limit", "2").splitlines()[1:]] == ids[-2:]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (["--action", "predict"], [0, 1, 3, 5]),
        (["--outcome", "allow"], [0, 2, 4, 5]),
        (["--principal", "olga"], [2, 4]),
        (["--principal", "mei \x1b[31m"], [1]),
        (["--action", "predict", "--outcome", "deny"], [3]),
        (["--since", "2000-01-01"], [0, 1, 2, 3, 4, 5]),
        (["--since", "2999-01-01"], []),
        (["--principal", "\udcff"], []),
        (["--action", "predict", "--limit", "1"], [5]),
    ],
)
def test_show_filters(custos: Custos, ids: list[str], filters: list[str], kept: list[int]) -> None:
    found = custos.json("audit", "show", *filters)
    assert [event["id"] for event in found] == [ids[number] for number in kept]
    if not kept:
        assert custos("audit", "show", *filters) == "no events\n"


def test_only_who_may_read_the_audit_reads_it(custos: Custos, ids: list[str], tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    custos("audit", "prove", ids[0], "--out", proof)
    (custos.home / "settings.yaml").write_text("operator: somebody\nrole: marketer\n")
    for words in (["verify"], ["checkpoint"], ["prove", ids[0]], ["check", proof], ["show"]):
        assert "marketer" in custos("audit", *words, expect=3)
    (custos.home / "settings.yaml").write_text("role: auditor\n")
    assert [event["action"] for event in custos.json("audit", "show", "--outcome", "gap")] == ["audit.read"] * 5


def test_a_home_without_keys_says_how_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = Custos(tmp_path / "empty", capsys)
    for words in (["verify"], ["checkpoint"], ["prove", "evt_x"], ["show"]):
        assert "custos run DATASET" in empty("audit", *words, expect=2)
    assert not empty.home.exists()
