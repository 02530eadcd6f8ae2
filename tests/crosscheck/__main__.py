"""`make crosscheck`: our figures beside those of other people's tools on the same tables, and whether they agree.

Exit status 1 when a pair disagrees or a tool doesn't run. Example: python -m tests.crosscheck pycanon
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module

PARTS = ("anonymeter", "pycanon")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crosscheck", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}  [default: all]")
    chosen = parser.parse_args(arguments).parts or PARTS
    agreed = True
    for part in chosen:
        print(f"{part}, {datetime.now(UTC).date()}")
        agreed &= import_module(f"tests.crosscheck.{part}").crosscheck()
    print("they agree" if agreed else "THEY DISAGREE")
    return int(not agreed)


if __name__ == "__main__":
    sys.exit(main())
