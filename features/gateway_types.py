"""What the gateway is given and what it answers; no framework is needed to read or write these."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.classification import Purpose, Role
from privacy.masks._base import Mask

from .packing import Layout, run_of
from .storage import TableStore

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["REFERENCE", "GatewayPaths", "GatewaySettings", "OnlineAnswer", "OnlineColumns", "ServiceInfo"]

REFERENCE: Final = "audit_reference"


@dataclass(frozen=True)
class GatewayPaths:
    """Absolute places: `protected` and `features` hold one directory a dataset; `online` is a URL, perhaps a secret."""

    protected: Path
    features: Path
    registry: Path
    online: str = field(repr=False)

    def protected_store(self, dataset: str) -> TableStore:
        """Return the protected tables of `dataset`."""
        return TableStore(self.protected / dataset, "protected tables")

    def feature_store(self, dataset: str) -> TableStore:
        """Return the feature tables of `dataset`."""
        return TableStore(self.features / dataset, "feature tables")

    def table_stores(self) -> list[TableStore]:
        """List every store of tables that is there, in the order to erase people from them."""
        stores: list[TableStore] = []
        for root, open_store in ((self.protected, self.protected_store), (self.features, self.feature_store)):
            names = sorted(item.name for item in root.iterdir() if item.is_dir()) if root.exists() else []
            stores += [open_store(name) for name in names]
        return stores


@dataclass(frozen=True)
class GatewaySettings:
    """Where the store lives, for how many days of data time a feature row is fresh, what the shop marks (inference).

    `engine` is what histories are joined by, None for DuckDB.
    """

    paths: GatewayPaths
    ttl_days: int = 35
    marked: Callable[[], Collection[str]] = tuple
    engine: Engine | None = None


@dataclass(frozen=True)
class Placing:
    """Which numbers of a row go where in an answer, and which of its columns are texts, by name."""

    sources: npt.NDArray[np.int64] | slice
    targets: npt.NDArray[np.int64] | slice
    texts: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, info: ServiceInfo, layout: Layout, names: Collection[str]) -> Placing:
        """Find it; columns that the layout or the service lacks are left out."""
        taken = [at for at, name in enumerate(layout.number_names) if name in names and name in info.places]
        targets = [info.places[layout.number_names[at]] for at in taken]
        texts = [(at, name) for at, (name, kind) in enumerate(layout.columns) if kind == "text" and name in names]
        return cls(run_of(taken), run_of(targets), tuple(texts))


@dataclass(frozen=True)
class ServiceInfo:
    """A feature service: its purposes, its features in order, its roles, and how many people it answers about."""

    name: str
    purposes: tuple[Purpose, ...]
    features: tuple[str, ...]
    dataset: str
    texts: frozenset[str] = frozenset()
    """Those of `features` that are texts; all others are numbers."""
    roles: frozenset[Role] = frozenset()
    """Who may be answered, where the policy lets them."""
    k: int = 1
    """How many people share a band at least, and how many an answer with rows offline is about."""

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The features that are numbers, in order."""
        return tuple(name for name in self.features if name not in self.texts)

    @cached_property
    def told(self) -> tuple[str, ...]:
        """The features that are texts, in order."""
        return tuple(name for name in self.features if name in self.texts)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each number stands."""
        return {name: at for at, name in enumerate(self.numbers)}

    def placing(self, layout: Layout, names: tuple[str, ...]) -> Placing:
        """Return where the columns `names` of a layout's rows go; found once for each layout and choice."""
        known = self._placings.get((layout.id, names))
        if known is None:
            known = self._placings[layout.id, names] = Placing.of(self, layout, frozenset(names))
        return known

    @cached_property
    def _placings(self) -> dict[tuple[bytes, tuple[str, ...]], Placing]:
        return {}


@dataclass(frozen=True)
class OnlineAnswer:
    """Online features of n tokens: `values` (n, k) of `columns`, NaN for null; `present` (n,), `references`, `texts`.

    A token that is unknown, mistyped, suppressed or erased is not present; which, isn't told.
    """

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]
    references: list[str | None]
    as_of: dt.datetime
    texts: Mapping[str, list[str | None]] = field(default_factory=dict)


class OnlineColumns:
    """What was read of n tokens, put where each token stands in the question."""

    def __init__(self, info: ServiceInfo, count: int) -> None:
        self._info, self.count, self.names = info, count, info.numbers
        self.present = np.zeros(count, np.bool_)
        self.values = np.empty((count, len(self.names)))
        self.values.fill(np.nan)
        self.texts: dict[str, list[str | None]] = {name: [None] * count for name in info.told}
        self.references: list[str | None] = [None] * count
        self._place = info.places

    def take(
        self, places: npt.NDArray[np.int64] | None, layout: Layout, rows: Sequence[bytes], names: tuple[str, ...]
    ) -> None:
        """Take the columns `names`, as far as the layout has them, of packed `rows`.

        They answer at `places`, or everywhere in order.
        """
        placing = self._info.placing(layout, names)
        if places is None:
            self.present.fill(True)
            self.values[:, placing.targets] = layout.numbers(rows)[:, placing.sources]
        else:
            self.present[places] = True
            targets = placing.targets
            at = places if isinstance(targets, slice) else places[:, None]
            self.values[at, targets] = layout.numbers(rows)[:, placing.sources]
        for column, name in placing.texts:
            told, found = self.references if name == REFERENCE else self.texts[name], layout.texts(rows, column)
            if places is None:
                told[:] = found
                continue
            for place, value in zip(places.tolist(), found, strict=True):
                told[place] = value

    def number(self, name: str) -> npt.NDArray[np.float64]:
        """One column of numbers."""
        return self.values[:, self._place[name]]

    def mask(self, masks: Mapping[str, Mask]) -> None:
        """Leave of each column what its mask leaves: nothing is there of a redacted one."""
        for name, mask in masks.items():
            if name in self._place:
                column = pa.array(self.number(name), pa.float64(), from_pandas=True)
            elif name in self.texts:
                column = pa.array(self.texts[name], pa.string())
            else:
                continue
            told = None if mask.name == "redact" else mask.apply(column)
            if told is not None and name in self._place and pa.types.is_floating(told.type):
                self.values[:, self._place[name]] = told.fill_null(np.nan).to_numpy()
                continue
            self._leave_out(name)
            if told is not None:
                self.texts[name] = told.cast(pa.string()).to_pylist()

    def _leave_out(self, name: str) -> None:
        if self.texts.pop(name, None) is None:
            self.values = np.delete(self.values, self._place[name], axis=1)
            self.names = tuple(each for each in self.names if each != name)
            self._place = {each: at for at, each in enumerate(self.names)}

    def keep(self, passed: npt.NDArray[np.bool_]) -> int:
        """Make everybody who didn't pass as absent as the unknown; return how many were there."""
        filtered = int((self.present & ~passed).sum())
        self.present &= passed
        self.values[~passed] = np.nan
        for told in (self.references, *self.texts.values()):
            told[:] = [value if there else None for value, there in zip(told, passed, strict=True)]
        return filtered
