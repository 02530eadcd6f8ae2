"""The setting `engine`: what features are computed by, as it is written and as it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from features.engine import Engine

__all__ = ["ENGINE_REMEDY", "EnginePlace", "read_engine"]

ENGINES: Final = ("duckdb", "spark")
SECRETS: Final = ("secret", "password", "token")
ENGINE_REMEDY: Final = (
    "write duckdb, spark, or {name: spark, master: 'local[4]', conf: {spark.driver.memory: 4g}}; "
    "no secret, and nothing that Custos sets to keep rows unread"
)


@dataclass(frozen=True)
class EnginePlace:
    """What features are computed by; `master` and `conf` are Spark's, with its own names of settings."""

    name: Literal["duckdb", "spark"] = "duckdb"
    master: str = "local[*]"
    conf: Mapping[str, str] = field(default_factory=dict)

    def engine(self, environment: Mapping[str, str]) -> Engine:
        """Return the engine itself; nothing is started."""
        if self.name == "spark":
            from features.engine_spark import Spark

            home = environment.get("JAVA_HOME")
            return Spark(self.master, self.conf, f"{home}/bin/java" if home else "java")
        from features.engine import DuckDb

        return DuckDb()


def read_engine(raw: Any) -> EnginePlace:
    """Return the engine that a setting names, in short or as a block; TypeError or ValueError where it means nothing.

    >>> read_engine("spark").master
    'local[*]'
    """
    from features.engine_spark import FIXED  # imports no Spark

    given = raw if isinstance(raw, dict) else {"name": "duckdb" if raw is None else raw}
    place = EnginePlace(**given)
    if place.name not in ENGINES or (place.name != "spark" and given.keys() - {"name"}):
        raise ValueError
    if not isinstance(place.master, str) or not place.master.strip() or not isinstance(place.conf, dict):
        raise TypeError
    conf = {}
    for key, value in place.conf.items():
        if not isinstance(key, str) or not isinstance(value, str | int | float):
            raise TypeError
        # What protects rows stays as it is, and settings are copied and shown.
        if not key.startswith("spark.") or key in FIXED or key.rpartition(".")[2].lower() in SECRETS:
            raise ValueError
        conf[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return EnginePlace(place.name, place.master, conf)
