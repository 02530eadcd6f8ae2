"""How `get_online_features` is answered from packed rows without a protobuf value: the plan, and the answer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from feast import FeatureView
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.value_type import ValueType

from features.online import Found, PackedRows
from features.packed_views import key_prefix

__all__ = ["Answer", "Plan", "View", "asked_of", "lists_of", "plan_of"]

SECOND: Final = 1_000_000


@dataclass(frozen=True)
class View:
    """One view as it is read: its columns, and what the answer calls them."""

    table: FeatureView
    columns: tuple[str, ...]
    answered: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Views of one entity with one text as its key, and the bytes before that text in Feast's key."""

    join_key: str
    before: bytes
    views: tuple[View, ...]

    def key(self, token: str) -> bytes:
        """Return the entity key as Feast serialises it (version 3)."""
        text = token.encode()
        return self.before + struct.pack("<I", len(text)) + text


class Answer(OnlineResponse):
    """Columns of Python values; the protobuf message is made by Feast when somebody asks for it."""

    def __init__(
        self, columns: dict[str, list[Any]], seconds: dict[str, list[int]], slowly: Callable[[], OnlineResponse]
    ) -> None:
        self._columns, self._seconds, self._slowly = columns, seconds, slowly

    @cached_property
    def proto(self) -> Any:  # type: ignore[override]  # an attribute there; nobody sets it
        """Feast's message."""
        return self._slowly().proto

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Return the columns by name, with `__ts` columns of whole seconds where asked for."""
        if not include_event_timestamps:
            return self._columns
        told: dict[str, Any] = {}
        for name, column in self._columns.items():
            told |= {name: column, name + TIMESTAMP_POSTFIX: self._seconds[name]}
        return told


def plan_of(context: Sequence[Any], full_names: bool) -> Plan | None:
    """Return how to read what Feast resolved; None where there is more to it than columns of one entity."""
    _, on_demand, _, types, _, grouped, _, request_data, entityless = context
    if on_demand or request_data or entityless or len(types) != 1:
        return None
    [join_key] = types
    plain = all(table.join_keys == [join_key] and not table.projection.join_key_map for table, _ in grouped)
    versioned = any(getattr(table.projection, "version_tag", None) is not None for table, _ in grouped)
    if not plain or versioned or types.get(join_key) != ValueType.STRING:
        return None
    views = []
    for table, wanted in grouped:
        prefix = f"{table.projection.name_to_use()}__" if full_names else ""
        views.append(View(table, tuple(wanted), tuple(prefix + name for name in wanted)))
    return Plan(join_key, key_prefix(join_key), tuple(views))


def asked_of(entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Any], join_key: str) -> list[str] | None:
    """Return the keys asked for; None where something else is asked, or in another way."""
    if isinstance(entity_rows, Mapping):
        values = entity_rows.get(join_key) if len(entity_rows) == 1 else None
        asked = list(values) if isinstance(values, Sequence) else []
    else:
        asked = [row.get(join_key) for row in entity_rows if len(row) == 1]
        if len(asked) != len(entity_rows):
            return None
    return asked if asked and all(isinstance(value, str) for value in asked) else None


def lists_of(
    rows: PackedRows, found: Sequence[Found], oldest: int, names: Sequence[str]
) -> tuple[list[list[Any]], list[int]]:
    """Return the columns `names` of the rows, None where there is no fresh row, and each row's second (0 without)."""
    fresh = [at for at, row in enumerate(found) if row is not None and row[0] >= oldest]
    seconds = [0 if row is None else row[0] // SECOND for row in found]
    columns: list[list[Any]] = [[None] * len(found) for _ in names]
    for layout, places in rows.by_layout([(at, found[at][1]) for at in fresh]):  # type: ignore[index]
        read = dict(zip(layout.names, layout.lists([row for _, row in places]), strict=True))
        whole = len(places) == len(found)
        for at, name in enumerate(names):
            if name in read and whole:
                columns[at] = read[name]
            elif name in read:
                for (place, _), value in zip(places, read[name], strict=True):
                    columns[at][place] = value
    return columns, seconds
