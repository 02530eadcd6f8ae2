"""Is this home well? Each finding says what was looked at, how it is and what to do."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Final

from mlproject.pipelines.doctor_stores import OF_DATA, OF_HOME
from mlproject.pipelines.findings import Finding, looked_at
from mlproject.settings import loud_telemetry
from privacy.errors import EnvironmentFailed

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["examine"]

SCARCE_BYTES: Final = 200_000_000
FRAMEWORKS = {"mlflow": (3, 17), "feast": (0, 67), "bentoml": (1, 4), "lightgbm": (4, 7), "optuna": (5, 0)}


def examine(house: House) -> list[Finding]:
    """Look at everything a home needs, whatever else is wrong with it; never change anything in it."""
    findings = [*_versions(), _telemetry()]
    findings += (begun := looked_at("home", _home, house, "mend its permissions"))
    if any(finding.outcome != "ok" for finding in begun):
        return findings
    keys = looked_at("keys", _keys, house, "restore them from their backup")
    findings += keys
    if all(finding.outcome == "bad" for finding in keys):
        return findings  # without keys nothing else can be looked at
    for what, check, remedy in OF_HOME:
        findings += looked_at(what, check, house, remedy)
    found = looked_at("state", _state, house, "run `custos ingest` on the source, which writes it anew")
    if found[0].outcome == "ok":
        for what, check, remedy in OF_DATA:
            found += looked_at(what, check, house, remedy)
    return findings + found


def _home(house: House) -> Iterator[Finding]:
    paths = house.paths
    if not any(path.exists() for path in (paths.keyring, paths.state, paths.vault, paths.audit, paths.protected)):
        yield Finding("home", "note", f"nothing at {paths.root} yet", "begin with `custos run DATASET`")
        return
    free = shutil.disk_usage(paths.root).free
    remedy = "" if free > SCARCE_BYTES else "free space on this disk: writing will fail"
    yield Finding("home", "bad" if remedy else "ok", f"{paths.root}, {free / 1e9:.1f} GB free", remedy)


def _versions() -> Iterator[Finding]:
    python = sys.version_info[:2]
    fits = (3, 11) <= python <= (3, 13)
    remedy = "" if fits else "use Python 3.11 to 3.13"
    yield Finding("python", "ok" if fits else "bad", ".".join(map(str, sys.version_info[:3])), remedy)
    for name, least in FRAMEWORKS.items():
        version = metadata.version(name)
        fits = tuple(int(part) for part in version.split(".")[:2]) >= least
        remedy = "" if fits else "run `make demo`, which installs the lock"
        yield Finding(name, "ok" if fits else "bad", version, remedy)


def _telemetry() -> Finding:
    on = ", ".join(loud_telemetry())
    return Finding("telemetry", "bad" if on else "ok", f"on: {on}" if on else "off")


def _keys(house: House) -> Iterator[Finding]:
    lost = [path.name for path in (house.paths.keyring, house.paths.service_keyring) if not path.exists()]
    if lost:
        yield Finding("keys", "bad", f"{', '.join(lost)} is gone", "restore it from its backup")
        return
    _ = house.keyring
    domains = ", ".join(sorted(house.sealed.domains))
    yield Finding("keys", "ok", f"keyset {house.sealed.keyset_id} opens; the service holds {domains}")
    for path in (house.paths.passphrase, house.paths.service_passphrase):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding("keys", "bad", f"{path.name} is readable by others", f"chmod 600 {path}")


def _state(house: House) -> Iterator[Finding]:
    if not house.paths.state.exists():
        if any(house.paths.protected.glob("*/current")):
            raise EnvironmentFailed("the home's state is gone", where=str(house.paths.state))
        yield Finding("state", "note", "nothing ingested yet", "run `custos run DATASET`")
        return
    yield Finding("state", "ok", f"{house.state.dataset}, events to {house.state.last_event.date()}")
