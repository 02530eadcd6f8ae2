"""Run by anjana's own interpreter: k-anonymity of the table asked for, its CPU seconds and what it comes to."""

import contextlib
import json
import sys
import time

import pandas as pd
from anjana.anonymity import k_anonymity

question = json.load(sys.stdin)
frame = pd.DataFrame(question["columns"])
names = list(frame.columns)
levels = {
    name: {level: pd.Series(values) for level, values in enumerate(zip(*rows, strict=True))}
    for name, rows in question["levels"].items()
}
start = time.process_time()
with contextlib.redirect_stdout(sys.stderr):
    done = k_anonymity(frame, [], names, question["k"], question["suppressed_percent"], levels)
seconds = time.process_time() - start
sizes = done.groupby(names).size()
print(
    json.dumps(
        {"seconds": seconds, "classes": len(sizes), "average_class": len(done) / max(len(sizes), 1), "kept": len(done)}
    )
)
