"""Who is one person among a million customers with three million ids, beside a loop over them: CPU ratios in one run.

Ours: the ids as the source writes them, normalised, indexed, gathered and resolved, with the customers' handles looked
up in a real vault that knows them; then the links made there. The loop does the same for a fifth of the customers and
is scaled by the row: each id stripped, its HMAC, and a union-find in dictionaries. The links are held against
registering as many customers.

Example: python -m tests.bench.identity
"""

from __future__ import annotations

import hmac
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.classification import LinkKind
from privacy.link_rules import LinkRules
from privacy.linking import Linker
from privacy.vault import Vault
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import alone, keyring_in

PEOPLE, BATCH, LOOP = 1_000_000, 131_072, 200_000
KINDS = (LinkKind.CARD, LinkKind.EMAIL, LinkKind.PHONE)


def bars() -> list[Bar]:
    """Finding the links, and making them."""
    with alone() as folder:
        return _bars(folder)


def _bars(folder: Path) -> list[Bar]:
    keyring = keyring_in(folder)
    vault = Vault.open(f"sqlite:///{folder / 'vault.db'}", keyring)
    shop = customers(PEOPLE)
    registering = cpu_seconds(lambda: [vault.register(part["customer"]) for part in parts(shop)], rounds=1) / PEOPLE
    with vault.intake() as intake:
        linker = Linker(intake, keyring, LinkRules(region="CN"))

        def find() -> None:
            for part in parts(shop):
                linker.meet(part["customer"], [(kind.value, kind, part[kind.value]) for kind in KINDS], {})
            found.append(linker.resolve().joined)

        found: list[int] = []
        finding = cpu_seconds(find, rounds=1) / PEOPLE
        began = time.process_time()
        linker.settle()
        linking = (time.process_time() - began) / found[0]
    vault.close()
    plain = {name: shop[name].slice(0, LOOP).to_pylist() for name in shop.schema.names}
    loop = cpu_seconds(lambda: union(plain), rounds=1) / LOOP
    return [
        Bar(f"1 M customers, 3 M ids, {found[0]:,} joined / loop", finding / loop, 0.6, True),
        Bar("a link in the vault / registering a customer", linking / registering, 20, True),
    ]


def parts(shop: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (shop.slice(start, BATCH) for start in range(0, PEOPLE, BATCH))


def customers(people: int) -> pa.RecordBatch:
    """Cards, addresses and 手机号 as people write them; of each kind one customer in thirty has somebody else's."""
    draw = np.random.default_rng(7)
    names = np.arange(people)

    def owned() -> pa.Array:
        shared = draw.random(people) < 1 / 30
        return pa.array(np.where(shared, draw.integers(0, people, people), names)).cast(pa.string())

    def spelt(before: str, digits: pa.Array, after: str) -> pa.Array:
        return pc.binary_join_element_wise(before, digits, after, "")

    ids = {kind: pc.utf8_lpad(owned(), 8, "0") for kind in KINDS}
    columns = {
        "customer": spelt("c", pa.array(names).cast(pa.string()), ""),
        "card": spelt("60 88 ", ids[LinkKind.CARD], ""),
        "email": spelt("Customer.", ids[LinkKind.EMAIL], "@Mail.shop.cn "),
        "phone": spelt("+86 138-", ids[LinkKind.PHONE], ""),
    }
    return pa.RecordBatch.from_pydict(columns)


def union(shop: dict[str, list[str]]) -> int:
    """The loop; how many customers became one with another."""
    key, parent, first, joined = os.urandom(32), list(range(LOOP)), dict[bytes, int](), 0

    def root(who: int) -> int:
        while parent[who] != who:
            parent[who] = parent[parent[who]]
            who = parent[who]
        return who

    for kind in KINDS:
        for who, text in enumerate(shop[kind.value]):
            spelt = text.strip().lower().replace(" ", "").replace("-", "")
            index = hmac.digest(key, f"{kind}|{spelt}".encode(), "sha256")
            low, high = sorted((root(first.setdefault(index, who)), root(who)))
            if low != high:
                parent[high] = low
                joined += 1
    return joined


if __name__ == "__main__":
    sys.exit(tell(bars()))
