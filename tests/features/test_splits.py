"""The parts of a source give the rows of the whole, types and order too; what looks at other rows isn't cut."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import sources, splits
from features.contracts import Contract
from features.datasets.descriptor import Descriptor, load_descriptor
from features.quality.meter import Meter
from privacy.errors import BadInput
from tests.shops import make_shop, shop_document, write_descriptor

from .conftest import NOW
from .hard_shop import hard_shop


def parts_of(descriptor: Descriptor, table: str = "transactions") -> list[splits.Split]:
    with sources.opened(descriptor, descriptor.tables[table]) as source:
        return splits.splits_of(source, descriptor.time_zone)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Descriptor:
    return hard_shop(tmp_path_factory.mktemp("splits") / "shop")


@pytest.mark.parametrize("table", ["transactions", "customers", "interactions", "products", "consents"])
def test_parts_read_as_the_whole(hard: Descriptor, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "SPLIT_ROWS", 100)
    whole = pa.Table.from_batches(sources.batches(hard, hard.tables[table]))
    found = pickle.loads(pickle.dumps(parts_of(hard, table)))
    assert len(found) == (6 if table == "transactions" else 1)
    read = pa.Table.from_batches([batch for part in found for batch in part.batches()])
    assert splits.schema_of(found).equals(whole.schema)
    assert repr(read.to_pylist()) == repr(whole.to_pylist())  # NaN isn't equal to itself


def test_meters_of_parts_add_up(hard: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "SPLIT_ROWS", 100)
    table = hard.tables["transactions"]

    def metered(batches: list[pa.RecordBatch]) -> Meter:
        meter, contract = Meter(table, NOW, 7), Contract(table, NOW)
        for batch in batches:
            failures = contract.failures(batch)
            meter.meet(batch, failures)
            bad = set(failures["row"].to_pylist())
            meter.keep(batch.filter(pa.array([row not in bad for row in range(batch.num_rows)], pa.bool_())))
        return meter

    total = Meter(table, NOW, 7)
    for part in parts_of(hard):
        total.add(metered(list(part.batches())).told())
    assert total.scores() == metered(list(sources.batches(hard, table))).scores()
    assert total.scores().outliers


def test_what_cannot_be_read_has_no_parts(tmp_path: Path) -> None:
    make_shop(tmp_path, customers=3)
    assert len(parts_of(load_descriptor(str(tmp_path / "shop.yaml")))) == 1
    document = shop_document()
    document["tables"]["transactions"]["columns"]["amount"]["sql"] = "length(filename)"
    assert parts_of(load_descriptor(str(write_descriptor(tmp_path, document)))) == []


def test_a_part_that_cant_be_read_tells_the_table_and_no_value(tmp_path: Path) -> None:
    make_shop(tmp_path, customers=3)
    [part] = parts_of(load_descriptor(str(tmp_path / "shop.yaml")))
    whole = part.file.read_bytes()
    pq.write_table(pq.read_table(part.file).drop(["invoice"]), part.file)
    with pytest.raises(BadInput, match=r"^table 'transactions' can't be read \(BinderException\) \(lines.parquet\)"):
        list(part.batches())
    part.file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="table 'transactions' can't be read"):
        list(part.batches())
