"""A descriptor's SQL is one expression over the columns of its table: nothing closes it but its own end."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from features import sources
from features.datasets.descriptor import Descriptor, load_descriptor
from features.expressions import check_expressions, references
from privacy.errors import BadInput
from tests.shops import make_shop


def shop(folder: Path, **columns: object) -> Descriptor:
    path = make_shop(folder, customers=6)
    document = yaml.safe_load(path.read_text())
    document["tables"]["transactions"]["columns"] |= columns
    path.write_text(yaml.safe_dump(document))
    return load_descriptor(str(path))


def test_a_comment_hides_no_bracket(tmp_path: Path) -> None:
    smuggled = f'\'\n) AS "quantity", (customer) AS "product_id" FROM read_parquet([$${tmp_path}/lines.parquet$$]) --\''
    descriptor = shop(
        tmp_path,
        quantity={"sql": "quantity --", "type": "float", "sensitivity": "behavioural"},
        product_id={"sql": smuggled, "type": "string", "sensitivity": "non_personal"},
    )
    check_expressions(descriptor)
    for batch in sources.batches(descriptor, descriptor.tables["transactions"]):
        assert set(batch.column("product_id").to_pylist()) == {smuggled[1:-1]}


def test_a_field_of_a_structure_is_its_column(tmp_path: Path) -> None:
    descriptor = shop(
        tmp_path,
        customer_id={"sql": "person.customer", "type": "string", "sensitivity": "direct_identifier"},
        category={"sql": "person['customer'] || ''", "type": "string", "sensitivity": "behavioural"},
    )
    with pytest.raises(BadInput, match=r"'transactions\.category' reads a source column that identifies people"):
        check_expressions(descriptor)


@pytest.mark.parametrize(
    "text",
    ["sum(a)", "max(a)", "unnest([1, 2])", "list(a)", "generate_subscripts([1], 1)", "a over ()",
     "row_number() over ()", "(select 1)", "*", "columns('a')", "x -> x + 1", "a; select 1", "a) , (b", "a) --",
     "range(3) from t"],
)  # fmt: skip
def test_what_is_no_expression_over_one_row_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"the SQL of t\.c is not one plain expression"):
        references(text, "t.c")


@pytest.mark.parametrize(
    ("text", "names"),
    [("greatest(a, b)", {("a",), ("b",)}), ("trim(A) || '--'", {("a",)}), ("p.q.r", {("p", "q", "r")}),
     ("case when a like 'x%' then 1 end", {("a",)}), ("strptime(a, '%d.%m.%Y')", {("a",)}), ("1 -- one", set()),
     ("list_sum([a, b])", {("a",), ("b",)}), ("a::date - interval 1 day", {("a",)}), ("a in (1, 2)", {("a",)})],
)  # fmt: skip
def test_what_one_row_tells_is_an_expression(text: str, names: set[tuple[str, ...]]) -> None:
    assert references(text, "t.c") == names
