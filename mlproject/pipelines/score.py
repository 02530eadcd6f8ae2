"""Champion x everyone known at data time -> a parquet file of scores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlproject.pipelines.build import data_time
from mlproject.pipelines.targets import SERVICES
from privacy.classification import FEATURE_STORE
from privacy.counted import counted
from privacy.durable import write_beside
from privacy.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from mlproject.wiring import House
    from privacy.policy import Decision

__all__ = ["check_out", "score_everyone", "scored_table", "write_parquet"]

COLUMNS = {"churn": "churn_probability", "clv": "clv"}


def score_everyone(house: House, target: str, purpose: str, out: Path, *, as_of: datetime | None) -> Iterator[str]:
    """Score everyone known at data time for a purpose into a parquet file; the excluded are absent and counted."""
    check_out(house, out)
    table = scored_table(house, target, purpose, as_of=as_of)
    write_parquet(table, out)
    moment, version = table["as_of"][0].as_py(), table["model_version"][0].as_py()
    counts = sorted((entry["values"], entry["counts"]) for entry in table["status"].value_counts().to_pylist())
    told = [f"{count:,} {status}" for status, count in counts] + [f"{len(house.suppression):,} erased and excluded"]
    people = counted(table.num_rows, "person", "people")
    yield f"{out}: {people} as of {moment.date()}, {target} version {version}: {', '.join(told)}"


def scored_table(house: House, target: str, purpose: str, *, as_of: datetime | None) -> pa.Table:
    """Return customer_token, status, churn_probability or clv, as_of, model_version, sorted by token; audited.

    Where the policy masks the exact number, its column holds what the mask leaves; where it is told as a band,
    `churn_band` or `clv_band` is there instead, unless masked too.
    """
    import pyarrow as pa

    from privacy.audit import commitment
    from privacy.tokens import translate
    from training.scoring import score_rows

    moment = data_time(house.state, as_of)
    decision = house.permit("score", f"model:{target}", purpose)
    rows = house.gateway.snapshot_rows(house.operator(purpose), SERVICES[target][0], moment, action="score")
    if not rows.num_rows:
        raise BadInput(f"nobody is known as of {moment.date()}", remedy="give a later --as-of")
    model, version = house.registry.load_champion(target)
    active_within = house.descriptor.targets.churn.active_within_days if target == "churn" else None
    scored = score_rows(model, rows.to_pandas(), active_within)
    tokens = translate(house.sealed, rows["customer_token"].combine_chunks(), FEATURE_STORE, purpose)
    count = len(tokens)
    table = pa.table(
        {
            "customer_token": tokens,
            "status": pa.array(scored.status, pa.string()),
            **_told(target, decision, scored.value),
            "as_of": pa.array([moment] * count, pa.timestamp("us", tz="UTC")),
            "model_version": pa.array([str(version)] * count, pa.string()),
        }
    )
    proof = commitment(tokens.to_pylist())
    house.note(decision, "score", f"model:{target}", purpose, count=count, commitment=proof)
    # Another purpose's tokens sort in another order, so the rows say nothing about the feature store's.
    return table.sort_by("customer_token")


def _told(target: str, decision: Decision, values: np.ndarray) -> dict[str, pa.Array]:
    """Return the columns that tell the score as the policy allows; null where a person has none."""
    import pyarrow as pa

    from serving.bands import CHURN_BANDS, CLV_BANDS
    from serving.told import EXACT, told

    exact = EXACT[target]
    mask = decision.masks.get(f"{target}.{exact}")
    fields = told(target, values, decision.masks, CHURN_BANDS if target == "churn" else CLV_BANDS)
    if exact in fields:
        return {COLUMNS[target]: pa.array(fields[exact], pa.float64() if mask is None else mask.type)}
    if mask is None or mask.name != "band" or "band" not in fields:
        return {}
    return {f"{target}_band": pa.array(fields["band"], pa.string())}


def check_out(
    house: House,
    out: Path,
    *,
    source: Path | None = None,
    option: str = "--out",
    formats: tuple[str, ...] = ("", ".parquet", ".pq"),
) -> None:
    """Refuse, before any work, to write over the home's own files, the `source` or no file, or in no known format."""
    try:
        inside = out.resolve().is_relative_to(house.paths.root.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        raise BadInput("this path leads nowhere", where=str(out), remedy=f"name another {option}") from None
    if inside:
        raise BadInput("this lies inside the home", where=str(out), remedy="name a file elsewhere")
    if source is not None and out.exists() and source.exists() and out.samefile(source):
        raise BadInput("this is the file to read", where=str(out), remedy=f"name another {option}")
    if out.exists() and not out.is_file():
        raise BadInput("this is no file", where=str(out), remedy="name a file")
    if out.suffix.lower() not in formats:
        known = [name for name in formats if name]
        written = " or ".join(name.removeprefix(".") for name in known if name not in (".pq", ".htm"))
        remedy = f"end {option} with {' or '.join(known)}, or give the name no ending"
        raise BadInput(f"'{out.suffix}' isn't written here, but {written}", remedy=remedy)
    if not out.absolute().parent.is_dir():
        raise BadInput("no such folder", where=str(out.parent), remedy=f"make it first, or name another {option}")


def write_parquet(table: pa.Table, out: Path, *, mode: int = 0o600) -> None:
    """Write the table to `out`, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_beside(out, sink.getvalue().to_pybytes(), mode=mode)
