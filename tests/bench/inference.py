"""What the sensitive-inference firewall stops on Complete Journey, and what it costs: the table of docs/privacy.md.

Example: python -m tests.bench.inference --table
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from features.datasets import sample_shop
from features.datasets.descriptor import builtin_names, load_descriptor
from features.marking import Marking
from tests.bench.bars import Bar, tell
from training.inference_gate import Inferred, examine

AUC_KEPT, MAE_KEPT, WITHIN, UPPER, GATE = 0.995, 1.02, 0.55, 0.60, 1.0
DAYS, BASKETS = 112, 2
MOMENTS = tuple(dt.datetime(*day, tzinfo=dt.UTC) for day in ((2018, 1, 2), (2017, 9, 10), (2017, 5, 21)))
CONTROLS = {
    "spend and baskets only": "spend, baskets",
    "department shares, infant lines inside the totals": "COLUMNS('share_all_.*')",
    "department shares, infant lines dropped first": "COLUMNS('share_kept_.*')",
    "a department's total minus its published categories": "total_minus_parts",
}


class Shop:
    """Order lines of Complete Journey with their marks, from the source itself: what a careless shop would publish."""

    def __init__(self) -> None:
        descriptor = load_descriptor("complete_journey")
        marks = Marking.of(descriptor).of_table("transactions")
        assert marks is not None
        marked = pa.table({"product_id": pa.array(sorted(marks.by_attribute["infant"]["product_id"])).cast(pa.int64())})
        self._sql = duckdb.connect()
        self._sql.register("marked", marked)
        lines, products = (
            str(Path(sample_shop.products()).with_name(f"{name}.parquet")) for name in ("transactions", "products")
        )
        self._sql.execute(
            "CREATE TABLE lines AS SELECT household_id::VARCHAR AS customer_token, basket_id, "
            "transaction_timestamp AS moment, sales_value AS amount, department, m.product_id IS NOT NULL AS marked "
            f"FROM '{lines}' LEFT JOIN '{products}' USING (product_id) LEFT JOIN marked AS m USING (product_id)"
        )
        found = self._sql.sql(
            "SELECT department FROM lines WHERE amount > 0 GROUP BY 1 ORDER BY count(*) DESC LIMIT 15"
        )
        self._departments = [row[0] for row in found.fetchall()]

    def published(self, control: str, moments: Sequence[dt.datetime] = MOMENTS) -> tuple[pa.Table, pa.Table]:
        """One control's columns of everybody at each moment, and the evidence to judge it by."""
        wide = pa.concat_tables(self._wide(moment) for moment in moments)
        self._sql.register("wide", wide)
        chosen = self._sql.sql(
            f"SELECT customer_token, event_timestamp, {CONTROLS[control]} FROM wide"
        ).to_arrow_table()
        return chosen, wide.select(["spend", "infant"])

    def _wide(self, moment: dt.datetime) -> pa.Table:
        shares = ", ".join(
            f"{_sum(f'department = {_quoted(name)} AND ({rows})')} / nullif({_sum(rows)}, 0) AS share_{kind}_{number}"
            for number, name in enumerate(self._departments)
            for kind, rows in (("all", "true"), ("kept", "NOT marked"))
        )
        found = self._sql.sql(
            f"SELECT customer_token, {_sum('NOT marked')} AS spend, count(DISTINCT basket_id) AS baskets, "
            f"{_sum('true')} - {_sum('NOT marked')} AS total_minus_parts, {shares}, "
            f"count(DISTINCT CASE WHEN marked THEN basket_id END) >= {BASKETS} AS infant FROM lines "
            f"WHERE moment < TIMESTAMP '{moment:%Y-%m-%d}' "
            f"AND moment >= TIMESTAMP '{moment:%Y-%m-%d}' - INTERVAL {DAYS} DAY "
            "GROUP BY customer_token ORDER BY customer_token"
        ).to_arrow_table()
        return found.append_column("event_timestamp", pa.array([moment] * found.num_rows, pa.timestamp("us", "UTC")))


def controls(shop: Shop, moments: Sequence[dt.datetime] = MOMENTS) -> Iterator[Inferred]:
    """The gate's verdict on every control."""
    for name in CONTROLS:
        published, evidence = shop.published(name, moments)
        yield examine(name, published, evidence, "infant")


def _sum(rows: str) -> str:
    return f"coalesce(sum(amount) FILTER (WHERE {rows}), 0)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def report_of(dataset: str, home: Path) -> dict[str, Any] | None:
    """What `custos run` of `dataset` reports from a home of its own; None if it fails."""
    environment = {**os.environ, "CUSTOS_HOME": str(home)}
    for arguments in (["run", dataset], ["report", "--json"]):
        command = [sys.executable, "-m", "mlproject", *arguments]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def without_firewall(folder: Path) -> Path:
    """The shipped descriptor with nothing marked and nothing withheld, as a file."""
    assert "complete_journey" in builtin_names()
    document = load_descriptor("complete_journey").model_dump(mode="json", by_alias=True, exclude_unset=True)
    for key in ("inference", "withhold"):
        document.pop(key)
    path = folder / "unmarked.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path


def bars() -> list[Bar]:
    """The price of the firewall between two runs, its verdicts, and that the controls fail as they must."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kept = report_of("complete_journey", root / "kept")
        plain = report_of(str(without_firewall(root)), root / "plain")
    return [*price(kept, plain), *verdicts(kept), *(control_bars() if kept else [])]


def price(kept: dict[str, Any] | None, plain: dict[str, Any] | None) -> list[Bar]:
    """Churn AUC and CLV MAE of the tested candidates, with the firewall over without, on the fixed splits."""
    measured: list[float | None] = [None, None]
    if kept and plain:
        pairs = (("churn", "auc"), ("clv", "mae"))
        measured = [kept["models"][t]["metrics"][m] / plain["models"][t]["metrics"][m] for t, m in pairs]
    return [
        Bar("firewall: churn AUC over that without it", measured[0], AUC_KEPT, False),
        Bar("firewall: CLV MAE over that without it", measured[1], MAE_KEPT, True),
    ]


def verdicts(report: dict[str, Any] | None) -> list[Bar]:
    """The within-decile AUC of whatever is published, its upper bound, and the gate beside both trainings."""
    if report is None:
        return [Bar("inference gate: the run failed", None, 0.0, True)]
    found = []
    for verdict in report["inference"]["verdicts"]:
        within = verdict["attacked"] and verdict["attacked"]["within"]
        found.append(Bar(f"{verdict['what']}, AUC within deciles", within and within["value"], WITHIN, True))
        found.append(Bar(f"{verdict['what']}, its upper bound", within and within["high"], UPPER, True))
    seconds = {stage["name"]: stage["seconds"] for stage in report["stages"]}
    stages = ("inference gate", "train churn", "train clv")
    gate, *trainings = (seconds.get(stage) for stage in stages)
    ratio = gate / sum(trainings) if gate and all(trainings) else None
    return [*found, Bar("inference gate / training churn and CLV", ratio, GATE, True)]


def control_bars() -> list[Bar]:
    """What must be found out, to show that the attack can: shares with the lines inside, and a subtraction."""
    found = {each.what: each for each in controls(Shop())}
    leaky = [name for name in CONTROLS if "inside" in name or "minus" in name]
    return [
        Bar(f"control: {name}", found[name].attacked.within.value if found[name].attacked else None, WITHIN, False)
        for name in leaky
    ]


if __name__ == "__main__":
    if "--table" in sys.argv[1:]:
        for each in controls(Shop()):
            print(each.text())
        sys.exit(0)
    sys.exit(tell(bars()))
