"""`custos policy check` and `explain`, as a privacy officer meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlproject.cli import main
from privacy.policy import built_in_policy

BUILT_IN = built_in_policy().read_text("utf-8")
ASK = ["policy", "explain", "--role", "analyst", "--purpose", "retention", "--action", "predict"]
FORBID = """
  - name: analysts-off
    why: Until the review is done.
    forbid: true
    to: [analyst]
    actions: [predict]
    resources: ["model:*"]
"""
FILTER = """
  - name: regulars
    to: [analyst]
    actions: [predict]
    resources: ["service:*"]
    row_filter: {column: %s, at_least: 2}
"""
UNREACHABLE = """
  - name: vain
    to: [auditor]
    actions: [predict]
    resources: ["model:churn"]
"""


def policy(folder: Path, *more: str, text: str = BUILT_IN) -> str:
    (folder / "policy.yaml").write_text(text + "".join(more))
    return str(folder / "policy.yaml")


def test_the_built_in_policy_is_clean_and_needs_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "--home", str(tmp_path / "none")]) == 0
    shown = capsys.readouterr().out
    assert "clean: every rule has an effect" in shown
    assert "mask:band" in shown
    assert "gaps: " in shown
    assert main([*ASK, "--resource", "model:churn", "--home", str(tmp_path / "none")]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_program_reads_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "--json", "--home", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sound"], report["findings"]) == (True, [])
    cell = {"action": "predict", "column": "clv.value", "role": "marketer", "purpose": "value"}
    [found] = [each for each in report["matrix"] if each.items() >= cell.items()]
    assert (found["outcome"], found["rules"]) == ("mask:band", ["bands-for-analysts-and-marketers"])
    assert {"action": "grant", "column": "access", "role": "auditor"}.items() <= next(
        gap for gap in report["gaps"] if gap["action"] == "grant" and gap["role"] == "auditor"
    ).items()


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (FILTER % "lifetime_orders", 0, "clean"),
        (UNREACHABLE, 0, "1 warning: this policy is used"),
        (FILTER % "lifetime_order", 1, "did you mean lifetime_orders?"),
        (FORBID.replace("model:*", "model:chrun"), 1, "danger"),
        (FORBID.replace("predict", "predikt"), 1, "did you mean predict?"),
        (FORBID.replace("forbid", "forbids"), 1, "unknown key forbids; did you mean forbid?"),
        ("\nversion: 1\n", 1, "has the key version twice"),
        ("\n  bad indent: [", 1, "can't be read as YAML"),
    ],
)
def test_the_exit_status_tells_sound_from_unsound(
    more: str, status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "check", policy(tmp_path, more), "--home", str(tmp_path)]) == status
    shown = capsys.readouterr().out
    assert words in shown
    assert ("no purpose" in shown) == ("this policy is refused" not in shown)
    assert main(["policy", "check", policy(tmp_path, more), "--json", "--home", str(tmp_path)]) == status
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] == (status == 0)
    for finding in report["findings"]:
        assert finding["line"] > 0


def test_a_missing_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(tmp_path / "none.yaml"), "--home", str(tmp_path)]) == 2
    assert "the policy file is missing" in capsys.readouterr().err


def test_the_homes_own_policy_and_lawful_bases_are_in_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy(tmp_path, FORBID)
    home = ["--resource", "model:churn", "--home", str(tmp_path)]
    assert main([*ASK, *home]) == 0
    shown = capsys.readouterr().out
    assert "asks to predict model:churn: denied" in shown
    line = (BUILT_IN + FORBID).splitlines().index("  - name: analysts-off") + 1
    assert f"line {line}: analysts-off forbids it. Until the review is done." in shown
    assert main([*ASK, *home, "--file", str(built_in_policy()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "mask"
    (tmp_path / "settings.yaml").write_text("lawful_bases: {retention: consent}\n")
    assert main([*ASK, *home, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["rules"], made["lawful_basis"]) == (["analysts-off", "no-consent-ledger"], "consent")
    assert main(["policy", "check", "--home", str(tmp_path)]) == 0
    assert "churn-for-retention permits nothing: each of its cases is denied by" in capsys.readouterr().out


def test_a_policy_with_a_typo_opens_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy(tmp_path, FORBID.replace("analyst]", "analist]"))
    assert (
        main(["access", "grant", "--role", "admin", "--purpose", "value", "--user", "x", "--home", str(tmp_path)]) == 2
    )
    told = capsys.readouterr().err
    assert "policy analysts-off: role analist is unknown" in told
    assert "did you mean analyst?" in told
    assert main([*ASK, "--resource", "model:churn", "--home", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--role", "analist", "--action", "predict", "--resource", "model:churn"], "analyst"),
        (["--role", "analyst", "--action", "predikt", "--resource", "model:churn"], "did you mean predict?"),
        (["--role", "analyst", "--action", "predict", "--resource", "churn"], "ask about model or service"),
        (["--role", "analyst", "--action", "predict"], "--resource"),
    ],
)
def test_questions_that_mean_nothing_are_bad_input(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "explain", *arguments, "--home", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
