"""The champions in service: each follows its alias in the registry, without a restart.

A poll every second or so asks which version is champion; a new one is loaded, tried on one row and then
swapped in by a single assignment, so a request finishes on the model it began with. A version that can't
be loaded, or answers nonsense, is refused and reported while the old one keeps serving.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from training.models import CustomerModel, try_out

from .errors import named

__all__ = ["Champion", "ChampionFollower", "ChampionRegistry", "TargetState", "file_stamp"]

ASK_ANYWAY_SECONDS: Final = 30.0
"""However quiet its stamp, the registry is asked this often."""
RETRY_REFUSED_SECONDS: Final = 60.0
"""A refused version is tried again after this long: what failed may have been the disk."""

_log = logging.getLogger("custos.champion")


class _Ref(Protocol):
    @property
    def version(self) -> int: ...


class ChampionRegistry(Protocol):
    """The part of `training.registry` that serving uses."""

    def champion(self, target: str) -> _Ref | None: ...
    def load_champion(self, target: str) -> tuple[CustomerModel, int]: ...


@dataclass(frozen=True, slots=True)
class Champion:
    """A model in service and the version it has in the registry."""

    model: CustomerModel
    version: str


@dataclass(frozen=True, slots=True)
class TargetState:
    """What health and metrics say of one target: versions and a reason, no data."""

    serving: str | None
    refused: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    version: str
    reason: str
    at: float


class ChampionFollower:
    """Keeps the current champion of each target; `current` is one dictionary look-up and never blocks.

    `stamp` returns something cheap that changes whenever the registry may have changed (`file_stamp`): asking
    MLflow itself once a second costs several per cent of a core.
    """

    def __init__(
        self,
        registry: ChampionRegistry,
        targets: Sequence[str] = ("churn", "clv"),
        *,
        interval_seconds: float = 1.0,
        stamp: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._targets = registry, tuple(targets)
        self._interval, self._clock, self._stamp = interval_seconds, clock, stamp
        self._asked: tuple[object, float] | None = None
        self._current: Mapping[str, Champion] = MappingProxyType({})
        self._refused: dict[str, _Refusal] = {}
        self._unreachable: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="champion-load")

    def current(self, target: str) -> Champion | None:
        """Return the champion in service, None if there is none yet; read it once per request."""
        return self._current.get(target)

    def states(self) -> dict[str, TargetState]:
        """Return per target the version in service and, if so, which newer one was refused and why."""
        states = {}
        for target in self._targets:
            champion, refusal = self._current.get(target), self._refused.get(target)
            reason = refusal.reason if refusal else self._unreachable.get(target, "")
            states[target] = TargetState(
                champion.version if champion else None, refusal.version if refusal else None, reason
            )
        return states

    def start(self) -> None:
        """Load what is champion now, then follow the aliases in a daemon thread."""
        self.poll()
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="champion-poll", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop following; models in service stay usable."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._loader.shutdown(wait=False, cancel_futures=True)

    def poll(self) -> None:
        """Look once at every alias and swap what moved; never raises for what a registry or model does."""
        for target in self._targets:
            self._poll_target(target)

    def poll_if_stirred(self) -> None:
        """Poll unless the registry's stamp is what it was, all went well, and it was asked of late."""
        before = None if self._stamp is None else (self._stamp(), self._clock())
        asked = self._asked
        quiet = before and asked and before[0] == asked[0] and before[1] - asked[1] < ASK_ANYWAY_SECONDS
        if not quiet or self._unreachable:
            self.poll()
            self._asked = before

    def _follow(self) -> None:
        while not self._stop.wait(self._interval):
            self.poll_if_stirred()

    def _poll_target(self, target: str) -> None:
        asked = self._attempt(lambda: self._registry.champion(target))
        if isinstance(asked, BaseException):
            self._report_unreachable(target, named(asked))
            return
        if asked is None:
            self._report_unreachable(target, "no champion is registered")
            return
        self._unreachable.pop(target, None)
        version, serving = str(asked.version), self._current.get(target)
        if serving is not None and serving.version == version:
            self._refused.pop(target, None)
            return
        refusal = self._refused.get(target)
        if refusal and refusal.version == version and self._clock() - refusal.at < RETRY_REFUSED_SECONDS:
            return
        loaded = self._attempt(lambda: self._load(target))
        if isinstance(loaded, BaseException):
            self._refused[target] = _Refusal(version, named(loaded), self._clock())
            _log.error("champion refused: %s version %s: %s", target, version, named(loaded))
            return
        self._refused.pop(target, None)
        self._current = MappingProxyType({**self._current, target: loaded})
        _log.info("champion in service: %s version %s", target, loaded.version)

    def _report_unreachable(self, target: str, reason: str) -> None:
        if self._unreachable.get(target) != reason:
            _log.warning("champion of %s can't be asked for: %s", target, reason)
        self._unreachable[target] = reason

    def _load(self, target: str) -> Champion:
        model, version = self._registry.load_champion(target)
        try_out(model)
        return Champion(model, str(version))

    def _attempt(self, work: Callable[[], Any]) -> Any:
        """Return what `work` returns, or the exception it raised: a model may raise anything at all."""
        future = self._loader.submit(work)
        return future.exception() or future.result()


def file_stamp(database: Path) -> Callable[[], object]:
    """Return a stamp of a SQLite file and its journals: inode, size and time of change of each."""
    files = [database, *(database.with_name(database.name + tail) for tail in ("-wal", "-journal"))]

    def stamp() -> object:
        states: list[tuple[int, int, int] | None] = []
        for file in files:
            try:
                status = file.stat()
            except FileNotFoundError:
                states.append(None)
            else:
                states.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return states

    return stamp
