"""Is this home well? Each finding says what was looked at, how it is and what to do."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from mlproject.pipelines.report import champion_of
from mlproject.report_file import read_report
from mlproject.settings import loud_telemetry
from privacy.errors import CustosError, EnvironmentFailed

if TYPE_CHECKING:
    from features.storage import TableStore
    from mlproject.wiring import House

__all__ = ["Finding", "examine"]

Outcome = Literal["ok", "note", "bad"]
Check = Callable[["House"], Iterator["Finding"]]
DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, sqlite3.Error)
"""What reading a file of any content may raise; a doctor tells of it and looks on."""
SCARCE_BYTES: Final = 200_000_000
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
    """Look at everything a home needs, whatever else is wrong with it; never change anything in it."""
    findings = [*_versions(), _telemetry()]
    findings += (begun := _looked_at("home", _home, house, "mend its permissions"))
    if any(finding.outcome != "ok" for finding in begun):
        return findings
    keys = _looked_at("keys", _keys, house, "restore them from their backup")
    findings += keys
    if all(finding.outcome == "bad" for finding in keys):
        return findings  # without keys nothing else can be looked at
    for what, check, remedy in OF_HOME:
        findings += _looked_at(what, check, house, remedy)
    found = _looked_at("state", _state, house, "run `custos ingest` on the source, which writes it anew")
    if found[0].outcome == "ok":
        for what, check, remedy in OF_DATA:
            found += _looked_at(what, check, house, remedy)
    return findings + found


def _looked_at(what: str, check: Check, house: House, remedy: str) -> list[Finding]:
    """Return a check's findings; what it can't read becomes one more."""
    found: list[Finding] = []
    try:
        found.extend(check(house))
    except CustosError as error:
        place = f" ({error.where})" if error.where else ""
        found.append(Finding(what, "bad", error.what + place, error.remedy or remedy))
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        found.append(Finding(what, "bad", f"{error.strerror or 'the system refused'}{place}", remedy))
    except DAMAGE as error:
        found.append(Finding(what, "bad", f"it is damaged ({type(error).__name__})", remedy))
    return found


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
        if house.paths.protected.exists() or house.paths.descriptors.exists():
            raise EnvironmentFailed("the home's state is gone", where=str(house.paths.state))
        yield Finding("state", "note", "nothing ingested yet", "run `custos run DATASET`")
        return
    yield Finding("state", "ok", f"{house.state.dataset}, events to {house.state.last_event.date()}")


def _policy(house: House) -> Iterator[Finding]:
    yield Finding("policy", "ok", f"version {house.policy.version[:12]}")


def _report(house: House) -> Iterator[Finding]:
    yield Finding("report", "ok", f"{len(read_report(house.paths.report))} sections")


def _audit(house: House) -> Iterator[Finding]:
    yield Finding("audit", "ok", f"{house.audit.verify().events:,} events, intact")
    house.audit.check()


def _suppression(house: House) -> Iterator[Finding]:
    yield Finding("suppression", "ok", f"{len(house.suppression):,} people must not be served")


def _vault(house: House) -> Iterator[Finding]:
    places = house.settings.vault  # a server looks after its own soundness
    if not places.database:
        _sound(house.paths.vault, "people")
    if not places.key_store:
        _sound(house.paths.key_store, "keys")
    people, keys = len(house.vault), house.vault.keys_held()
    known = max(people, house.gateway.online_size())
    if people > keys:
        remedy = "restore the key store's newest backup"
        yield Finding("vault", "bad", f"{people - keys:,} of {people:,} people have no data key", remedy)
    elif people < known or (keys and not people):
        yield Finding("vault", "bad", f"it holds {people:,} of at least {max(known, 1):,} people", LOST_VAULT)
    else:
        yield Finding("vault", "ok", f"{people:,} people")


def _dataset(house: House) -> Iterator[Finding]:
    yield Finding("dataset", "ok", f"the descriptor of {house.descriptor.name} is kept")


def _quarantine(house: House) -> Iterator[Finding]:
    dataset = house.state.dataset
    folder = house.paths.quarantine / dataset
    names = [path.name.removesuffix(".sealed") for path in sorted(folder.iterdir()) if path.name.endswith(".sealed")]
    tables = [house.quarantine.read(dataset, name) for name in names]
    yield Finding("quarantine", "ok", f"{sum(table.num_rows for table in tables if table is not None):,} rows")


def _flags(house: House) -> Iterator[Finding]:
    yield Finding("inference", "ok", f"{house.inference_flags.size(house.state.dataset):,} marked baskets, sealed")


def _protected(house: House) -> Iterator[Finding]:
    rows = _read_through(house.stores.protected_store(house.state.dataset))
    yield Finding("protected", "ok", f"{rows['transactions']:,} order lines")


def _features(house: House) -> Iterator[Finding]:
    if house.state.as_of is None:
        yield Finding("features", "note", "not built yet", "run `custos build`")
        return
    rows = _read_through(house.stores.feature_store(house.state.dataset))
    services = house.gateway.services() if house.paths.feast_registry.is_file() else []
    if not services:
        raise EnvironmentFailed("no feature service is registered", where=str(house.paths.feast_registry))
    yield Finding("features", "ok", f"{rows['customer_features']:,} rows, {len(services)} services")


def _online(house: House) -> Iterator[Finding]:
    if house.state.as_of is None or not house.state.online:
        yield Finding("online", "note", "nobody is online yet", "run `custos materialize`")
        return
    _sound(house.paths.feast_online, "custos_person")
    if why := house.gateway.unready():
        raise EnvironmentFailed(why)
    people = house.gateway.online_size()
    yield Finding("online", "ok", f"{people:,} people as of {house.state.as_of.date()}")


def _registry(house: House) -> Iterator[Finding]:
    if house.paths.mlflow_database.exists():
        _sound(house.paths.mlflow_database)
    for target in ("churn", "clv"):
        yield from _looked_at("registry", partial(_champion, target=target), house, f"run `custos train {target}`")


def _tuning(house: House) -> Iterator[Finding]:
    if house.paths.studies.exists():
        _sound(house.paths.studies)
        yield Finding("tuning", "ok", "the trials can be read")


LOST_VAULT: Final = "restore the vault and its key store from their newest backup"
AGAIN: Final = "run `custos run` on the source again"
OF_HOME: Final[tuple[tuple[str, Check, str], ...]] = (
    ("policy", _policy, "mend or remove policy.yaml"),
    ("audit", _audit, "restore the audit directory from its backup"),
    ("suppression", _suppression, "restore it from its backup; people on it must not be served meanwhile"),
    ("report", _report, "remove it; the next run writes it anew"),
)
"""What there is beside the keys from the first moment on: a name, the check, the remedy where an error names none."""
OF_DATA: Final[tuple[tuple[str, Check, str], ...]] = (
    ("vault", _vault, LOST_VAULT),
    ("dataset", _dataset, "run `custos ingest` on the source again, which keeps a new copy"),
    ("quarantine", _quarantine, "run `custos ingest` on the source again"),
    ("inference", _flags, AGAIN),
    ("protected", _protected, AGAIN),
    ("features", _features, "run `custos build`, which writes them anew"),
    ("online", _online, "mend what is told above, then run `custos materialize`, which writes it anew"),
    ("registry", _registry, "restore it from its backup, or move it away and train again"),
    ("tuning", _tuning, "remove it; it only holds trials, which are run again"),
)


def _champion(house: House, target: str) -> Iterator[Finding]:
    from training.models import try_out

    champion = champion_of(house, target)
    if champion is None:
        yield Finding("registry", "note", f"{target} has no champion", f"run `custos train {target}`")
        return
    try_out(house.registry.load(champion))
    house.registry.champion_metrics(champion)
    yield Finding("registry", "ok", f"{target} version {champion.version} ({champion.design}) loads and answers")


def _sound(file: Path, table: str = "") -> None:
    """Raise EnvironmentFailed unless this is a SQLite database without damage, and has the table."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=30)) as connection:
            told = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        told, names = str(error), set()
    if told != "ok":
        raise EnvironmentFailed(f"{file.name} is gone or damaged: {told.splitlines()[0]}", where=str(file))
    if table and table not in names:
        raise EnvironmentFailed(f"{file.name} holds no table {table}", where=str(file))


def _read_through(store: TableStore) -> dict[str, int]:
    """Read every row of every table, a batch at a time; return how many each has, or raise EnvironmentFailed."""
    import pyarrow as pa

    from features.damage import rows_of

    if store.snapshot() is None:
        raise EnvironmentFailed(f"the {store.name} are gone", where=str(store.root))
    counted: dict[str, int] = {}
    for table, entry in store.manifest()["tables"].items():
        counted[table] = 0
        for path in store.files(table):
            try:
                counted[table] += rows_of(path)
            except (OSError, pa.ArrowException):
                raise EnvironmentFailed(f"a file of {table} is gone or damaged", where=str(path)) from None
        if counted[table] != entry["rows"]:
            what = f"{table} holds {counted[table]:,} of {entry['rows']:,} rows"
            raise EnvironmentFailed(what, where=str(store.root))
    return counted
