"""`custos risk release`: three files in, figures out, nobody's row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlproject.cli import main
from mlproject.wiring import House

NAMES = ("age (years)", "town", "income")


def people(seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    town = [f"Riverbend-{n}" for n in rng.integers(0, 60, 200)]
    return pa.table([rng.integers(18, 90, 200), town, rng.normal(50_000, 9_000, 200).round(2)], NAMES)


def files(folder: Path, released: pa.Table) -> list[str]:
    """The arguments that name the three files, written below `folder`."""
    tables = {"--original": people(1), "--released": released, "--control": people(2)}
    for option, table in tables.items():
        pq.write_table(table, folder / f"{option[2:]}.parquet")
    return [word for option in tables for word in (option, str(folder / f"{option[2:]}.parquet"))]


def test_a_copy_is_told_for_what_it_is_and_no_row_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["risk", "release", *files(tmp_path, people(1)), "--attempts", "200", "--home", str(tmp_path / "home")]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "As risky as its worst: " in shown
    assert "inference of age (years)" in shown
    assert "Riverbend" not in shown
    assert main([*asked, "--json", "--secret", "town"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["attack"] for one in told["attacks"]] == ["singling out", "linkability", "inference of town"]
    assert max(one["risk"]["low"] for one in told["attacks"]) > 0.9
    assert not (tmp_path / "home").exists()


def test_a_home_notes_who_attacked_and_what_came_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = House.open(tmp_path / "home")
    _ = house.keyring
    other = people(3)
    asked = ["risk", "release", *files(tmp_path, other), "--attempts", "100", "--home", str(tmp_path / "home")]
    assert main(asked) == 0
    (event,) = house.audit.select(1)
    assert (event["action"], event["resource"], event["count"]) == ("attack", "dataset:released", 200)
    assert event["detail"]["risk"]["low"] < 0.1
    (tmp_path / "home" / "settings.yaml").write_text("role: analyst\n")
    assert main(asked) == 3


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (lambda path: path.unlink(), 2, "no such file"),
        (lambda path: path.write_bytes(b"PAR1 nothing"), 2, "no parquet file"),
        (lambda path: pq.write_table(people(1)[:0], path), 2, "the released table is empty"),
        (lambda path: pq.write_table(people(1).select([0]), path), 2, "fewer than two columns"),
        (lambda path: (path.unlink(), path.mkdir()), 2, "is a directory"),
    ],
)
def test_files_that_are_none(
    spoil, status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    asked = files(tmp_path, people(1))
    spoil(tmp_path / "released.parquet")
    assert main(["risk", "release", *asked, "--home", str(tmp_path / "home")]) == status
    assert words in capsys.readouterr().err
