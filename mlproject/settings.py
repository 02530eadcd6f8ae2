"""Where Custos lives and how it behaves: the one reader of environment variables and settings files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from mlproject.engine_setting import ENGINE_REMEDY, EnginePlace, read_engine
from privacy.classification import LawfulBasis, Purpose, Role
from privacy.durable import expanded, read_bytes
from privacy.errors import BadInput

__all__ = [
    "Guard",
    "OnlinePlace",
    "Settings",
    "VaultPlaces",
    "debugging",
    "environment",
    "find_home",
    "load_settings",
    "loud_telemetry",
    "project_run",
    "quiet_environment",
]

HOME_NAME: Final = ".custos"
KMS_KINDS: Final = ("passphrase", "key_file", "environment")
ONLINE_KINDS: Final = ("redis", "rediss", "unix", "postgresql")
LEAST_BEARER_DAYS: Final = 0.001
LEAST_EPSILON, MOST_EPSILON = 0.001, 100.0

# Usage reports are off before any framework is imported. Both compare with the word itself: "1" does not switch
# them off (mlflow.telemetry.utils, bentoml._internal.utils.analytics).
QUIET: Final[Mapping[str, str]] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "FEAST_USAGE": "False",
    "GIT_PYTHON_REFRESH": "quiet",
    # Models are Booster text and JSON; nothing we load needs a pickle.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class Guard:
    """What the key files are opened with; `root` and `service` name a file or a variable, empty for the usual one.

    `kind` is `passphrase` (a file whose first line is stretched by Argon2id), `key_file` (256 random bits in a file,
    such as a mounted secret) or `environment` (a passphrase in a variable).
    """

    kind: Literal["passphrase", "key_file", "environment"] = "passphrase"
    root: str = ""
    service: str = ""


@dataclass(frozen=True)
class VaultPlaces:
    """Database URLs of the vault and its key store, empty for the home's own SQLite files."""

    database: str = ""
    key_store: str = ""


@dataclass(frozen=True)
class OnlinePlace:
    """The server of the online rows, empty for the home's own SQLite file; a password is in the variable named."""

    url: str = ""
    password_env: str = ""

    def address(self, environment: Mapping[str, str]) -> str:
        """Return the URL with its password; BadInput where the variable isn't set."""
        if not self.password_env:
            return self.url
        if not (password := environment.get(self.password_env)):
            remedy = "put the online store's password into it"
            raise BadInput(f"the variable {self.password_env} is not set", remedy=remedy)
        parts = urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host if at else parts.netloc}"))


@dataclass(frozen=True)
class Settings:
    """How this home behaves; every field has a default, `settings.yaml` overrides it.

    `bearer_days` is the life of a bearer token, `fresh_days` how old an online row may be in data time,
    `epsilon_total` how much may ever be told with noise about the people of a data set, for each purpose.
    """

    operator: str = "operator"
    role: Role = Role.ADMIN
    bearer_days: float = 30.0
    fresh_days: int = 35
    epsilon_total: float = 1.0
    lawful_bases: Mapping[str, LawfulBasis] = field(default_factory=dict)
    kms: Guard = field(default_factory=Guard)
    vault: VaultPlaces = field(default_factory=VaultPlaces)
    online: OnlinePlace = field(default_factory=OnlinePlace)
    engine: EnginePlace = field(default_factory=EnginePlace)


def find_home(given: Path | None, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """Return the home: the given one, else CUSTOS_HOME, else the nearest parent's `.custos`, else `./.custos`.

    >>> find_home(Path("/a/home"))
    PosixPath('/a/home')
    """
    environment = os.environ if environment is None else environment
    start = (cwd or Path.cwd()).absolute()
    if given is not None:
        return start / expanded(given)
    if environment.get("CUSTOS_HOME"):
        return start / expanded(Path(environment["CUSTOS_HOME"]))
    for folder in (start, *start.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return start / HOME_NAME


def load_settings(path: Path) -> Settings:
    """Return the settings of a home; raise BadInput for a key or a value that means nothing."""
    if (data := read_bytes(path, "the settings")) is None:
        return Settings()
    from privacy.strict_yaml import UnreadableYaml, read_document

    try:
        raw, _ = read_document(data)
    except UnreadableYaml as error:
        where = f"{path}, line {error.line}" if error.line else str(path)
        raise BadInput(f"the settings file {error.why}", where=where, remedy="mend the file") from None
    if not isinstance(raw, dict | None):
        raise BadInput("the settings are not a mapping", where=str(path), remedy="write `key: value` lines")
    return _checked(raw or {}, path)


def _checked(raw: Mapping[Any, Any], path: Path) -> Settings:
    found: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in _READERS:
            raise BadInput(f"unknown setting {key!s:.60}", where=str(path), remedy=f"use {', '.join(sorted(_READERS))}")
        reader, remedy = _READERS[key]
        try:
            found[key] = reader(value)
        except (TypeError, ValueError):
            raise BadInput(f"the setting {key} means nothing", where=str(path), remedy=remedy) from None
    return Settings(**found)


def _operator(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
        raise ValueError
    return raw


def _amount(raw: Any, least: float, most: float) -> Any:
    # The bound's own kind is the kind wanted: whole numbers between integers.
    if isinstance(raw, bool) or not isinstance(raw, int | type(most)) or not least <= raw <= most:
        raise ValueError
    return type(most)(raw)


def _lawful_bases(raw: Any) -> dict[str, LawfulBasis]:
    return {Purpose(purpose).value: LawfulBasis(basis) for purpose, basis in dict(raw or {}).items()}


def _guard(raw: Any) -> Guard:
    raw = {"kind": "passphrase"} if raw is None else raw
    texts = isinstance(raw, dict) and all(isinstance(word, str) for word in raw.values())
    if not texts or raw.get("kind") not in KMS_KINDS:
        raise ValueError
    return Guard(**raw)


def _vault_places(raw: Any) -> VaultPlaces:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    places = VaultPlaces(**({} if raw is None else raw))
    try:
        with_password = any(url and make_url(url).password for url in (places.database, places.key_store))
    except ArgumentError:
        raise ValueError from None
    if with_password:  # settings are copied and shown; libpq has a place for passwords
        raise ValueError
    return places


def _online(raw: Any) -> OnlinePlace:
    place = OnlinePlace(**({} if raw is None else raw))
    if not isinstance(place.url, str) or not isinstance(place.password_env, str):
        raise TypeError
    parts = urlsplit(place.url)
    _ = parts.port  # ValueError where it is no number
    if place.url and parts.scheme not in ONLINE_KINDS:
        raise ValueError
    if parts.password is not None or "pass" in parts.query:  # settings are copied and shown
        raise ValueError
    if place.password_env and (not parts.netloc or not place.password_env.isidentifier()):
        raise ValueError
    return place


_READERS: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "operator": (_operator, "name who acts, in one line: operator: mei"),
    "role": (Role, f"write one of {', '.join(Role)}"),
    "bearer_days": (
        partial(_amount, least=LEAST_BEARER_DAYS, most=366.0),
        f"write days: {LEAST_BEARER_DAYS} to 366",
    ),
    "fresh_days": (partial(_amount, least=1, most=3650), "write whole days: 1 to 3650"),
    "epsilon_total": (
        partial(_amount, least=LEAST_EPSILON, most=MOST_EPSILON),
        f"write a number: {LEAST_EPSILON} to {MOST_EPSILON:g}",
    ),
    "lawful_bases": (_lawful_bases, f"write {{purpose: basis}} with bases of {', '.join(LawfulBasis)}"),
    "kms": (_guard, f"write {{kind: one of {', '.join(KMS_KINDS)}, root: ..., service: ...}}"),
    "vault": (
        _vault_places,
        "write {database: URL, key_store: URL}, such as postgresql://custos@host/vault; passwords go into ~/.pgpass",
    ),
    "online": (
        _online,
        "write {url: redis://host:6379/0 or postgresql://user@host/online, password_env: VARIABLE}; no password here",
    ),
    "engine": (read_engine, ENGINE_REMEDY),
}
"""Each setting: what makes a value of it, or raises TypeError or ValueError, and how it is to be written."""


def environment() -> Mapping[str, str]:
    """Return the environment, for a passphrase that is kept there."""
    return os.environ


def quiet_environment() -> dict[str, str]:
    """Switch off every dependency's telemetry in this process; return the environment for its children."""
    os.environ.update(QUIET)
    return dict(os.environ)


def loud_telemetry() -> list[str]:
    """Return the switches that don't stand as they must."""
    return [name for name, value in QUIET.items() if os.environ.get(name) != value]


def debugging() -> bool:
    """Say whether CUSTOS_DEBUG=1 asks for traces and warnings."""
    return os.environ.get("CUSTOS_DEBUG") == "1"


def project_run() -> tuple[str, str] | None:
    """Take the `mlflow run` project's tracking URI and run id out of the environment, if it started us.

    Left there, they would lead our own logging away from the home's store.
    """
    uri, run = os.environ.pop("MLFLOW_TRACKING_URI", None), os.environ.pop("MLFLOW_RUN_ID", None)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    return (uri, run) if uri and run else None
