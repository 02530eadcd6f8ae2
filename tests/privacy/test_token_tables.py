"""Protection in two halves gives what protection in one place gives, and tells the half without keys no token's key."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from privacy.classification import Sensitivity
from privacy.errors import BadInput
from privacy.inference import Marks
from privacy.keyring import Keyring
from privacy.table_plan import ColumnRule, TablePlan
from privacy.token_tables import ID, LATEST, accepted, joined_schema, key_name, keyless_rows, token_tables
from privacy.treatment import Protector, ProtectReport
from privacy.vault import Vault

T0 = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LINES = TablePlan(
    "transactions",
    (
        ColumnRule("customer_id", Sensitivity.DIRECT_IDENTIFIER, "subject"),
        ColumnRule("order_id", Sensitivity.BEHAVIOURAL, "key"),
        ColumnRule("ordered_at", Sensitivity.BEHAVIOURAL),
        ColumnRule("phone", Sensitivity.DIRECT_IDENTIFIER, mask="phone"),
        ColumnRule("kind", Sensitivity.BEHAVIOURAL),
        ColumnRule("zip", Sensitivity.QUASI_IDENTIFIER),
    ),
    dated_by="ordered_at",
    marks=Marks({"infant": {"kind": {"diapers"}}}),
    held=("zip",),
)
ROWS = pa.RecordBatch.from_pydict(
    {
        "customer_id": ["ann", "bob", "ann", "eve", "eve", "cyd", "bob"],
        "order_id": ["1", "1", "1", "2", "3", None, "4"],
        "ordered_at": [T0, T0, T0 + DAY, T0, T0 + 3 * DAY, T0, T0 + DAY],
        "phone": ["13812345678", None, "13900000000", "1", "13700000000", "x", None],
        "kind": ["tea", "Diapers", None, "tea", "diapers ", "tea", "tea"],
        "zip": ["10", "11", "10", None, "12", "13", "11"],
    }
)
UNDATED = dataclasses.replace(LINES, dated_by=None, marks=None, held=())


def erase(vault: Vault, *people: str) -> None:
    for who in people:
        vault.bury(pa.array([who]), T0 + DAY, "receipt")
        vault.sever(bytes(16), "receipt")


def in_halves(protector: Protector, plan: TablePlan, rows: pa.RecordBatch) -> tuple[pa.Table, ProtectReport]:
    """As executors and driver do it, with Arrow's joins."""
    report, half = ProtectReport(), keyless_rows(rows, plan)
    dates = rows.column("ordered_at").cast(pa.timestamp("us", "UTC"))
    each = pa.table(
        {ID: rows.column("customer_id"), LATEST: dates if plan.dated_by else pa.nulls(len(dates), dates.type)}
    )
    latest = each.group_by(ID).aggregate([(LATEST, "max")]).select([ID, f"{LATEST}_max"]).rename_columns([ID, LATEST])
    records = pa.table({**dict(zip(each.column_names, each.columns, strict=True)), "phone": rows.column("phone")})
    pairs = pa.table({ID: rows.column("customer_id"), key_name("order_id"): rows.column("order_id")})
    pairs = pairs.filter(pairs[key_name("order_id")].is_valid()).group_by(pairs.column_names).aggregate([])
    tokens = token_tables(protector, latest, records.to_batches(), {"order_id": pairs}, plan)
    joined = pa.Table.from_batches([half]).append_column("at", pa.array(range(half.num_rows)))
    joined = joined.join(tokens.people, ID, join_type="left outer")
    joined = joined.join(tokens.keys["order_id"], [ID, key_name("order_id")], join_type="left outer").sort_by("at")
    wanted = joined_schema(half.schema, plan)
    batch = joined.select(wanted.names).cast(wanted).combine_chunks().to_batches()[0]
    return pa.Table.from_batches([accepted(protector, batch, plan, report)]), report


@pytest.mark.parametrize("plan", [LINES, UNDATED], ids=["dated", "undated"])
@pytest.mark.parametrize("gone", [(), ("ann", "eve"), ("cyd",)])
def test_both_halves_are_the_whole(vault: Vault, keyring: Keyring, plan: TablePlan, gone: tuple[str, ...]) -> None:
    erase(vault, *gone)
    whole, halves = Protector(vault, keyring), Protector(vault, keyring)
    done = ProtectReport()
    expected = pa.Table.from_batches(whole.protect([ROWS], plan, done))
    found, report = in_halves(halves, plan, ROWS)
    assert found.to_pylist() == expected.to_pylist()
    assert found.schema.equals(expected.schema)
    assert (report.rows_in, report.rows_out, report.tombstoned) == (done.rows_in, done.rows_out, done.tombstoned)
    assert (report.marked, report.marked_by) == (done.marked, done.marked_by)
    assert [flags.to_pylist() for flags in report.flags] == [flags.to_pylist() for flags in done.flags]
    assert halves.people()["customer_token"].to_pylist() == whole.people()["customer_token"].to_pylist()
    held = [protector.take_held() for protector in (halves, whole)]
    assert repr([each and each.to_pylist() for each in held[:1]]) == repr(
        [each and each.to_pylist() for each in held[1:]]
    )


def test_who_is_erased_with_every_row_isnt_registered_and_later_records_win(vault: Vault, keyring: Keyring) -> None:
    erase(vault, "cyd", "eve")
    in_halves(Protector(vault, keyring), LINES, ROWS)
    handles, known = vault.find(pa.array(["ann", "eve", "cyd"]))
    assert known.tolist() == [True, True, False]
    records: list[Any] = [vault.record(handle.tobytes()) for handle in handles[:2]]
    assert [record.identities[0].attributes["phone"] for record in records] == ["13900000000", "13700000000"]


def test_rows_without_keys_hold_no_token_and_an_undeclared_column_stops_them() -> None:
    half = keyless_rows(ROWS, LINES)
    assert not [name for name in half.schema.names if name.endswith("_token")]
    assert half.column("phone").to_pylist()[0] == "138****5678"
    with pytest.raises(BadInput, match="column secret has no declared sensitivity"):
        keyless_rows(ROWS.append_column("secret", ROWS.column("zip")), LINES)


def test_refused_until_agrees_with_tombstoned(vault: Vault, tmp_path: Path) -> None:
    erase(vault, "eve")
    vault.bury(pa.array(["bob"]), T0, "under way")
    ids, ages = pa.array(["ann", "bob", "eve"]), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert vault.refused_until(ids, dated=True).to_pylist() == [None, ages, T0 + DAY]
    assert vault.refused_until(ids, dated=False).to_pylist() == [None, ages, ages]
    assert vault.tombstoned(ids).tolist() == [False, True, True]
