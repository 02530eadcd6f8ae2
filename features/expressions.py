"""A descriptor's own SQL: one scalar expression over the columns of its source, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import duckdb

from features.datasets.descriptor import USABLE, Descriptor
from features.datasets.tables import Table
from privacy.classification import Sensitivity
from privacy.errors import BadInput

__all__ = ["check_expressions", "columns_of", "expression_faults", "references"]

# Other tables, whole rows and other rows are none of an expression's business.
REFUSED: Final = frozenset({"SUBQUERY", "STAR", "WINDOW", "LAMBDA"})
MANY_ROWS: Final = frozenset({"unnest", "unlist", "generate_subscripts"})


def check_expressions(descriptor: Descriptor) -> None:
    """Hold a descriptor's SQL to single expressions, and keep identifiers from passing under another name."""
    for table in descriptor.tables.values():
        for fault in expression_faults(table):
            raise fault


def expression_faults(table: Table) -> Iterator[BadInput]:
    """Yield what is wrong with the SQL of one table."""
    reads: dict[str, frozenset[str]] = {}
    for name in table.columns:
        try:
            reads[name] = _reads(table, name)
        except BadInput as fault:
            yield fault
    if table.where:
        try:
            columns_of(table.where, f"{table.name}.where")
        except BadInput as fault:
            yield fault
    naming = {
        source
        for name, sources in reads.items()
        if table.role_of(name) == "subject" or table.columns[name].sensitivity is Sensitivity.DIRECT_IDENTIFIER
        for source in sources
    }
    keys = {source for name, sources in reads.items() if table.role_of(name) == "key" for source in sources}
    for name, sources in reads.items():
        open_attribute = table.role_of(name) == "attribute" and table.columns[name].sensitivity in USABLE
        # What dates the rows is a time and tells no more than that, also where orders have no other key.
        hidden = naming if name == table.event_column else naming | keys
        if open_attribute and sources & hidden:
            yield BadInput(
                f"column '{table.name}.{name}' reads a source column that identifies people or leads back to them",
                remedy="declare it a direct_identifier, or add 'key: true', or leave it out",
            )


def _reads(table: Table, name: str) -> frozenset[str]:
    column = table.columns[name]
    if column.sql:
        return columns_of(column.sql, f"{table.name}.{name}")
    return frozenset({str(column.source).lower()})


def columns_of(text: str, where: str) -> frozenset[str]:
    """Return every word, in lower case, that names a column in one scalar expression, or a field in one.

    Raises BadInput, naming `where`, as `references` does.

    >>> sorted(columns_of("quantity * Price", "transactions.amount"))
    ['price', 'quantity']
    """
    return frozenset(name for reference in references(text, where) for name in reference)


@lru_cache(maxsize=512)
def references(text: str, where: str) -> frozenset[tuple[str, ...]]:
    """Return what one scalar expression refers to, in lower case: a column, or a column and fields in it.

    Raises BadInput, naming `where`, for several statements, a subquery, a star, a window, a function of many rows or
    one that gives many, and broken SQL.

    >>> sorted(references("quantity * basket.Price", "transactions.amount"))
    [('basket', 'price'), ('quantity',)]
    """
    with duckdb.connect() as connection:
        # The line's end closes a comment, so what follows it can't be cut away.
        row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({text}\n)"]).fetchone()
        try:
            tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
        except RecursionError:
            raise _no_expression(where) from None
        if tree.get("error") or len(tree["statements"]) != 1:
            raise _no_expression(where)
        node = tree["statements"][0]["node"]
        plain = node.get("type") == "SELECT_NODE" and len(node["select_list"]) == 1 and not node.get("modifiers")
        if not plain or node["from_table"]["type"] != "EMPTY":
            raise _no_expression(where)
        parts = list(_parts(node["select_list"][0]))
        called = {part["function_name"].lower() for part in parts if part["class"] == "FUNCTION"}
        if REFUSED & {part["class"] for part in parts} or MANY_ROWS & called or _of_many(connection, called):
            raise _no_expression(where)
    named = (part["column_names"] for part in parts if part["class"] == "COLUMN_REF")
    return frozenset(tuple(name.lower() for name in names) for names in named)


def _of_many(connection: duckdb.DuckDBPyConnection, called: set[str]) -> bool:
    """Whether one of these functions can only be of many rows, or give a table."""
    kinds = "SELECT function_type IN ('scalar', 'macro') FROM duckdb_functions() WHERE function_name = ?"
    told = [{bool(one) for (one,) in connection.execute(kinds, [name]).fetchall()} for name in called]
    return any(scalar == {False} for scalar in told)


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression in a syntax tree, the outermost first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _parts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _parts(value)


def _no_expression(where: str) -> BadInput:
    remedy = "write one expression over the source's columns, such as quantity * price"
    return BadInput(f"the SQL of {where} is not one plain expression", where=where, remedy=remedy)
