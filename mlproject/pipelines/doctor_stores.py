"""Each store of a home, read through: the checks behind `custos doctor`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mlproject.pipelines.build import brought_back
from mlproject.pipelines.count import ledger_of
from mlproject.pipelines.findings import Check, Finding, looked_at
from mlproject.pipelines.report import champion_of, no_champion
from mlproject.report_file import read_report
from privacy.counted import counted
from privacy.errors import EnvironmentFailed

if TYPE_CHECKING:
    from features.storage import TableStore
    from mlproject.wiring import House

__all__ = ["OF_DATA", "OF_HOME"]


def _policy(house: House) -> Iterator[Finding]:
    yield Finding("policy", "ok", f"version {house.policy.version[:12]}")


def _report(house: House) -> Iterator[Finding]:
    yield Finding("report", "ok", f"{len(read_report(house.paths.report))} sections")


def _quality(house: House) -> Iterator[Finding]:
    from features.quality.history import QualityHistory

    cards = QualityHistory(house.paths.quality).cards()
    if not cards:
        yield Finding("quality", "note", "no scorecard yet", "`custos ingest` makes one")
        return
    breaches = len(cards[-1].breaches)
    yield Finding(
        "quality", "ok", f"{counted(len(cards), 'scorecard')}, the last {cards[-1].outcome}; breaches: {breaches:,}"
    )


def _audit(house: House) -> Iterator[Finding]:
    yield Finding("audit", "ok", f"{counted(house.audit.verify().events, 'event')}, intact")
    house.audit.check()


def _suppression(house: House) -> Iterator[Finding]:
    yield Finding("suppression", "ok", f"people who must not be served: {len(house.suppression):,}")


def _budget(house: House) -> Iterator[Finding]:
    ledger = ledger_of(house)
    yield Finding("budget", "ok", f"releases with noise: {len(ledger.spendings()):,}; epsilon {ledger.total} a purpose")


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
        yield Finding(
            "vault", "bad", f"{people - keys:,} of {counted(people, 'person', 'people')} without a data key", remedy
        )
    elif people < known or (keys and not people):
        yield Finding(
            "vault", "bad", f"it holds {people:,} of at least {counted(max(known, 1), 'person', 'people')}", LOST_VAULT
        )
    else:
        yield Finding("vault", "ok", counted(people, "person", "people"))


def _dataset(house: House) -> Iterator[Finding]:
    yield Finding("dataset", "ok", f"the descriptor of {house.descriptor.name} is kept")


def _quarantine(house: House) -> Iterator[Finding]:
    yield Finding("quarantine", "ok", counted(house.quarantine.size(house.state.dataset), "row"))


def _flags(house: House) -> Iterator[Finding]:
    yield Finding(
        "inference", "ok", f"{counted(house.inference_flags.size(house.state.dataset), 'marked basket')}, sealed"
    )


def _consents(house: House) -> Iterator[Finding]:
    if house.paths.consents.exists():
        told = (
            f"consents and withdrawals on record: {len(house.consents):,}, of linked people under each of their tokens"
        )
        yield Finding("consents", "ok", told)
    elif "consents" in house.descriptor.tables:
        raise EnvironmentFailed("the consent ledger is gone", where=str(house.paths.consents))


def _protected(house: House) -> Iterator[Finding]:
    store = house.stores.protected_store(house.state.dataset)
    rows = _read_through(store)
    if back := len(brought_back(house, store)):
        remedy = "run `custos build`, which takes them out again, then `custos materialize`"
        people = counted(back, "person who had been erased is", "people who had been erased are")
        yield Finding("protected", "bad", f"{people} in it (by a backup?)", remedy)
        return
    yield Finding("protected", "ok", counted(rows["transactions"], "order line"))


def _features(house: House) -> Iterator[Finding]:
    if house.state.as_of is None:
        yield Finding("features", "note", "not built yet", "run `custos build`")
        return
    rows = _read_through(house.stores.feature_store(house.state.dataset))
    services = house.gateway.services() if house.paths.feast_registry.is_file() else []
    if not services:
        raise EnvironmentFailed("no feature service is registered", where=str(house.paths.feast_registry))
    yield Finding("features", "ok", f"{counted(rows['customer_features'], 'row')}, {counted(len(services), 'service')}")


def _online(house: House) -> Iterator[Finding]:
    if house.state.as_of is None or not house.state.online:
        yield Finding("online", "note", "nobody is online yet", "run `custos materialize`")
        return
    if not house.settings.online.url:
        _sound(house.paths.feast_online, "custos_rows")
    if why := house.gateway.unready():
        raise EnvironmentFailed(why)
    people = house.gateway.online_size()
    yield Finding("online", "ok", f"{counted(people, 'person', 'people')} as of {house.state.as_of.date()}")


def _registry(house: House) -> Iterator[Finding]:
    if house.paths.mlflow_database.exists():
        _sound(house.paths.mlflow_database)
    for target in ("churn", "clv"):
        yield from looked_at("registry", partial(_champion, target=target), house, f"run `custos train {target}`")


def _tuning(house: House) -> Iterator[Finding]:
    if house.paths.studies.exists():
        _sound(house.paths.studies)
        yield Finding("tuning", "ok", "the trials can be read")


def _champion(house: House, target: str) -> Iterator[Finding]:
    from training.models import try_out

    champion = champion_of(house, target)
    if champion is None:
        told = no_champion(house, target)
        yield Finding("registry", "note", told.what, told.remedy)
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
    found: dict[str, int] = {}
    for table, entry in store.manifest()["tables"].items():
        found[table] = 0
        for path in store.files(table):
            try:
                found[table] += rows_of(path)
            except (OSError, pa.ArrowException):
                raise EnvironmentFailed(f"a file of {table} is gone or damaged", where=str(path)) from None
        if found[table] != entry["rows"]:
            what = f"{table} holds {found[table]:,} of {counted(entry['rows'], 'row')}"
            raise EnvironmentFailed(what, where=str(store.root))
    return found


LOST_VAULT: Final = "restore the vault and its key store from their newest backup"
AGAIN: Final = "run `custos run` on the source again"
OF_HOME: Final[tuple[tuple[str, Check, str], ...]] = (
    ("policy", _policy, "mend or remove policy.yaml"),
    ("audit", _audit, "restore the audit directory from its backup"),
    ("budget", _budget, "restore the budget's ledger from its backup"),
    ("suppression", _suppression, "restore it from its backup; people on it must not be served meanwhile"),
    ("quality", _quality, "move it away: the next ingest begins a new one"),
    ("report", _report, "remove it; the next run writes it anew"),
)
"""What there is beside the keys from the first moment on: a name, the check, the remedy where an error names none."""
OF_DATA: Final[tuple[tuple[str, Check, str], ...]] = (
    ("vault", _vault, LOST_VAULT),
    ("dataset", _dataset, "run `custos ingest` on the source again, which keeps a new copy"),
    ("quarantine", _quarantine, "run `custos ingest` on the source again"),
    ("inference", _flags, AGAIN),
    ("consents", _consents, "restore it from its backup, or run `custos run` on the source again"),
    ("protected", _protected, AGAIN),
    ("features", _features, "run `custos build`, which writes them anew"),
    ("online", _online, "mend what is told above, then run `custos materialize`, which writes it anew"),
    ("registry", _registry, "restore it from its backup, or move it away and train again"),
    ("tuning", _tuning, "remove it; it only holds trials, which are run again"),
)
