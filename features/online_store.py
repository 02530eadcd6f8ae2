"""The online rows: built beside and swapped in whole, read by key, erased by key.

Feast 0.67 has no call to erase one person, ignores TTL online and refuses reads while it
materialises; all three are handled here, with Feast's own tables.
"""

from __future__ import annotations

import datetime as dt
import errno
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from feast import FeatureService, FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError

from privacy.durable import locked
from privacy.errors import BadInput, EnvironmentFailed
from privacy.rights import Subject
from privacy.tokens import parse_token

from .definitions import ENTITY, PERSON, PROJECT, Definitions, repo_config
from .online_file import (
    OnlineSource,
    connection_to,
    delete_keys,
    moment_of,
    note_least_class,
    stamp_of,
    tables_in,
    unusable,
)
from .private_files import close_to_others, make_private

__all__ = ["OnlineRows", "entity_key", "write_online"]

PART: Final = ".part-"
TOKEN_LENGTH: Final = len("fs_") + 2 + 34


def entity_key(token: str) -> bytes:
    """Return the bytes under which Feast stores a customer (key serialisation 3)."""
    key = EntityKey(join_keys=[ENTITY], entity_values=[Value(string_val=token)])
    return serialize_entity_key(key, entity_key_serialization_version=3)


def write_online(path: Path, definitions: Definitions, rows: OnlineSource, late: Callable[[], Sequence[str]]) -> None:
    """Replace the online rows at `path` by `rows`, all at once.

    Either table has customer_token, event_timestamp, created_timestamp and its views' features. `late` is asked
    last for tokens that must not appear after all. A reader sees the old rows or the new ones.
    """
    with locked(path.with_name(f".{path.name}.lock")), _beside(path) as part:
        store = FeatureStore(config=repo_config(part / "registry.db", part / path.name))
        store.apply(definitions.objects())
        for view in definitions.views:
            names = [field.name for field in view.features]
            listed = rows.of(view.name)[[ENTITY, "event_timestamp", "created_timestamp", *names]]
            if len(listed):
                store.write_to_online_store(view.name, listed)
        del store
        close_to_others(part / path.name)
        if rows.k is not None:
            note_least_class(part / path.name, rows.k)
        delete_keys(part / path.name, [entity_key(token) for token in late()])
        (part / path.name).replace(path)


def _sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; nobody is writing it meanwhile."""
    for stale in path.parent.glob(f"{PART}{path.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A private folder to write the next version of `path` in; what a killed writer left is removed first.

    Feast doesn't notice a registry that a full disk cut short; it fails when reading it again.
    """
    make_private(path.parent)
    _sweep(path)
    part = path.parent / f"{PART}{path.name}-{secrets.token_hex(6)}"
    make_private(part)
    try:
        yield part
    except (OSError, sqlite3.Error, DecodeError) as error:
        reason = getattr(error, "strerror", None) or "it was cut short"
        raise EnvironmentFailed(
            f"cannot write {path.name}: {reason}",
            where=str(path),
            remedy="free space or mend the permissions, then rerun; the old one stays",
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class _Opened:
    """A store on one version of the files, with its services."""

    stamp: tuple[int, int, int]
    store: FeatureStore
    services: dict[str, FeatureService]


@dataclass(frozen=True)
class _Held:
    """What an online file holds: people, the data time of the newest row, and the key that made its tokens."""

    people: int = 0
    as_of: dt.datetime | None = None
    key_id: str | None = None


class OnlineRows:
    """One online file; a SubjectStore, and the tables a service reads; `features` holds the tables it was made of."""

    def __init__(self, path: Path, registry: Path, features: Path) -> None:
        self._path, self._registry, self._features = path, registry, features
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._held: tuple[tuple[int, int], _Held] | None = None  # stamp of the file, what it holds

    @property
    def name(self) -> str:
        """What a receipt calls this store."""
        return "online features"

    def apply(self, definitions: Definitions) -> None:
        """Register what `definitions` make, in place of all that was registered before."""
        make_private(self._path.parent)
        with _beside(self._registry) as part:
            # Feast would write the registry in place, and the tables of an online store nobody asked for.
            registry = part / self._registry.name
            config = repo_config(registry, part / self._path.name)
            FeatureStore(config=config).apply(definitions.objects())
            if len(FeatureStore(config=config).list_feature_services()) != len(definitions.services):
                raise OSError(errno.EIO, "it does not read back whole")
            close_to_others(registry)
            registry.replace(self._registry)
        self.forget()

    def feast(self) -> FeatureStore:
        """Return Feast's store on the current file, opened anew only when the file was swapped."""
        return self._open().store

    def service(self, name: str) -> FeatureService:
        """Return a service object, held in memory; BadInput if there is none of that name."""
        services = self._registered()
        if name not in services:
            raise BadInput(
                f"no feature service '{name}'",
                remedy=f"use one of: {', '.join(sorted(services))}" if services else "run `custos build` first",
            )
        return services[name]

    def services(self) -> list[FeatureService]:
        """List the registered services by name."""
        return [service for _, service in sorted(self._registered().items())]

    def as_of(self) -> dt.datetime | None:
        """Return the data time of the newest row, or None before the first materialisation."""
        return self._known().as_of

    def key_id(self) -> str | None:
        """Return the id of the key that made the tokens online, or None while nobody is."""
        return self._known().key_id

    def size(self) -> int:
        """Count the people online."""
        return self._read_held().people

    def forget(self) -> None:
        """Open the registry again at the next use."""
        with self._lock:
            self._opened = None

    def read(self, service: FeatureService, tokens: Sequence[str]) -> list[tuple[str, list[object], list[int]]]:
        """Read (feature, values, event seconds) of `tokens`; None and 0 where there is no row."""
        if not self._path.exists():
            raise EnvironmentFailed("there are no online features yet", remedy="run `custos materialize`")
        try:
            answer = self.feast().get_online_features(
                features=service, entity_rows=[{ENTITY: token} for token in tokens]
            )
        except (sqlite3.Error, DecodeError):
            raise unusable(self._path) from None
        names = list(answer.proto.metadata.feature_names.val)
        columns = []
        for name, result in zip(names, answer.proto.results, strict=True):
            if name != ENTITY:
                values = [_python(value) for value in result.values]
                columns.append((name, values, [stamp.seconds for stamp in result.event_timestamps]))
        return columns

    def count(self, subject: Subject) -> int:
        """Count the views that hold a row of the person."""
        return len(self._rows(subject))

    def export(self, subject: Subject) -> list[dict[str, object]]:
        """List the person's rows, one a view."""
        return self._rows(subject)

    def erase(self, subject: Subject) -> int:
        """Delete the person's rows and overwrite their bytes; return how many views had one."""
        if not subject.tokens or not self._path.parent.exists():
            return 0
        with locked(self._path.with_name(f".{self._path.name}.lock")):
            _sweep(self._path)
            if not self._path.exists():
                return 0
            found = self.count(subject)
            delete_keys(self._path, [entity_key(token) for token in subject.tokens])
        return found

    def verify(self, subject: Subject) -> int:
        """Count what remains of the person."""
        return self.count(subject)

    def _registered(self) -> dict[str, FeatureService]:
        # Feast would write an empty registry where there is none.
        services = self._open().services if self._registry.exists() else {}
        if not services and any(self._features.glob("*/current")):
            raise self._lost("gone")
        return services

    def _lost(self, how: str) -> EnvironmentFailed:
        remedy = "run `custos build`, which writes it anew"
        return EnvironmentFailed(f"the feature registry is {how}", where=str(self._registry), remedy=remedy)

    def _open(self) -> _Opened:
        stamp = (stamp_of(self._path)[0], *stamp_of(self._registry))
        opened = self._opened
        if opened is not None and opened.stamp == stamp:
            return opened
        with self._lock:
            if self._opened is None or self._opened.stamp != stamp:
                try:
                    store = FeatureStore(config=repo_config(self._registry, self._path))
                    services = {service.name: service for service in store.list_feature_services()}
                except DecodeError:
                    raise self._lost("damaged") from None
                self._opened = _Opened(stamp, store, services)
            return self._opened

    def _known(self) -> _Held:
        stamp = stamp_of(self._path)
        if self._held is None or self._held[0] != stamp:
            self._held = (stamp, self._read_held())
        return self._held[1]

    def _read_held(self) -> _Held:
        if not self._path.exists():
            return _Held()
        with connection_to(self._path) as connection:
            table = f"{PROJECT}_{PERSON}"
            if table not in tables_in(connection):
                return _Held()
            people, newest, some = connection.execute(
                f'SELECT count(*), max(event_ts), min(entity_key) FROM "{table}"'
            ).fetchone()
        if not people:
            return _Held()
        token = some[-TOKEN_LENGTH:].decode("ascii")  # Feast's key ends with the token as text
        return _Held(people, moment_of(newest), parse_token(token).key_id)

    def _rows(self, subject: Subject) -> list[dict[str, object]]:
        if not subject.tokens or not self._path.exists():
            return []
        rows = []
        with connection_to(self._path) as connection:
            keys = [entity_key(token) for token in subject.tokens]
            marks = ", ".join("?" * len(keys))
            for table in tables_in(connection):
                found = connection.execute(
                    f'SELECT feature_name, value, event_ts FROM "{table}" WHERE entity_key IN ({marks})', keys
                ).fetchall()
                if found:
                    values = {name: _python(Value.FromString(blob)) for name, blob, _ in found}
                    rows.append({"view": table, "as_of": moment_of(found[0][2]).isoformat(), **values})
        return rows


def _python(value: Value) -> object:
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)
