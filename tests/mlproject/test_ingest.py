"""What an ingest points out of a descriptor and keeps of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from features.datasets.descriptor import load_descriptor, parse_descriptor
from mlproject.cli import main
from mlproject.pipelines.ingest import contact_columns
from tests.postgres import Server
from tests.shops import make_shop, shop_document, write_descriptor

SECRET = "hunter2-swordfish"


def test_a_column_named_like_a_contact_detail_and_stored_as_it_is_is_pointed_out() -> None:
    document = shop_document()
    assert contact_columns(parse_descriptor(document, Path(), "shop.yaml")) == []
    columns = document["tables"]["customers"]["columns"]
    columns["phone"]["sensitivity"] = "non_personal"
    columns["reach"] = {"from": "E-Mail", "sensitivity": "behavioural"}
    assert contact_columns(parse_descriptor(document, Path(), "shop.yaml")) == ["customers.phone", "customers.reach"]


def test_the_sample_shop_gives_no_cause() -> None:
    assert contact_columns(load_descriptor("complete_journey")) == []


def digest_of(home: Path) -> str:
    return str(json.loads((home / "report.json").read_text())["dataset"]["digest"])


@pytest.mark.slow
def test_a_home_goes_on_by_the_descriptor_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, shop = tmp_path / "elsewhere" / "home", make_shop(tmp_path / "data" / "shop", customers=8)
    assert main(["ingest", str(shop), "--home", str(home)]) == 0
    first, kept = digest_of(home), home / "datasets" / "corner_shop.yaml"
    shop.unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for again in (kept, Path("home/datasets/corner_shop.yaml"), kept):
        assert main(["ingest", str(again), "--home", str(home)]) == 0, capsys.readouterr().err
        assert digest_of(home) == first
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert main(["ingest", str(kept), "--home", str(home)]) == 2
    assert "table 'transactions': no file 'lines.parquet'" in capsys.readouterr().err


def test_a_databases_password_stays_in_its_variable(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, folder = tmp_path / "home", tmp_path / "shop"
    make_shop(folder, customers=8)
    schema = postgres.database()
    lines = pq.read_table(folder / "lines.parquet")
    with postgres._connected() as connection:
        connection.execute("DROP ROLE IF EXISTS shop_reader")
        connection.execute(f"CREATE ROLE shop_reader LOGIN PASSWORD '{SECRET}'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO shop_reader")
        connection.execute(
            f"CREATE TABLE {schema}.lines (customer text, invoice text, ts timestamptz, quantity float,"
            " price numeric(9, 2), stock int, department text, discount float, cashier text)"
        )
        with connection.cursor() as cursor:
            rows = [tuple(row[name] for name in lines.column_names) for row in lines.to_pylist()]
            cursor.executemany(f"INSERT INTO {schema}.lines VALUES ({', '.join(['%s'] * 9)})", rows)
        connection.execute(f"GRANT SELECT ON {schema}.lines TO shop_reader")
    document = shop_document()
    document["tables"]["transactions"]["source"] = {
        "url": postgres.url(schema).replace("custos@", "shop_reader@"),
        "query": "SELECT * FROM lines",
        "password_env": "SHOP_PASSWORD",
    }
    shop = write_descriptor(folder, document)
    assert main(["ingest", str(shop), "--home", str(home)]) == 2
    assert "the variable SHOP_PASSWORD is not set" in capsys.readouterr().err
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    for descriptor in (shop, home / "datasets" / "corner_shop.yaml"):
        assert main(["ingest", str(descriptor), "--home", str(home)]) == 0
    told = capsys.readouterr()
    assert f"transactions: {lines.num_rows:,} rows in, {lines.num_rows:,} kept" in told.out
    kept = yaml.safe_load((home / "datasets" / "corner_shop.yaml").read_text())
    assert kept["tables"]["transactions"]["source"]["password_env"] == "SHOP_PASSWORD"
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert SECRET.encode() not in everything
    assert SECRET not in told.out + told.err
