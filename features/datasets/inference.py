"""What a descriptor says must not be inferred, and which lines show it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field

from privacy.errors import BadInput
from privacy.sensitive_words import lexicons

if TYPE_CHECKING:
    from .tables import Table

__all__ = ["MARKED_TABLES", "PRODUCT", "Inference", "check_inference", "check_withheld", "withholdable"]

NEEDED: Final = frozenset({"recency_days", "spend_rate", "decayed_orders_28"})
"""Features that baselines and the status of an answer are made of, beside the statistics."""
PRODUCT: Final = "product_id"
"""The column by which a line's product is found among the products."""
MARKED_TABLES: Final = ("transactions", "interactions", "products")


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Value = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
Inference = Mapping[
    str, Annotated[Mapping[str, Annotated[tuple[Value, ...], Field(min_length=1)]], Field(min_length=1)]
]
"""Attribute -> `table.column` -> the values that show it."""


def check_inference(inference: Inference, tables: Mapping[str, Table], where: str) -> None:
    """Refuse an attribute without a word list, a column that isn't there, and one that can't be matched.

    Raises BadInput naming the place.
    """
    for attribute, columns in inference.items():
        if attribute not in lexicons():
            remedy = f"use one of {', '.join(lexicons())}"
            raise BadInput(f"inference: unknown attribute '{attribute}'", where=where, remedy=remedy)
        for place in columns:
            _check_place(f"inference.{attribute}", place, tables, where)


def check_withheld(withheld: Collection[str], where: str, *, slow: bool) -> None:
    """Refuse to withhold a feature that there isn't, or one that no model, baseline or status can do without.

    Raises BadInput naming the feature.
    """
    if not withheld:
        return
    from features.transforms.registry import every_feature  # the descriptor stays light to import

    known = {feature.name for feature in every_feature(slow)}
    for name in withheld:
        if name not in known:
            raise BadInput(
                f"withhold: there is no feature '{name}'", where=where, remedy="`custos features list` lists them"
            )
        if name not in withholdable(slow=slow):
            raise BadInput(f"withhold: no model does without '{name}'", where=where, remedy="leave it out of the list")


def withholdable(*, slow: bool) -> frozenset[str]:
    """Return the features that a descriptor may withhold: all but those that a model, baseline or status needs."""
    from features.transforms.registry import Use, every_feature

    needed = {Use.STATISTIC, Use.STATUS}
    return frozenset(each.name for each in every_feature(slow) if each.use not in needed and each.name not in NEEDED)


def _check_place(part: str, place: str, tables: Mapping[str, Table], where: str) -> None:
    table, _, column = place.partition(".")
    if table not in MARKED_TABLES:
        remedy = f"name a column of {', '.join(MARKED_TABLES)}, as in products.category"
        raise BadInput(
            f"{part}: '{place}' is no column of a table whose lines can be marked", where=where, remedy=remedy
        )
    if table not in tables or column not in tables[table].columns:
        raise BadInput(
            f"{part}: there is no column '{place}'", where=where, remedy="list it in the table, or mend the name"
        )
    if tables[table].role_of(column) == "subject":
        raise BadInput(
            f"{part}: '{place}' names people, not lines", where=where, remedy="mark what the lines are about"
        )
    if table == "products":
        lacking = [name for name in ("transactions", "products") if PRODUCT not in tables[name].columns]
        if lacking:
            what = f"{part}: '{place}' can't be found from a line: table '{lacking[0]}' has no column '{PRODUCT}'"
            raise BadInput(what, where=where, remedy=f"list {PRODUCT} in both tables, or mark columns of transactions")
