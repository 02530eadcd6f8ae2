"""One ingest's evidence of who is one person: gathered as keyed indexes, settled in the vault when it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.audit_events import commitment
from privacy.classification import FEATURE_STORE, LinkKind
from privacy.errors import BadInput, EnvironmentFailed
from privacy.keyring import Keyring
from privacy.link_ids import field_indexes, is_junk, link_indexes, normalised
from privacy.link_rules import CONTRADICTORY, UNKNOWN, Codes, Evidence, LinkReport, LinkRules, joined
from privacy.tokens import handles_to_tokens
from privacy.vault_intake import Intake
from privacy.vault_segment import Segment

__all__ = ["Linker"]

Blocks = npt.NDArray[np.uint8]
_COMPACTED: Final = 1_000_000
"""Rows that may wait before what was gathered is made distinct again."""


class Linker:
    """Made by `Protector.on_trial`: meet everybody, `resolve`, register as one, `settle` at the very end.

    Ids are held as CMACs beside random handles and in memory only; no id is kept, and none is told.
    """

    def __init__(self, intake: Intake, keyring: Keyring, rules: LinkRules) -> None:
        self._intake, self._keyring, self._mac, self._rules = intake, keyring, keyring.index, rules
        self._homes = _Distinct(32)
        self._pairs: dict[LinkKind, _Distinct] = {}
        self._junk: dict[LinkKind, _Distinct] = {}
        self._unique: dict[str, _Distinct] = {}
        self._old, self._new = np.zeros((0, 16), np.uint8), np.zeros((0, 16), np.uint8)
        self._led = Segment.of(self._old, self._new)

    def meet(
        self, subjects: pa.Array, ids: Sequence[tuple[str, LinkKind, pa.Array]], unique: Mapping[str, pa.Array]
    ) -> None:
        """Take in rows: their subjects, the ids beside them (place, kind, column) and unique fields by place.

        Raises BadInput naming the place of a column that can't hold ids.
        """
        who = self._mac.of_ids(subjects)
        self._homes.add(who, self._intake.register(subjects))
        for place, kind, column in ids:
            try:
                texts = normalised(column, kind, self._rules.region)
            except BadInput as error:
                raise BadInput(error.what, where=place, remedy=error.remedy) from None
            indexes, junk = link_indexes(self._mac, texts, kind), is_junk(texts, kind, self._rules.junk.get(kind, ()))
            there = texts.is_valid().to_numpy(zero_copy_only=False)
            good = there & ~junk
            self._pairs.setdefault(kind, _Distinct(32)).add(who[good], indexes[good])
            self._junk.setdefault(kind, _Distinct(16)).add(indexes[there & junk])
        for place, column in unique.items():
            values = field_indexes(self._mac, column, place)
            there = values.any(axis=1)
            self._unique.setdefault(place, _Distinct(32)).add(who[there], values[there])

    def resolve(self) -> LinkReport:
        """Decide who is one person; from here on `register` gives all of them one handle, the smallest."""
        lists = (self._homes, *self._pairs.values(), *self._unique.values())
        rows = [found.rows() for found in lists]
        known, customers = _coded(np.concatenate([each[:, :16] for each in rows]))
        parts = np.split(customers, np.cumsum([len(each) for each in rows])[:-1])
        handles, codes = _coded(rows[0][:, 16:])
        homes = np.zeros(len(known), np.int64)
        homes[parts[0]] = codes
        values = [_coded(each[:, 16:])[1] for each in rows[1:]]
        pairs = {kind: (parts[at + 1], values[at]) for at, kind in enumerate(self._pairs)}
        fields = {
            place: _one_value(parts[at + 1], values[at], len(homes))
            for at, place in enumerate(self._unique, len(self._pairs))
        }
        groups, report = joined(Evidence(homes, pairs, fields), self._rules)
        report.junk = {kind.value: len(found.rows()) for kind, found in self._junk.items() if len(found.rows())}
        self._old, self._new = _led(handles[groups >= 0], groups[groups >= 0])
        self._led = Segment.of(self._old, self._new)
        self._homes, self._pairs, self._junk, self._unique = _Distinct(32), {}, {}, {}
        return report

    def register(self, ids: pa.Array, records: pa.RecordBatch | Sequence[Mapping[str, object]] | None = None) -> Blocks:
        """As `Intake.register`, with one handle for everybody who is one person."""
        return self._canonical(self._intake.register(ids, records))

    def settle(self) -> None:
        """Link them in the vault, for good: the last step before the tables that say so are published.

        Tokens issued before go on identifying. Raises EnvironmentFailed when somebody was linked or erased elsewhere
        since; the links then hold, and the next ingest goes by them.
        """
        moved = self._intake.link(self._old, self._new)
        if moved != dict(zip(_bytes(self._old), _bytes(self._new), strict=True)):
            raise EnvironmentFailed("people were linked elsewhere during this ingest", remedy="run it again")

    def former_tokens(self) -> tuple[pa.Array, pa.Array]:
        """The feature store's tokens from before a link, this ingest's included, and that of the person each is now."""
        old, home = self._intake.aliases()
        handles = np.concatenate([old, self._old]), np.concatenate([self._canonical(home), self._new])
        former, now = (handles_to_tokens(self._keyring, each, FEATURE_STORE) for each in handles)
        return former, now

    def commitment(self) -> str | None:
        """What the audit log keeps of whom this ingest links: a commitment to all their tokens of the feature store."""
        if not len(self._old):
            return None
        people = np.unique(np.concatenate([self._old, self._new]), axis=0)
        return commitment(handles_to_tokens(self._keyring, people, FEATURE_STORE).to_pylist())

    def _canonical(self, handles: Blocks) -> Blocks:
        if not len(self._old):
            return handles
        found, known = self._led.find(handles)
        return np.where(known[:, None], found, handles)


class _Distinct:
    """Rows of so many bytes, each once, made distinct again whenever many more have come."""

    def __init__(self, width: int) -> None:
        self._width, self._waiting = width, 0
        self._parts: list[pa.Array] = []

    def add(self, *columns: Blocks) -> None:
        rows = np.ascontiguousarray(np.concatenate(columns, axis=1))
        if not len(rows):
            return
        self._parts.append(_binary(rows).unique())
        self._waiting += len(self._parts[-1])
        if self._waiting > max(_COMPACTED, len(self._parts[0])):
            self._compact()

    def rows(self) -> Blocks:
        """(n, width) uint8."""
        self._compact()
        return _blocks(self._parts[0], self._width) if self._parts else np.zeros((0, self._width), np.uint8)

    def _compact(self) -> None:
        if len(self._parts) > 1:
            self._parts = [pa.concat_arrays(self._parts).unique()]
        self._waiting = 0


def _binary(rows: Blocks) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(rows)])


def _blocks(array: pa.Array, width: int) -> Blocks:
    data = np.frombuffer(array.buffers()[1] or b"", np.uint8, len(array) * width, array.offset * width)
    return data.reshape(-1, width)


def _coded(rows: Blocks) -> tuple[Blocks, Codes]:
    """The distinct rows, and which of them each row is; hashed by Arrow, far faster than numpy sorts 16 bytes."""
    coded = _binary(np.ascontiguousarray(rows)).dictionary_encode()
    return _blocks(coded.dictionary, rows.shape[1]), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _one_value(people: Codes, values: Codes, count: int) -> Codes:
    """(count,) the value of each customer; pairs are distinct, so who has two has contradictory ones."""
    found = np.full(count, UNKNOWN, np.int64)
    found[people] = values
    found[np.bincount(people, minlength=count) > 1] = CONTRADICTORY
    return found


def _led(handles: Blocks, groups: Codes) -> tuple[Blocks, Blocks]:
    """Every handle but the smallest of its group, and that one."""
    words = np.ascontiguousarray(handles).view(">u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0], groups))
    handles, groups = handles[order], groups[order]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    homes = np.repeat(handles[starts], np.diff(np.append(starts, len(groups))), axis=0)
    others = np.ones(len(groups), np.bool_)
    others[starts] = False
    return handles[others], homes[others]


def _bytes(blocks: Blocks) -> list[bytes]:
    return [bytes(row) for row in np.ascontiguousarray(blocks).view("V16").ravel().tolist()]
