"""`make bench`: measure every part and the main job on Complete Journey, and print each figure beside its bar.

Example: python -m tests.bench --only audit --only policy
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bars import Bar

PARTS = ("keyring", "tokens", "vault", "policy", "audit", "masking", "scrubbing", "anonymity", "risk", "inference",
         "insight", "quality", "identity", "consent", "online", "push", "features", "historical")  # fmt: skip
THREAD = "thread"
SECONDS, GIGABYTES, AUC, MAE_RATIO = 120.0, 3.0, 0.855, 1.02


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, help="an empty folder for the main job  [default: a temporary one]")
    parser.add_argument("--only", choices=[*PARTS, THREAD], action="append", help="leave the other parts out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    chosen = options.only or [*PARTS, THREAD]
    bars: list[Bar] = []
    for part in PARTS:
        if part in chosen:
            bars += shown(measured(part), options.json)
    if THREAD in chosen:
        with tempfile.TemporaryDirectory() as folder:
            found, report = whole_thread(options.home or Path(folder) / "home")
        for stage in [] if options.json else report.get("stages", []):
            print(f"  {stage['name']:<34} {stage['seconds']:>7.1f} s {stage['peak_mb']:>6,} MB")
        bars += shown(found, options.json)
    if options.json:
        print(json.dumps([{**bar.__dict__, "holds": bar.holds} for bar in bars], indent=2))
    return int(not all(bar.holds for bar in bars))


def measured(part: str) -> list[Bar]:
    """The bars of one part, in a process of its own: its memory is its own, and a failure is a bar not run."""
    command = [sys.executable, "-m", f"tests.bench.{part}", "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    try:
        return [Bar(**told) for told in json.loads(answer.stdout)]
    except ValueError:
        return [Bar(f"{part}: the bench failed", None, 0.0, True)]


def shown(bars: list[Bar], as_json: bool) -> list[Bar]:
    """The same bars, printed as soon as they are known unless JSON is wanted."""
    for bar in () if as_json else bars:
        print(bar.line(), flush=True)
    return bars


def whole_thread(home: Path) -> tuple[list[Bar], dict]:
    """Run `custos demo` as a newcomer would; time and memory of the whole process tree, metrics of its report."""
    environment = {**os.environ, "CUSTOS_HOME": str(home)}
    start = time.perf_counter()
    demo = subprocess.Popen([sys.executable, "-m", "mlproject", "demo"], env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(demo.pid, 0)  # of this child and its own, not of the parts measured before it
    seconds = time.perf_counter() - start if status == 0 else None
    peak = used.ru_maxrss * 1024 / 1e9 if status == 0 else None
    bars = [
        Bar("custos demo, wall seconds", seconds, SECONDS, True),
        Bar("custos demo, peak GB of its largest process", peak, GIGABYTES, True),
    ]
    answer = subprocess.run(
        [sys.executable, "-m", "mlproject", "report", "--json"], env=environment, capture_output=True, text=True
    )
    report = json.loads(answer.stdout) if answer.returncode == 0 else {}
    models = report.get("models", {})
    return bars + churn_bars(models.get("churn")) + clv_bars(models.get("clv")), report


def churn_bars(model: dict | None) -> list[Bar]:
    """AUC of the tested candidate on weeks 44 and 48."""
    return [Bar("churn AUC, weeks 44 and 48", model and model["metrics"]["auc"], AUC, False)]


def clv_bars(model: dict | None) -> list[Bar]:
    """Gini and MAE of the tested candidate on week 36, beside the best baseline's in the same run."""
    if model is None:
        return [Bar("CLV Gini over the best baseline's", None, 0, False), Bar("CLV MAE / best", None, MAE_RATIO, True)]
    baselines = model["baselines"].values()
    gini = model["metrics"]["gini"] - max(metrics["gini"] for metrics in baselines)
    mae = model["metrics"]["mae"] / min(metrics["mae"] for metrics in baselines)
    return [
        Bar("CLV Gini over the best baseline's, week 36", gini, 0.0, False),
        Bar("CLV MAE over the best baseline's, week 36", mae, MAE_RATIO, True),
    ]


if __name__ == "__main__":
    sys.exit(main())
