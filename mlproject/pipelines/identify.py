"""From tokens back to customers: the one door out, for privacy officers and admins, audited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from privacy.counted import counted
from privacy.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from mlproject.wiring import House

__all__ = ["identify_file", "read_tokens"]


def identify_file(house: House, purpose: str, reason: str, source: Path, out: Path) -> Iterator[str]:
    """Add `customer_id`, typed as in the source, to the rows of a parquet file; null for the erased.

    Rows and their order stay. The vault's door checks role and purpose and writes the audit event.
    """
    from mlproject.pipelines.score import check_out, write_parquet
    from privacy.classification import Purpose
    from privacy.tokens import Pseudonymiser

    check_out(house, out, source=source)
    principal = house.operator(purpose)
    table = read_tokens(source)
    pseudonymiser = Pseudonymiser(house.keyring, house.vault, policy=house.policy, audit=house.audit)
    tokens = table["customer_token"].combine_chunks()
    ids = pseudonymiser.reidentify(tokens, purpose, principal, Purpose(purpose), reason)
    if "customer_id" in table.column_names:
        table = table.drop_columns(["customer_id"])
    write_parquet(table.append_column("customer_id", ids), out)
    known = table.num_rows - ids.null_count
    yield f"{out}: {counted(table.num_rows, 'row')}, {known:,} identified, {ids.null_count:,} without identity"


def read_tokens(source: Path) -> pa.Table:
    """Return a parquet file that has a text column `customer_token`; BadInput says what is wrong with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not source.exists():
        raise BadInput("no such file", where=str(source), remedy="give a parquet file made by `custos score`")
    where, remedy = str(source), "give a file made by `custos score`"
    try:
        names = pq.read_schema(source).names
        if twice := len(names) - len(set(names)):
            raise BadInput(f"{twice} column name(s) are there twice", where=where, remedy="name every column once")
        table = pq.read_table(source, partitioning=None)
    except (pa.ArrowException, OSError):
        raise BadInput("not a parquet file", where=where, remedy=remedy) from None
    if "customer_token" not in names:
        raise BadInput("no column customer_token", where=where, remedy=remedy)
    kind = table["customer_token"].type
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(fits(text) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise BadInput("customer_token is not text", where=where, remedy=remedy)
    try:
        tokens = table["customer_token"].cast(pa.string())
        tokens.validate(full=True)
    except pa.ArrowException:
        raise BadInput("customer_token is not UTF-8", where=where, remedy=remedy) from None
    return table.set_column(names.index("customer_token"), "customer_token", tokens)
