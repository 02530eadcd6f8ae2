"""Online features of a few customers, as one purpose may see them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlproject.pipelines.build import data_time
from mlproject.pipelines.inference import require_service
from mlproject.pipelines.score import check_out, write_parquet
from privacy.counted import counted
from privacy.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from features.datasets.descriptor import Descriptor
    from features.gateway_types import OnlineAnswer
    from mlproject.wiring import House
    from privacy.policy import Principal

__all__ = ["export_features", "features_now", "online_features", "online_table", "require_tokens", "shop_of"]


def online_features(house: House, service: str, purpose: str, tokens: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row a token, in order: the token, its status (`ok` or `unknown`) and its features."""
    answer = features_now(house, house.operator(purpose), service, tokens)
    rows: list[dict[str, Any]] = []
    for index, token in enumerate(tokens):
        known = bool(answer.present[index])
        row: dict[str, Any] = {"customer": token, "status": "ok" if known else "unknown"}
        if known:
            values = (float(value) for value in answer.values[index])
            row["features"] = {
                name: None if math.isnan(value) else value for name, value in zip(answer.columns, values, strict=True)
            }
            row["features"] |= {name: told[index] for name, told in answer.texts.items()}
        rows.append(row)
    return rows


def features_now(house: House, principal: Principal, service: str, tokens: Sequence[str]) -> OnlineAnswer:
    """Return the online features of `tokens`, which are of the principal's purpose; audited.

    Raises Refused, CheckFailed (the inference gate) or BadInput for what is no such token.
    """
    import pyarrow as pa

    house.gateway.require(principal, service, len(tokens))  # what may not be asked, whoever it is about
    require_service(house, service)
    require_tokens(pa.array(tokens, pa.string()), str(principal.purpose))
    return house.gateway.online(principal, service, list(tokens))


def require_tokens(tokens: pa.Array, purpose: str) -> None:
    """Raise BadInput, with their number, where some are not tokens of a purpose; whose they are isn't looked at."""
    from privacy.tokens import valid_tokens

    mistyped = int((~valid_tokens(tokens, purpose)).sum())
    if mistyped:
        remedy = "take them from `custos score` or `custos features export` with the same --purpose"
        are = "is no token" if mistyped == 1 else "are not tokens"
        raise BadInput(f"{mistyped} of {len(tokens)} {are} of the purpose {purpose}", remedy=remedy)


def export_features(house: House, service: str, purpose: str, out: Path, *, as_of: datetime | None) -> Iterator[str]:
    """Write everybody's features at data time to a parquet file, under tokens of the purpose."""
    from privacy.classification import FEATURE_STORE
    from privacy.tokens import translate

    check_out(house, out)
    house.gateway.require(house.operator(purpose), service)
    require_service(house, service)
    moment = data_time(house.state, as_of)
    rows = house.gateway.snapshot_rows(house.operator(purpose), service, moment)
    tokens = translate(house.sealed, rows["customer_token"].combine_chunks(), FEATURE_STORE, purpose)
    table = rows.set_column(0, "customer_token", tokens).rename_columns(
        ["as_of" if name == "event_timestamp" else name for name in rows.column_names]
    )
    # Another purpose's tokens sort in another order, so the rows say nothing about the feature store's.
    write_parquet(table.sort_by("customer_token"), out)
    people, told = counted(table.num_rows, "person", "people"), counted(table.num_columns - 2, "feature")
    yield f"{out} (parquet): {people}, {told} of {service} as of {moment.date()}"


def shop_of(house: House) -> Descriptor | None:
    """The home's shop, None before one was ingested."""
    return house.descriptor if house.paths.state.exists() else None


def online_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows as lines: a feature a line, a column a customer."""
    from features.text_cells import left, right, widest

    names = list(next((row["features"] for row in rows if "features" in row), {}))
    columns = [[_cell(row.get("features", {}).get(name)) for name in names] for row in rows]
    first, widths = widest(names, 27) + 1, [widest(column, 13) + 1 for column in columns]
    for number, row in enumerate(rows, 1):
        yield f"[{number}] {row['customer']}  {row['status']}"
    yield " " * first + "".join(f"{f'[{number}]':>{wide}}" for number, wide in enumerate(widths, 1))
    for name, *cells in zip(names, *columns, strict=True):
        yield left(name, first) + "".join(right(cell, wide) for cell, wide in zip(cells, widths, strict=True))


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"
