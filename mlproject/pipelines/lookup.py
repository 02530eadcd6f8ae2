"""Online features of a few customers, as one purpose may see them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from privacy.errors import BadInput

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["online_features", "online_table"]


def online_features(house: House, service: str, purpose: str, tokens: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row a token, in order: the token, its status (`ok` or `unknown`) and its features."""
    import pyarrow as pa

    from privacy.tokens import valid_tokens

    mistyped = int((~valid_tokens(pa.array(tokens, pa.string()), purpose)).sum())
    if mistyped:
        remedy = "take them from `custos score` with the same --purpose"
        raise BadInput(f"{mistyped} of {len(tokens)} are not tokens of the purpose {purpose}", remedy=remedy)
    answer = house.gateway.online(house.operator(purpose), service, list(tokens))
    rows: list[dict[str, Any]] = []
    for index, token in enumerate(tokens):
        known = bool(answer.present[index])
        row: dict[str, Any] = {"customer": token, "status": "ok" if known else "unknown"}
        if known:
            values = (float(value) for value in answer.values[index])
            row["features"] = {
                name: None if math.isnan(value) else value for name, value in zip(answer.columns, values, strict=True)
            }
        rows.append(row)
    return rows


def online_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows as lines: a feature a line, a column a customer."""
    names = list(next((row["features"] for row in rows if "features" in row), {}))
    for number, row in enumerate(rows, 1):
        yield f"[{number}] {row['customer']}  {row['status']}"
    yield f"{'':<28}" + "".join(f"{f'[{number}]':>14}" for number in range(1, len(rows) + 1))
    for name in names:
        cells = (row.get("features", {}).get(name) for row in rows)
        yield f"{name:<28}" + "".join(f"{'-' if cell is None else f'{cell:.6g}':>14}" for cell in cells)
