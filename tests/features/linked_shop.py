"""A home and a tiny shop whose files come to say that two of three customers are one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.build import FEATURES
from features.datasets.descriptor import Descriptor, load_descriptor
from features.gateway import FeatureGateway
from features.ingest_report import IngestReport
from privacy.classification import Purpose, Role
from privacy.policy import Principal
from privacy.rights import Rights
from privacy.tokens import handles_to_tokens
from tests.identities import Row, document, line, write_identities

from .conftest import AS_OF, NOW, Home, principal

OFFICER = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)
LINES = (
    line("web-1", "o1", dt.date(2024, 1, 1), 10.0),
    line("till-9", "o2", dt.date(2024, 1, 11), 20.0),
    line("till-9", "o3", dt.date(2024, 1, 21), 30.0),
    line("web-2", "o4", dt.date(2024, 1, 5), 7.0),
)
APART: tuple[Row, ...] = (
    {"customer": "web-1", "email": "ann@shop.cn", "phone": "139 1234 0678"},
    {"customer": "till-9", "card": "60128877"},
    {"customer": "web-2", "email": "bob@shop.cn"},
)
TOGETHER = (APART[0], {**APART[1], "phone": "+86-13912340678"}, APART[2])


class Shop:
    """One home and one shop whose files change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home.create(folder / "home")
        self.gateway: FeatureGateway | None = None

    def descriptor(self, people: Sequence[Row], lines: Sequence[Row] = LINES, **changes: Any) -> Descriptor:
        return load_descriptor(str(write_identities(self.folder / "shop", people, lines, document() | changes)))

    def ingest(self, people: Sequence[Row], lines: Sequence[Row] = LINES, **changes: Any) -> IngestReport:
        return self.home.ingest(self.descriptor(people, lines, **changes))

    def serve(self, people: Sequence[Row]) -> FeatureGateway:
        """Ingest, build and put online."""
        descriptor = self.descriptor(people)
        self.home.ingest(descriptor)
        self.home.build(descriptor)
        gateway = self.home.gateway()
        gateway.apply(descriptor)
        gateway.materialize(principal(), AS_OF)
        return gateway

    def people(self, *names: str) -> int:
        handles, known = self.home.vault.find(pa.array(names))
        assert known.all()
        return len({handle.tobytes() for handle in handles})

    def token(self, name: str, domain: str = "features") -> str:
        return str(handles_to_tokens(self.home.keyring, self.home.vault.find(pa.array([name]))[0], domain)[0].as_py())

    def features(self) -> dict[str, dict[str, Any]]:
        rows = self.home.paths.feature_store("till_and_web").read(FEATURES).to_pylist()
        return {row["customer_token"]: row for row in rows if row["event_timestamp"] == AS_OF}

    def rights(self, gateway: FeatureGateway) -> Rights:
        home = self.home
        stores = [home.quarantine, home.flags, *gateway.subject_stores()]
        return Rights(
            home.vault, home.keyring, home.audit, home.suppression, stores, home.root / "receipts", lambda: NOW
        )


def nothing_remains(shop: Shop, tokens: Sequence[str]) -> bool:
    kept = {
        value
        for path in shop.home.root.rglob("*.parquet")
        for name, column in zip(pq.read_table(path).column_names, pq.read_table(path).columns, strict=True)
        if name.endswith("_token")
        for value in column.to_pylist()
    }
    return not kept & set(tokens)
