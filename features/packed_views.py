"""People's rows on their way online: entity keys, views and layouts as Feast has them, without Feast."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from .online import Batch, PackedRows, Writer
from .packing import Layout
from .transforms.feature import Feature
from .transforms.registry import families

__all__ = [
    "ENTITY",
    "PERSON",
    "PROJECT",
    "ROWS",
    "Destination",
    "key_bytes",
    "key_prefix",
    "keys_of",
    "put_batches",
    "put_people",
    "views_of",
]

PROJECT: Final = "custos"
ENTITY: Final = "customer_token"
PERSON: Final = "person"
"""The view that holds a person's audit reference; no feature of any model."""
ROWS: Final = 8192
"""Rows a batch: what is packed at once stays small."""
UTC: Final = pa.timestamp("us", "UTC")
_STRING: Final = 2
"""Feast's number for the type of texts."""


@dataclass(frozen=True)
class Destination:
    """The view that rows are written to; `least` is how many people must have equal rows of it, 0 for any."""

    writer: Writer
    view: str
    layout: Layout
    least: int = 0


def key_prefix(join_key: str) -> bytes:
    """Return the bytes before the length and the text in the key of an entity with one text.

    Source: Feast's entity keys, serialisation 3.

    >>> key_prefix("id").hex()
    '010000000200000002000000696402000000'
    """
    name = join_key.encode()
    return struct.pack("<III", 1, _STRING, len(name)) + name + struct.pack("<I", _STRING)


def keys_of(before: bytes, texts: Sequence[bytes]) -> list[bytes]:
    """Return the keys of entities with one text; most have equal lengths, so what is before them is made once."""
    heads: dict[int, bytes] = {}
    keys = []
    for text in texts:
        head = heads.get(len(text))
        if head is None:
            head = heads[len(text)] = before + len(text).to_bytes(4, "little")
        keys.append(head + text)
    return keys


def key_bytes(join_key: str, texts: pa.Array) -> list[bytes]:
    """Return Feast's keys of entities whose one text is in `texts`."""
    return keys_of(key_prefix(join_key), pc.cast(texts, pa.binary()).to_pylist())


def views_of(listed: Sequence[Feature]) -> Iterator[tuple[str, Layout]]:
    """Yield each view of a shop with how its rows are packed: one a family, then who the person is to the audit log."""
    for family, members in families(listed).items():
        yield family, Layout(tuple((feature.name, "text" if feature.bands else "float") for feature in members))
    yield PERSON, Layout((("audit_reference", "text"),))


def put_people(online: PackedRows, listed: Sequence[Feature], rows: pa.Table) -> None:
    """Write rows of the feature table into every view, all at once; an older one never replaces a newer one."""
    with online.writing() as writer:
        for view, layout in views_of(listed):
            batches = rows.to_batches(max_chunksize=ROWS)
            put_batches(Destination(writer, view, layout), batches, ENTITY, "event_timestamp")


def put_batches(
    into: Destination,
    batches: Iterable[pa.RecordBatch],
    join_key: str,
    dated: str,
    progress: Callable[[int], Any] | None = None,
) -> None:
    """Write rows whose `join_key` is a text and whose `dated` a moment; best sorted by key."""
    for batch in batches:
        keys = key_bytes(join_key, batch[join_key])
        moments = pc.cast(batch[dated], UTC).cast(pa.int64()).to_pylist()
        into.writer.put(Batch(into.view, into.layout, keys, moments, into.layout.pack(batch), into.least))
        if progress is not None:
            progress(batch.num_rows)
