"""A build whose lines and rows don't fit into one piece gives the bits that a build in one piece gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import build as building
from features import table_writer
from features.build import EVENTS, FEATURES, build
from features.datasets.descriptor import Descriptor
from features.storage import TableStore
from privacy.errors import BadInput

from .conftest import AS_OF, CUTOFFS, Home
from .pushes import event_of, push

PEOPLE = 25


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on tables are written in runs of 100 rows, lines folded 300 at a time, 5 cut-offs computed at once."""

    def shrink() -> None:
        monkeypatch.setattr(table_writer, "BUCKET_ROWS", 100)
        monkeypatch.setattr(building, "LINES_AT_ONCE", 300)
        monkeypatch.setattr(building, "ROWS_AT_ONCE", 5 * PEOPLE)

    return shrink


def built(home: Home, descriptor: Descriptor, name: str) -> TableStore:
    store = TableStore(home.root / name)
    build(descriptor, home.paths.protected_store(descriptor.name), store, CUTOFFS, AS_OF)
    return store


@pytest.mark.slow
def test_pieces_give_the_same_bits(home: Home, shop: Callable[..., Descriptor], in_pieces: Callable[[], None]) -> None:
    descriptor = shop(customers=PEOPLE)
    home.ingest(descriptor)
    whole = built(home, descriptor, "whole")
    in_pieces()
    home.ingest(descriptor)  # in buckets now
    protected = home.paths.protected_store(descriptor.name)
    groups = protected.groups("transactions", building.LINES_AT_ONCE)
    assert 2 < len(groups) < 8
    people = [set(_tokens(group)) for group in groups]
    assert sum(map(len, people)) == len(set().union(*people))
    pieces = built(home, descriptor, "pieces")
    for table in (FEATURES, EVENTS):
        mine, other = (store.manifest()["tables"][table] for store in (pieces, whole))
        assert (mine["rows"], mine["digest"]) == (other["rows"], other["digest"])
    assert len(pieces.files(FEATURES)) > len(whole.files(FEATURES))


@pytest.mark.slow
def test_a_line_that_came_late_for_one_group_is_none_that_others_lack(
    home: Home, shop: Callable[..., Descriptor], in_pieces: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces()
    descriptor = shop(customers=PEOPLE)
    home.ingest(descriptor)
    late = {"customer": "c00001", "invoice": "late-1", "ts": CUTOFFS[3] - dt.timedelta(days=3), "quantity": 1.0,
            "price": 7.0, "stock": 3, "department": "dairy", "discount": 0.0}  # fmt: skip
    push(home, descriptor, [event_of(late)])
    protected = home.paths.protected_store(descriptor.name)
    dated = ["created" in pq.read_schema(file).names for file in protected.files("transactions")]
    assert sum(dated) == 1 < len(dated)
    pieces = built(home, descriptor, "pieces")
    monkeypatch.undo()
    whole = built(home, descriptor, "whole")
    for table in (FEATURES, EVENTS):
        mine, other = (store.manifest()["tables"][table] for store in (pieces, whole))
        assert (mine["rows"], mine["digest"]) == (other["rows"], other["digest"])


def test_nobody_who_bought_is_told_in_pieces_too(
    home: Home, shop: Callable[..., Descriptor], in_pieces: Callable[[], None]
) -> None:
    in_pieces()
    descriptor = shop(customers=PEOPLE)
    home.ingest(descriptor)
    early = CUTOFFS[0].replace(year=2001)
    with pytest.raises(BadInput, match="no order with a positive amount lies before as-of"):
        build(descriptor, home.paths.protected_store(descriptor.name), TableStore(home.root / "x"), [], early)


def _tokens(files) -> list[str]:  # type: ignore[no-untyped-def]
    return [token for file in files for token in pc.unique(pq.read_table(file)["customer_token"]).to_pylist()]
