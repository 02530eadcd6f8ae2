"""What a user reads: help with an example, one line for every error, the exit status of the architecture page."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
import yaml

from mlproject.cli import cli, main
from tests.canaries import CANARIES, descriptor, write_shop

Mend = Callable[[dict[str, Any], Path], None]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(cli))


def test_the_names_of_the_commands_are_kept() -> None:
    names = {" ".join(path) for path in ALL}
    kept = [
        "demo",
        "run",
        "ingest",
        "build",
        "materialize",
        "train",
        "promote",
        "score",
        "identify",
        "report",
        "status",
        "doctor",
        "serve",
        "mlflow",
    ]
    assert names >= {*kept, "features get", "access grant", "subject erase", "audit verify"}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example: custos {' '.join(path)}" in shown
    assert "--home" in shown


def fails(arguments: list[str], status: int, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail in one clear line, and return it."""
    assert main(arguments) == status
    shown = capsys.readouterr().err
    lines = [line for line in shown.splitlines() if line.startswith("custos: ")]
    assert len(lines) == 1, shown
    assert shown.endswith(f"{lines[0]}\n"), shown
    assert "unforeseen" not in shown
    assert "Traceback" not in shown
    for word in words:
        assert word in lines[0], lines[0]
    for canary in CANARIES:
        assert not [value for value in canary.values() if value in shown]
    return lines[0]


def test_an_unknown_dataset_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(["run", "complete_jurney", "--home", str(tmp_path)], 2, "complete_journey", capsys=capsys)


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = [sys.executable, "-m", "mlproject", "run", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()  # before the first line is written: the interpreter takes longer to start
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == ("", 0)


def test_usage_errors_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        ("score churn --purpose curiosity --out x.parquet", "retention"),
        ("score churn --out x.parquet", "missing option '--purpose'"),
        ("train weather", "'weather' is not one of 'churn', 'clv'; see `custos train --help`"),
        ("train churn --seed -1", "--seed"),
        ("train churn --seed 4294967295", "--seed"),
        ("nonsense", "no such command 'nonsense'"),
        ("build --colour red", "--colour"),
        ("build --as-of yesterday", "2017-12-31"),
        ("build --as-of 0001-01-01T00:00+14:00", "2017-12-31"),
        ("build --as-of 9999-12-31", "from 1970 to 2199"),
        ("score clv --purpose value --out=", "it is empty: name a file"),
        (f"score clv --purpose value --out {'x' * 300}", "the name is too long"),
        ("status --home=", "it is empty: name a folder"),
        ("status --home ~no-such-user", "no user"),
    ):
        home = [] if "--home" in words or words == "nonsense" else ["--home", str(tmp_path)]
        fails([*words.split(), *home], 2, told, capsys=capsys)
    secret = fails(["subject", "erase", "c1", CANARIES[0].email, "--home", str(tmp_path)], 2, capsys=capsys)
    assert secret == "custos: got unexpected extra argument; see `custos subject erase --help`"


@pytest.mark.parametrize(
    "arguments",
    [["build"], ["materialize"], ["train", "churn"], ["report"], ["score", "clv", "--purpose", "value", "--out", "x"]],
    ids=" ".join,
)
def test_an_empty_home_says_how_to_begin(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails([*arguments, "--home", str(tmp_path)], 2, "custos run DATASET", capsys=capsys)
    assert main(["status", "--home", str(tmp_path)]) == 0
    assert main(["doctor", "--home", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []


def no_file(shop: dict[str, Any], folder: Path) -> None:
    (folder / "lines.parquet").unlink()


def half_a_file(shop: dict[str, Any], folder: Path) -> None:
    file = folder / "lines.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_column(shop: dict[str, Any], folder: Path) -> None:
    shop["tables"]["transactions"]["columns"]["category"]["from"] = "departement"


def no_sensitivity(shop: dict[str, Any], folder: Path) -> None:
    del shop["tables"]["transactions"]["columns"]["category"]["sensitivity"]


def unknown_key(shop: dict[str, Any], folder: Path) -> None:
    shop["tables"]["transactions"]["colour"] = "red"


def no_transactions(shop: dict[str, Any], folder: Path) -> None:
    del shop["tables"]["transactions"]


def unparsable_time(shop: dict[str, Any], folder: Path) -> None:
    lines = pd.read_parquet(folder / "lines.parquet")
    lines["ts"] = CANARIES[0].email
    lines.to_parquet(folder / "lines.parquet")


def empty_table(shop: dict[str, Any], folder: Path) -> None:
    pd.read_parquet(folder / "lines.parquet").head(0).to_parquet(folder / "lines.parquet")


def all_rows_bad(shop: dict[str, Any], folder: Path) -> None:
    lines = pd.read_parquet(folder / "lines.parquet").assign(price=float("nan"))
    lines.to_parquet(folder / "lines.parquet")


def float_ids(shop: dict[str, Any], folder: Path) -> None:
    lines = pd.read_parquet(folder / "lines.parquet")
    lines.astype({"customer": float}).to_parquet(folder / "lines.parquet")


def consents(shop: dict[str, Any], folder: Path) -> None:
    pd.DataFrame({"customer_id": [CANARIES[0].customer_id]}).to_csv(folder / "consents.csv", index=False)
    column = {"customer_id": {"from": "customer_id", "sensitivity": "direct_identifier"}}
    shop["tables"]["consents"] = {"source": "consents.csv", "columns": column}


def columns_of(shop: dict[str, Any]) -> dict[str, Any]:
    return shop["tables"]["transactions"]["columns"]


def a_second_statement(shop: dict[str, Any], folder: Path) -> None:
    shop["tables"]["transactions"]["where"] = f"1=1); copy (select 1) to '{folder}/stolen.csv'; select (1=1"


def a_subquery(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["category"] = {"sql": "(select content from read_text('x'))", "sensitivity": "behavioural"}


def a_file_of_its_own(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["category"] = {"sql": "1.0) AS amount, (price", "sensitivity": "behavioural"}


def an_identifier_under_another_name(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["leak"] = {"from": "customer", "sensitivity": "behavioural"}


def a_key_inside_an_expression(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["leak"] = {"sql": "'x' || Invoice", "sensitivity": "non_personal"}


def a_whole_row(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["leak"] = {"sql": "read_parquet::varchar", "type": "string", "sensitivity": "behavioural"}


def a_field_of_a_whole_row(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["leak"] = {"sql": "read_parquet['customer']", "type": "string", "sensitivity": "behavioural"}


def where_its_file_lies(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["leak"] = {"sql": "filename", "type": "string", "sensitivity": "behavioural"}


def more_rows_than_there_are(shop: dict[str, Any], folder: Path) -> None:
    many = "case when unnest([true, true]) then department end"
    columns_of(shop)["category"] = {"sql": many, "sensitivity": "behavioural"}


def of_all_rows(shop: dict[str, Any], folder: Path) -> None:
    columns_of(shop)["quantity"] = {"sql": "sum(quantity)", "type": "float", "sensitivity": "behavioural"}


def a_loader_that_raises(shop: dict[str, Any], folder: Path) -> None:
    shop["tables"]["transactions"]["source"] = "tests.loaders:raising"


def a_loader_that_exits(shop: dict[str, Any], folder: Path) -> None:
    shop["tables"]["transactions"]["source"] = "tests.loaders:exiting"


def no_such_zone(shop: dict[str, Any], folder: Path) -> None:
    shop["time_zone"] = "Europe"


CASES: tuple[tuple[Mend, str], ...] = (
    (a_second_statement, "where"),
    (a_subquery, "category"),
    (a_file_of_its_own, "category"),
    (an_identifier_under_another_name, "leak"),
    (a_key_inside_an_expression, "leak"),
    (a_whole_row, "read_parquet"),
    (a_field_of_a_whole_row, "read_parquet"),
    (where_its_file_lies, "filename"),
    (more_rows_than_there_are, "transactions.category"),
    (of_all_rows, "transactions.quantity"),
    (a_loader_that_raises, "tests.loaders:raising"),
    (a_loader_that_exits, "tests.loaders:exiting"),
    (no_such_zone, "time_zone"),
    (no_file, "lines.parquet"),
    (half_a_file, "lines.parquet"),
    (no_column, "departement"),
    (no_sensitivity, "category"),
    (unknown_key, "colour"),
    (no_transactions, "transactions"),
    (unparsable_time, "ordered_at"),
    (empty_table, "transactions"),
    (all_rows_bad, "amount"),
    (float_ids, "customer_id"),
    (consents, "consents"),
)


@pytest.fixture(scope="module")
def good_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("good")
    shop = write_shop(folder / "shop", customers=20)
    assert main(["ingest", str(shop), "--home", str(folder / "home")]) == 0
    return folder / "home", folder / "shop"


@pytest.mark.parametrize(("mend", "word"), CASES, ids=[case[0].__name__ for case in CASES])
def test_bad_data_gets_one_line_and_loses_nothing(
    mend: Mend, word: str, good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = good_home
    before = stored(home)
    write_shop(tmp_path, customers=20)
    shop: dict[str, Any] = descriptor("canary_shop")
    mend(shop, tmp_path)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(shop, sort_keys=False))
    fails(["ingest", str(tmp_path / "shop.yaml"), "--home", str(home)], 2, word, capsys=capsys)
    assert stored(home) == before


def infinite_time(lines: pd.DataFrame) -> pd.DataFrame:
    times = lines.ts.astype(str)
    times.iloc[[3, 5]] = ["infinity", "290000-01-01"]
    return lines.assign(ts=times)


def huge_amount(lines: pd.DataFrame) -> pd.DataFrame:
    prices = lines.price.copy()
    prices.iloc[[3, 5]] = [1e17, 1e300]
    return lines.assign(price=prices)


def empty_keys(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.assign(
        invoice=lines.invoice.where(lines.index != 3, ""), ticket=lines.ticket.where(lines.index != 5, "")
    )


def a_word_among_numbers(lines: pd.DataFrame) -> pd.DataFrame:
    prices = lines.price.astype(object)
    prices.iloc[[3, 5]] = [CANARIES[0].name, "12,50"]
    return lines.assign(price=prices)


ODD: tuple[tuple[Callable[[pd.DataFrame], pd.DataFrame], str], ...] = (
    (infinite_time, "parquet"),
    (huge_amount, "parquet"),
    (empty_keys, "parquet"),
    (a_word_among_numbers, "csv"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "kind"), ODD, ids=[case[0].__name__ for case in ODD])
def test_a_few_odd_rows_are_quarantined_and_the_rest_goes_on(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tmp_path, customers=20)
    lines = spoil(pd.read_parquet(tmp_path / "lines.parquet").dropna().reset_index(drop=True))
    shop: dict[str, Any] = descriptor("canary_shop")
    shop["tables"]["transactions"]["source"] = f"odd.{kind}"
    lines.to_parquet(tmp_path / "odd.parquet") if kind == "parquet" else lines.to_csv(tmp_path / "odd.csv", index=False)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(shop, sort_keys=False))
    home = str(tmp_path / "home")
    assert main(["ingest", str(tmp_path / "shop.yaml"), "--home", home]) == 0
    assert f"{len(lines):,} rows in, {len(lines) - 2:,} kept, 2 quarantined" in capsys.readouterr().out
    assert main(["build", "--home", home]) in {0, 2}  # twenty customers may be too few for a model, not for a crash
    assert "unforeseen" not in capsys.readouterr().err


def test_aware_nanosecond_times_are_read(tmp_path: Path) -> None:
    write_shop(tmp_path, customers=20)
    lines = pd.read_parquet(tmp_path / "lines.parquet")
    lines.assign(ts=lines.ts.astype("datetime64[ns]").dt.tz_localize("Asia/Shanghai")).to_parquet(
        tmp_path / "lines.parquet"
    )
    assert main(["ingest", str(tmp_path / "shop.yaml"), "--home", str(tmp_path / "home")]) == 0


def test_a_key_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path, customers=10)
    shop.write_text("name: first\n" + shop.read_text())
    fails(["ingest", str(shop), "--home", str(tmp_path / "home")], 2, "the key name twice", "line 2", capsys=capsys)


def stored(home: Path) -> dict[str, bytes]:
    """Return the published protected files, by path."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes() for path in sorted((home / "protected").rglob("*.parquet"))
    }


def test_a_wrong_passphrase_is_one_line(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = good_home
    file = home / "keys" / "passphrase"
    right = file.read_bytes()
    file.write_bytes(b"wrong passphrase\n")
    try:
        fails(["ingest", str(shop / "shop.yaml"), "--home", str(home)], 2, "passphrase", capsys=capsys)
    finally:
        file.write_bytes(right)
    assert main(["ingest", str(shop / "shop.yaml"), "--home", str(home)]) == 0


def test_a_lost_passphrase_is_never_made_anew(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = good_home
    file = home / "keys" / "passphrase"
    kept = file.rename(tmp_path / "passphrase")
    try:
        fails(["ingest", str(shop / "shop.yaml"), "--home", str(home)], 4, "passphrase", capsys=capsys)
        assert not file.exists()
    finally:
        kept.rename(file)


def test_a_truncated_keyring_is_one_line_and_stays(
    good_home: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = good_home
    file = home / "keys" / "keyring.json"
    right = file.read_bytes()
    file.write_bytes(right[: len(right) // 2])
    try:
        fails(["ingest", str(shop / "shop.yaml"), "--home", str(home)], 4, "keyring", capsys=capsys)
        assert file.read_bytes() == right[: len(right) // 2]
    finally:
        file.write_bytes(right)


@pytest.mark.parametrize("role", ["data_scientist", "analyst", "marketer", "crm_service", "auditor"])
def test_a_role_that_may_not_is_refused(
    role: str, good_home: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = good_home
    (home / "settings.yaml").write_text(f"operator: somebody\nrole: {role}\n")
    try:
        fails(["subject", "erase", "500000000", "--home", str(home)], 3, role, capsys=capsys)
        grant = ["access", "grant", "--role", "admin", "--purpose", "retention", "--user", "x", "--home", str(home)]
        fails(grant, 3, role, capsys=capsys)
    finally:
        (home / "settings.yaml").unlink()


def test_an_unknown_person_is_not_erased(good_home: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    home, _ = good_home
    assert main(["subject", "erase", "4242424242", "--home", str(home)]) == 2
    assert "4242424242" not in capsys.readouterr().err


def test_nobody_is_erased_while_a_store_is_away(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = good_home
    away = (home / "protected").rename(tmp_path / "protected")
    try:
        fails(["subject", "erase", "nobody", "--home", str(home)], 4, "the protected tables are gone", capsys=capsys)
    finally:
        away.rename(home / "protected")
    away = (home / "quarantine").rename(tmp_path / "quarantine")
    try:
        fails(["subject", "erase", "nobody", "--home", str(home)], 4, "the quarantine is gone", capsys=capsys)
    finally:
        away.rename(home / "quarantine")


@pytest.mark.parametrize("place", ["keys/keyring.json", "state.json", "new.parquet"])
def test_nothing_is_written_over_the_home_itself(
    good_home: tuple[Path, Path], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = good_home
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "audit" not in str(path)}
    out, at = str(home / place), ["--home", str(home)]
    fails(["score", "clv", "--purpose", "value", "--out", out, *at], 2, "inside the home", capsys=capsys)
    asked = ["identify", "--purpose", "value", "--reason", "test", "--in", out, "--out", out, *at]
    fails(asked, 2, "inside the home", capsys=capsys)
    assert {path: path.read_bytes() for path in before} == before


def test_nothing_is_written_over_the_file_to_read(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other, renamed = tmp_path / "tokens.csv", tmp_path / "same.csv", tmp_path / "tokens.pq"
    own.write_text("customer_token,event_timestamp\n")
    other.hardlink_to(own)
    at = ["--purpose", "value", "--home", str(good_home[0])]
    history = ["features", "history", "--service", "clv_v1", str(own), "--out", str(other), *at]
    fails(history, 2, "this is the file to read", capsys=capsys)
    own.rename(renamed)
    identify = ["identify", "--reason", "test", "--in", str(renamed), "--out", str(renamed), *at]
    fails(identify, 2, "this is the file to read", capsys=capsys)
    assert renamed.read_text() == "customer_token,event_timestamp\n"


def test_what_can_not_be_meant_is_refused_before_any_work(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = good_home
    at = ["--home", str(home)]
    out = tmp_path / "scores.csv"
    fails(
        ["score", "clv", "--purpose", "value", "--out", str(out), *at],
        2,
        "written here, but parquet; end --out with .parquet or .pq",
        capsys=capsys,
    )
    assert not out.exists()
    told = fails(["build", "--as-of", "2190-01-01", *at], 2, "after the last event", capsys=capsys)
    assert "give an earlier --as-of" in told


def test_a_home_that_databases_cannot_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mark in "?*[":
        fails(["status", "--home", str(tmp_path / f"a{mark}b")], 2, f"holds {mark}", capsys=capsys)


def test_a_home_that_lost_its_state_still_takes_no_other_shop(
    good_home: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = good_home
    other = tmp_path / "other.yaml"
    other.write_text((shop / "shop.yaml").read_text("utf-8").replace("name: ", "name: other_", 1), "utf-8")
    away = (home / "state.json").rename(tmp_path / "state.json")
    try:
        fails(["ingest", str(other), "--home", str(home)], 2, "use another --home", capsys=capsys)
    finally:
        away.rename(home / "state.json")


def test_a_descriptor_that_is_no_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.yaml").write_text("name: [unclosed")
    fails(["ingest", str(tmp_path / "shop.yaml"), "--home", str(tmp_path / "home")], 2, "shop.yaml", capsys=capsys)


def test_a_taken_port_is_told_before_mlflow_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = ["mlflow", "--port", str(port), "--home", str(tmp_path)]
        fails(told, 4, f"can't listen on 127.0.0.1 port {port}", capsys=capsys)
