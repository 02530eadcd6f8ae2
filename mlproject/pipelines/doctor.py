"""Is this home well? Each finding says what was looked at, how it is and what to do."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from mlproject.settings import loud_telemetry
from privacy.errors import CustosError

if TYPE_CHECKING:
    from mlproject.wiring import House

__all__ = ["Finding", "examine"]

Outcome = Literal["ok", "note", "bad"]
FRAMEWORKS = {"mlflow": (3, 17), "feast": (0, 67), "bentoml": (1, 4), "lightgbm": (4, 7), "optuna": (5, 0)}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, `note` (not there yet) or `bad`, and the remedy."""

    what: str
    outcome: Outcome
    detail: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON types."""
        return asdict(self)

    def line(self) -> str:
        """Return it as one line.

        >>> Finding("keys", "ok", "open").line()
        'ok    keys        open'
        """
        return f"{self.outcome:<5} {self.what:<11} {self.detail}" + (f"; {self.remedy}" if self.remedy else "")


def examine(house: House) -> list[Finding]:
    """Look at everything a home needs; never change anything in it."""
    findings = [*_versions(), _telemetry()]
    paths = house.paths
    if not any(path.exists() for path in (paths.keyring, paths.state, paths.vault, paths.audit, paths.protected)):
        return [
            *findings,
            Finding("home", "note", f"nothing at {house.paths.root} yet", "begin with `custos run DATASET`"),
        ]
    checks: tuple[tuple[str, Callable[[House], Iterator[Finding]]], ...] = (
        ("keys", _keys),
        ("vault", _vault),
        ("audit", _audit),
        ("suppression", _suppression),
        ("features", _features),
        ("registry", _registry),
    )
    for what, check in checks:
        try:
            findings.extend(check(house))
        except CustosError as error:
            findings.append(Finding(what, "bad", error.what, error.remedy))
    return findings


def _versions() -> Iterator[Finding]:
    python = sys.version_info[:2]
    fits = (3, 11) <= python <= (3, 13)
    remedy = "" if fits else "use Python 3.11 to 3.13"
    yield Finding("python", "ok" if fits else "bad", ".".join(map(str, sys.version_info[:3])), remedy)
    for name, least in FRAMEWORKS.items():
        version = metadata.version(name)
        fits = tuple(int(part) for part in version.split(".")[:2]) >= least
        yield Finding(
            name, "ok" if fits else "bad", version, "" if fits else "run `make demo`, which installs the lock"
        )


def _telemetry() -> Finding:
    loud = loud_telemetry()
    return Finding("telemetry", "bad" if loud else "ok", f"on: {', '.join(loud)}" if loud else "off")


def _keys(house: House) -> Iterator[Finding]:
    lost = [path.name for path in (house.paths.keyring, house.paths.service_keyring) if not path.exists()]
    if lost:
        yield Finding("keys", "bad", f"{', '.join(lost)} is gone", "restore it from its backup")
        return
    _ = house.keyring
    yield Finding(
        "keys",
        "ok",
        f"keyset {house.sealed.keyset_id} opens; the service holds {', '.join(sorted(house.sealed.domains))}",
    )
    for path in (house.paths.passphrase, house.paths.service_passphrase):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding("keys", "bad", f"{path.name} is readable by others", f"chmod 600 {path}")


def _vault(house: House) -> Iterator[Finding]:
    if not house.paths.state.exists():
        yield Finding("vault", "note", "nothing ingested yet", "run `custos run DATASET`")
        return
    people, keys = len(house.vault), house.vault.keys_held()
    if people > keys:
        remedy = "restore the key store's newest backup"
        yield Finding("vault", "bad", f"{people - keys:,} of {people:,} people have no data key", remedy)
    else:
        yield Finding("vault", "ok", f"{people:,} people")


def _audit(house: House) -> Iterator[Finding]:
    yield Finding("audit", "ok", f"{house.audit.verify().events:,} events, intact")


def _suppression(house: House) -> Iterator[Finding]:
    yield Finding("suppression", "ok", f"{len(house.suppression):,} people must not be served")


def _features(house: House) -> Iterator[Finding]:
    if house.paths.state.exists():
        rows = house.stores.protected_store(house.state.dataset).manifest()["tables"]["transactions"]["rows"]
        yield Finding("protected", "ok", f"{rows:,} order lines")
    if not house.paths.state.exists() or house.state.as_of is None:
        yield Finding("features", "note", "not built yet", "run `custos build`")
        return
    built = house.stores.feature_store(house.state.dataset).manifest()["tables"]["customer_features"]["rows"]
    yield Finding("features", "ok", f"{built:,} rows, {len(house.gateway.services())} services")
    people = house.gateway.online_size()
    remedy = "" if people else "run `custos materialize`"
    yield Finding(
        "features",
        "ok" if people else "note",
        f"{people:,} people online as of {house.state.as_of.date()}",
        remedy,
    )


def _registry(house: House) -> Iterator[Finding]:
    from training.models import try_out

    for target in ("churn", "clv"):
        champion = house.registry.champion(target) if house.paths.mlflow_database.exists() else None
        if champion is None:
            yield Finding("registry", "note", f"{target} has no champion", f"run `custos train {target}`")
        else:
            model, _ = house.registry.load_champion(target)
            try_out(model)
            yield Finding(
                "registry", "ok", f"{target} version {champion.version} ({champion.design}) loads and answers"
            )
