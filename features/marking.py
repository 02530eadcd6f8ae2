"""From what a descriptor marks to the lines of a shop: products looked up once, values that match nothing told."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from privacy.durable import write_beside
from privacy.inference import Marks, canonical
from privacy.json_files import read_object
from privacy.sensitive_words import lexicons

from . import sources
from .datasets.descriptor import Descriptor
from .datasets.inference import MARKED_TABLES, PRODUCT
from .datasets.tables import Table

__all__ = ["MARKS", "Marking", "met", "propose"]

MARKS: Final = "marks.json"
"""The file beside the protected snapshots that says which values mark a line, products resolved to their ids."""
Values = Mapping[str, Mapping[str, set[str]]]


@dataclass
class Marking:
    """The marks of every table of one shop, and which marked values were never met.

    What is marked among the products marks every line about them, by product id.
    """

    _marks: dict[str, Marks] = field(default_factory=dict)
    _wanted: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _met: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, descriptor: Descriptor) -> Marking:
        """Resolve the marks; the products are read once where any of their columns is marked."""
        marking, direct = cls(), _direct(descriptor)
        for attribute, columns in descriptor.inference.items():
            for place, values in columns.items():
                spelled = _spelled(values)
                marking._wanted |= {
                    (attribute, place, text): value for text, value in zip(spelled, values, strict=True)
                }
        by_product = _products(descriptor, direct.get("products", {}), marking)
        for name in MARKED_TABLES:
            if name in descriptor.tables:
                marks = _joined(direct.get(name, {}), by_product if PRODUCT in descriptor.tables[name].columns else {})
                if marks:
                    marking._marks[name] = Marks(marks)
        return marking

    @classmethod
    def kept(cls, path: Path, descriptor: Descriptor) -> Marking:
        """Return what `keep` wrote at the last ingest; what the descriptor and its products say where there is none."""
        held = read_object(path, "the marks of the last ingest", remedy="run `custos ingest` on the source again")
        if held is None:
            return cls.of(descriptor)
        return cls({name: Marks(marks) for name, marks in held.items()})

    def keep(self, path: Path) -> None:
        """Write the marks for lines that are pushed later, when the products may be elsewhere."""
        told = {
            name: {
                attribute: {column: sorted(values) for column, values in columns.items()}
                for attribute, columns in marks.by_attribute.items()
            }
            for name, marks in self._marks.items()
        }
        write_beside(path, json.dumps(told).encode())

    def of_table(self, name: str) -> Marks | None:
        """Return the marks of a table, None where no line of it can be marked."""
        return self._marks.get(name)

    def meet(self, table: str, batch: pa.RecordBatch) -> None:
        """Note which values the batch holds of the columns that are marked themselves."""
        self.note(table, met(batch, self.wanted(table)))

    def wanted(self, table: str) -> dict[str, set[str]]:
        """Column of `table` -> the values that are marked, as they are spelled for comparison."""
        found: dict[str, set[str]] = {}
        for _, place, text in self._wanted:
            if place.startswith(f"{table}."):
                found.setdefault(place.partition(".")[2], set()).add(text)
        return found

    def note(self, table: str, found: Mapping[str, Collection[str]]) -> None:
        """Note which marked values were met in columns of `table`."""
        for column, texts in found.items():
            self._met[f"{table}.{column}"] |= set(texts)

    def unmatched(self) -> list[str]:
        """List the marked values that no line held, as `attribute: table.column 'value'`."""
        return [
            f"{attribute}: {place} '{value}'"
            for (attribute, place, text), value in self._wanted.items()
            if text not in self._met[place]
        ]


def met(batch: pa.RecordBatch, wanted: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Return which of the `wanted` values of each column the batch holds."""
    return {column: set(_distinct(batch.column(column))) & set(texts) for column, texts in wanted.items()}


def propose(descriptor: Descriptor) -> dict[str, dict[str, list[str]]]:
    """Return what the word lists would mark: attribute -> `table.column` -> values found in the data, sorted.

    Text columns of products are looked at, and those of transactions; nothing is applied by itself.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in ("products", "transactions"):
        table = descriptor.tables.get(name)
        for column, values in _texts(descriptor, table).items() if table is not None else ():
            for attribute, words in lexicons().items():
                held = {value for value in values if words.finds(value)}
                if held:
                    found[attribute][f"{name}.{column}"] |= held
    return {
        attribute: {place: sorted(values) for place, values in sorted(found[attribute].items())}
        for attribute in sorted(found)
    }


def _texts(descriptor: Descriptor, table: Table) -> dict[str, set[str]]:
    """The distinct values of the text columns that describe a line, not a person or an order."""
    texts: dict[str, set[str]] = {}
    for batch in _describing(descriptor, table):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_string(column.type):
                texts.setdefault(name, set()).update(value for value in column.unique().to_pylist() if value)
    return texts


def _describing(descriptor: Descriptor, table: Table) -> Iterator[pa.RecordBatch]:
    names = [name for name in table.columns if table.role_of(name) == "attribute" and name != PRODUCT]
    for batch in sources.batches(descriptor, table):
        yield batch.select(names)


def _direct(descriptor: Descriptor) -> dict[str, dict[str, dict[str, set[str]]]]:
    """Table -> attribute -> column -> values, as they are spelled for comparison."""
    found: dict[str, dict[str, dict[str, set[str]]]] = {}
    for attribute, columns in descriptor.inference.items():
        for place, values in columns.items():
            table, _, column = place.partition(".")
            found.setdefault(table, {}).setdefault(attribute, {})[column] = set(_spelled(values))
    return found


def _products(descriptor: Descriptor, marked: Values, marking: Marking) -> dict[str, dict[str, set[str]]]:
    """Attribute -> product_id -> the ids of marked products."""
    if not marked:
        return {}
    ids: dict[str, set[str]] = {attribute: set() for attribute in marked}
    marks, table = Marks(marked), descriptor.tables["products"]
    for batch in sources.batches(descriptor, table):
        marking.meet(table.name, batch)
        for attribute, rows in marks.of(batch).items():
            ids[attribute] |= set(_distinct(batch.column(PRODUCT).filter(pa.array(rows))))
    return {attribute: {PRODUCT: found} for attribute, found in ids.items()}


def _joined(*parts: Values) -> dict[str, dict[str, set[str]]]:
    joined: dict[str, dict[str, set[str]]] = {}
    for part in parts:
        for attribute, columns in part.items():
            mine = joined.setdefault(attribute, {})
            for column, values in columns.items():
                mine[column] = mine.get(column, set()) | values
    return joined


def _spelled(values: Sequence[str]) -> list[str]:
    return canonical(pa.array(values, pa.string())).to_pylist()


def _distinct(column: pa.Array) -> list[str]:
    return pc.drop_null(canonical(column.unique())).to_pylist()
