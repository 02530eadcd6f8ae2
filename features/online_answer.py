"""How `get_online_features` is answered from packed rows without a protobuf value: the plan, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from feast import FeatureView
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.value_type import ValueType

from features.online import Found, PackedRows
from features.packed_views import key_prefix, keys_of

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

    def keys(self, tokens: Sequence[str]) -> list[bytes]:
        """Return the entity keys as Feast serialises them (version 3)."""
        return keys_of(self.before, [token.encode() for token in tokens])


class Answer(OnlineResponse):
    """Columns of Python values, and the rows that tell their moments; Feast makes its message when somebody asks."""

    def __init__(
        self, columns: dict[str, list[Any]], found: dict[str, Sequence[Found]], slowly: Callable[[], OnlineResponse]
    ) -> None:
        self._columns, self._found, self._slowly = columns, found, slowly

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
            told |= {name: column, name + TIMESTAMP_POSTFIX: seconds_of(self._found[name])}
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


def lists_of(rows: PackedRows, found: Sequence[Found], oldest: int, names: Sequence[str]) -> list[list[Any]]:
    """Return the columns `names` of the rows as Python values, None where there is no fresh row."""
    fresh = [row[1] for row in found if row is not None and row[0] >= oldest]
    layout = rows.common_layout(fresh) if len(fresh) == len(found) else None
    if layout is not None:
        read = dict(zip(layout.names, layout.lists(fresh), strict=True))
        return [read[name] if name in read else [None] * len(found) for name in names]
    numbered = [(at, row[1]) for at, row in enumerate(found) if row is not None and row[0] >= oldest]
    columns: list[list[Any]] = [[None] * len(found) for _ in names]
    for layout, places in rows.by_layout(numbered):
        read = dict(zip(layout.names, layout.lists([row for _, row in places]), strict=True))
        for at, name in enumerate(names):
            for (place, _), value in zip(places, read.get(name, ()), strict=name in read):
                columns[at][place] = value
    return columns


def seconds_of(found: Sequence[Found]) -> list[int]:
    """Return each row's whole second, 0 where there is none."""
    return [0 if row is None else row[0] // SECOND for row in found]
