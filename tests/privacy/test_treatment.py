from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from privacy.classification import Sensitivity
from privacy.errors import BadInput
from privacy.keyring import Keyring
from privacy.tokens import tokens_to_handles
from privacy.treatment import ColumnRule, Protector, ProtectReport, TablePlan
from privacy.vault import Vault

ORDERS = TablePlan(
    "transactions",
    (
        ColumnRule("customer_id", Sensitivity.DIRECT_IDENTIFIER, "subject"),
        ColumnRule("order_id", Sensitivity.BEHAVIOURAL, "key"),
        ColumnRule("ordered_at", Sensitivity.BEHAVIOURAL),
        ColumnRule("amount", Sensitivity.BEHAVIOURAL),
    ),
    dated_by="ordered_at",
)
CUSTOMERS = TablePlan(
    "customers",
    (
        ColumnRule("customer_id", Sensitivity.DIRECT_IDENTIFIER, "subject"),
        ColumnRule("name", Sensitivity.DIRECT_IDENTIFIER),
        ColumnRule("email", Sensitivity.DIRECT_IDENTIFIER, mask="email"),
        ColumnRule("born", Sensitivity.QUASI_IDENTIFIER, mask="year"),
        ColumnRule("zip", Sensitivity.QUASI_IDENTIFIER),
        ColumnRule("health", Sensitivity.SENSITIVE, mask="redact"),
        ColumnRule("tier", Sensitivity.BEHAVIOURAL),
    ),
)
T0 = datetime(2024, 1, 1, tzinfo=UTC)


def orders(**changes: list[object]) -> pa.RecordBatch:
    columns: dict[str, list[object]] = {
        "customer_id": [1, 2, 1, 1],
        "order_id": ["o-1", "o-1", "o-1", None],
        "ordered_at": [T0, T0, T0, T0],
        "amount": [1.0, 2.0, 3.0, 4.0],
    }
    return pa.RecordBatch.from_pydict({**columns, **changes})


def run(protector: Protector, plan: TablePlan, *batches: pa.RecordBatch) -> tuple[pa.Table, ProtectReport]:
    report = ProtectReport()
    return pa.Table.from_batches(list(protector.protect(batches, plan, report))), report


@pytest.fixture
def protector(vault: Vault, keyring: Keyring) -> Protector:
    return Protector(vault, keyring)


def test_ids_and_keys_become_tokens(protector: Protector, vault: Vault, keyring: Keyring) -> None:
    table, report = run(protector, ORDERS, orders(), orders())
    assert table.column_names == ["customer_token", "order_token", "ordered_at", "amount"]
    assert (report.rows_in, report.rows_out, report.tombstoned, report.columns_dropped) == (8, 8, 0, [])
    handles, known = tokens_to_handles(keyring, table["customer_token"], "features")
    assert known.all()
    assert vault.source_ids(handles).to_pylist() == [1, 2, 1, 1, 1, 2, 1, 1]
    keys = table["order_token"].to_pylist()
    assert keys[:4] == keys[4:]
    assert keys[0] == keys[2]
    assert keys[0] != keys[1]  # the same order id of another person
    assert keys[3] is None
    assert re.fullmatch("[0-9a-f]{32}", keys[0])


def test_customers_keep_only_what_is_masked_or_open(protector: Protector, vault: Vault) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "customer_id": ["a", "b"],
            "name": ["王芳", None],
            "email": ["wf@x.cn", None],
            "born": ["1990-01-02", "2000-02-03"],
            "zip": ["100000", "2"],
            "health": ["CANARY", "x"],
            "tier": ["gold", "tin"],
        }
    )
    table, report = run(protector, CUSTOMERS, batch)
    assert report.columns_dropped == ["name", "zip", "health"]
    assert table.drop_columns("customer_token").to_pylist() == [
        {"email": "w**@x.cn", "born": "1990", "tier": "gold"},
        {"email": None, "born": "2000", "tier": "tin"},
    ]
    handle = vault.find(pa.array(["a"]))[0][0].tobytes()
    record = vault.record(handle)
    assert record is not None
    assert record.attributes == {"name": "王芳", "email": "wf@x.cn"}


def test_undeclared_and_missing_columns_are_refused_by_name(protector: Protector) -> None:
    with pytest.raises(BadInput, match=r"transactions\.secret_column"):
        run(protector, ORDERS, orders(secret_column=["CANARY"] * 4))
    with pytest.raises(BadInput, match="column amount is missing"):
        run(protector, ORDERS, orders().drop_columns(["amount"]))


def test_rows_without_a_subject_are_refused_with_their_number(protector: Protector) -> None:
    with pytest.raises(BadInput, match="2 rows have no subject"):
        run(protector, ORDERS, orders(customer_id=[1, None, None, 1]))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (TablePlan("t", (*ORDERS.columns, ORDERS.columns[0])), "declared twice"),
        (TablePlan("t", (*ORDERS.columns, ColumnRule("x", Sensitivity.DIRECT_IDENTIFIER, "subject"))), "two columns"),
        (TablePlan("t", ORDERS.columns, "when"), "no column when"),
        (TablePlan("t", (ColumnRule("a", Sensitivity.BEHAVIOURAL, mask="blur"),)), "unknown mask blur"),
        (TablePlan("t", (ColumnRule("a_id", Sensitivity.BEHAVIOURAL, "key"),)), "needs a subject"),
        (TablePlan("t", (*ORDERS.columns, ColumnRule("order_token", Sensitivity.BEHAVIOURAL))), "same protected name"),
    ],
)
def test_plans_that_make_no_sense_are_refused(protector: Protector, plan: TablePlan, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run(protector, plan, orders())


def test_a_table_without_subject_keeps_only_open_columns(protector: Protector) -> None:
    plan = TablePlan(
        "products",
        (
            ColumnRule("product_id", Sensitivity.NON_PERSONAL),
            ColumnRule("category", Sensitivity.BEHAVIOURAL),
            ColumnRule("seller_mail", Sensitivity.DIRECT_IDENTIFIER, mask="email"),
        ),
    )
    batch = pa.RecordBatch.from_pydict({"product_id": [1], "category": ["tea"], "seller_mail": ["x@y.cn"]})
    table, report = run(protector, plan, batch)
    assert table.to_pylist() == [{"product_id": 1, "category": "tea"}]
    assert report.columns_dropped == ["seller_mail"]


def test_rows_of_the_erased_are_dropped_and_a_returning_customer_is_new(protector: Protector, vault: Vault) -> None:
    before, _ = run(protector, ORDERS, orders())
    handle = vault.find(pa.array([1]))[0][0].tobytes()
    vault.bury(pa.array([1]), T0, "r1")
    vault.sever(handle, "r1")
    later = T0 + timedelta(seconds=1)
    after, report = run(protector, ORDERS, orders(ordered_at=[T0, T0, later, None]))
    assert report.tombstoned == 2
    assert after["amount"].to_pylist() == [2.0, 3.0]
    assert before["customer_token"][1] == after["customer_token"][0]
    assert before["customer_token"][0] != after["customer_token"][1]


def test_on_trial_people_are_taken_back_when_it_fails(protector: Protector, vault: Vault) -> None:
    run(protector, ORDERS, orders(customer_id=[1, 1, 1, 1]))
    with suppress(BadInput), protector.on_trial():
        run(protector, ORDERS, orders())
        raise BadInput("refused")
    assert vault.find(pa.array([1, 2]))[1].tolist() == [True, False]
    with protector.on_trial():
        run(protector, ORDERS, orders())
    assert vault.find(pa.array([1, 2]))[1].all()
    run(protector, ORDERS, orders(customer_id=[3, 3, 3, 3]))
    assert len(vault) == 3


def test_people_lists_everyone_once_with_an_audit_reference(protector: Protector, vault: Vault) -> None:
    table, _ = run(protector, ORDERS, orders(), orders())
    people = protector.people()
    assert people.column_names == ["customer_token", "audit_reference"]
    assert sorted(people["customer_token"].to_pylist()) == sorted(set(table["customer_token"].to_pylist()))
    assert len(set(people["audit_reference"].to_pylist())) == 2
    assert Protector(vault, vault._keyring).people().num_rows == 0


def test_empty_batches_keep_the_schema(protector: Protector) -> None:
    full, _ = run(protector, ORDERS, orders())
    empty, report = run(protector, ORDERS, orders().slice(0, 0))
    assert empty.schema.equals(full.schema)
    assert report.rows_out == 0
