"""What is registered with Feast: written beside and swapped in whole, held in memory until the file changes."""

from __future__ import annotations

import errno
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from feast import FeatureService, FeatureStore, FeatureView
from feast.errors import FeastModuleImportError
from google.protobuf.message import DecodeError

from privacy.classification import Purpose, Role
from privacy.durable import locked
from privacy.errors import BadInput, EnvironmentFailed

from .definitions import TEXT, Definitions, repo_config
from .engine import Engine
from .gateway_types import REFERENCE, ServiceInfo
from .private_files import close_to_others, make_private

__all__ = ["Registered", "Views"]

PART: Final = ".part-"
REMEDY: Final = "run `custos build`, which writes it anew"


Views = list[tuple[str, tuple[str, ...]]]
"""A service's views, each with its columns."""


@dataclass(frozen=True)
class _Opened:
    """A store on one version of the file, with its services."""

    stamp: tuple[int, int]
    store: FeatureStore
    services: dict[str, FeatureService]
    views: dict[str, Views]
    infos: dict[str, ServiceInfo] = field(default_factory=dict)
    """What was asked for of the services so far."""


class Registered:
    """The registry file at `path`; `online` is the URL of the online rows, `features` holds the tables it is about.

    `engine` is what Feast's own offline store runs on, None for DuckDB.
    """

    def __init__(self, path: Path, online: str, features: Path, engine: Engine | None = None) -> None:
        self._path, self._online, self._features, self._engine = path, online, features, engine
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def apply(self, definitions: Definitions) -> None:
        """Register what `definitions` make, in place of all that was registered before."""
        make_private(self._path.parent)
        with locked(self._path.with_name(f".{self._path.name}.lock")), self._beside() as part:
            registry = part / self._path.name
            config = repo_config(registry, self._online, self._engine)
            FeatureStore(config=config).apply(definitions.objects())
            # Feast doesn't notice a registry that a full disk cut short; it fails when reading it again.
            if len(FeatureStore(config=config).list_feature_services()) != len(definitions.services):
                raise OSError(errno.EIO, "it does not read back whole")
            close_to_others(registry)
            registry.replace(self._path)
        self.forget()

    def service(self, name: str) -> FeatureService:
        """Return a service object, held in memory; BadInput if there is none of that name."""
        services = self._services()
        if name not in services:
            raise BadInput(
                f"no feature service '{name}'",
                remedy=f"use one of: {', '.join(sorted(services))}" if services else "run `custos build` first",
            )
        return services[name]

    def info(self, name: str) -> ServiceInfo:
        """Return what a service is: purposes, roles, k and features, the audit reference left out.

        Raises EnvironmentFailed where its tags don't say so: nothing is served by half a declaration.
        """
        service, known = self.service(name), self._open().infos
        if name in known:
            return known[name]
        try:
            purposes = tuple(Purpose(text) for text in service.tags["purposes"].split(","))
            roles = frozenset(Role(text) for text in service.tags["roles"].split(","))
            k = int(service.tags["k"])
        except (KeyError, ValueError):
            raise self._lost("of an older make, or changed by hand") from None
        listed = [feature for projection in service.feature_view_projections for feature in projection.features]
        names = tuple(feature.name for feature in listed if feature.name != REFERENCE)
        texts = frozenset(feature.name for feature in listed if feature.dtype == TEXT) & set(names)
        known[name] = ServiceInfo(name, purposes, names, service.tags["dataset"], texts, roles, k)
        return known[name]

    def feature_views(self) -> list[FeatureView]:
        """List the views that are registered."""
        return self._open().store.list_feature_views()

    def views(self, name: str) -> Views:
        """Return the views of a service that is registered, each with its columns."""
        return self._open().views[name]

    def services(self) -> list[FeatureService]:
        """List the registered services by name."""
        return [service for _, service in sorted(self._services().items())]

    def forget(self) -> None:
        """Open the registry again at the next use."""
        with self._lock:
            self._opened = None

    def _services(self) -> dict[str, FeatureService]:
        # Feast would write an empty registry where there is none.
        services = self._open().services if self._path.exists() else {}
        if not services and any(self._features.glob("*/current")):
            raise self._lost("gone")
        return services

    def _lost(self, how: str) -> EnvironmentFailed:
        return EnvironmentFailed(f"the feature registry is {how}", where=str(self._path), remedy=REMEDY)

    def _open(self) -> _Opened:
        stamp = _stamp_of(self._path)
        opened = self._opened
        if opened is not None and opened.stamp == stamp:
            return opened
        with self._lock:
            if self._opened is None or self._opened.stamp != stamp:
                try:
                    store = FeatureStore(config=repo_config(self._path, self._online, self._engine))
                    services = {service.name: service for service in store.list_feature_services()}
                except DecodeError:
                    raise self._lost("damaged") from None
                except FeastModuleImportError:  # of all that Feast imports by name, only Spark is an extra
                    what, remedy = "Spark isn't installed", "pip install custos[spark], or set `engine: duckdb`"
                    raise EnvironmentFailed(what, remedy=remedy) from None
                views = {name: _views(service) for name, service in services.items()}
                self._opened = _Opened(stamp, store, services, views)
            return self._opened

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A private folder to write the next version in; what a killed writer left is removed first."""
        for stale in self._path.parent.glob(f"{PART}{self._path.name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        part = self._path.parent / f"{PART}{self._path.name}-{secrets.token_hex(6)}"
        make_private(part)
        try:
            yield part
        except (OSError, DecodeError) as error:
            reason = getattr(error, "strerror", None) or "it was cut short"
            remedy = "free space or mend the permissions, then rerun; the old one stays"
            what = f"cannot write {self._path.name}: {reason}"
            raise EnvironmentFailed(what, where=str(self._path), remedy=remedy) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _views(service: FeatureService) -> Views:
    return [
        (projection.name, tuple(feature.name for feature in projection.features))
        for projection in service.feature_view_projections
    ]


def _stamp_of(path: Path) -> tuple[int, int]:
    """Return inode and time of change, which tell one version of a file from another; zeros where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)
