"""The report as a home keeps it: checked when it is read, so that whatever shows it can rely on its shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privacy.errors import EnvironmentFailed
from privacy.json_files import read_object

__all__ = ["read_report"]

Metrics = dict[str, float | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Dataset(_Part):
    name: str
    first_event: str
    last_event: str


class _Table(_Part):
    rows_in: int
    kept: int
    quarantined: dict[str, int]


class _Features(_Part):
    columns: int
    rows: int
    as_of: str
    cutoffs: list[str]


class _Version(_Part):
    version: int
    design: str


class _Model(_Part):
    champion: _Version | None
    tested: _Version
    message: str
    metrics: Metrics
    champion_metrics: Metrics
    baselines: dict[str, Metrics]


class _Stage(_Part):
    name: str
    seconds: float
    peak_mb: float


class _Figure(_Part):
    value: float
    low: float
    high: float


class _Membership(_Part):
    version: int
    design: str
    people: int
    shadows: int
    lira: dict[str, _Figure]
    threshold: dict[str, _Figure]
    guessing: dict[str, _Figure]


class _Inference(_Part):
    marked: list[str]
    days: int
    baskets: int
    verdicts: list[dict[str, Any]]


class _Push(_Part):
    events: int
    added: int
    online: int
    quarantined: dict[str, int]


class _Score(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    value: float = Field(ge=0, le=1)
    bound: Literal["exact", "at least", "at most", "about"]


class _Quality(_Part):
    outcome: str
    tables: dict[str, dict[str, _Score]]
    breaches: list[str]


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    dataset: _Dataset | None = None
    tables: dict[str, _Table] = {}
    quality: _Quality | None = None
    features: _Features | None = None
    push: _Push | None = None
    models: dict[Literal["churn", "clv"], _Model] = {}
    membership: dict[Literal["churn", "clv"], _Membership] = {}
    inference: _Inference | None = None
    stages: list[_Stage] = []


def read_report(path: Path) -> dict[str, Any]:
    """Return the sections that were recorded so far, none where nothing was; EnvironmentFailed for a damaged file."""
    remedy = "remove it; every stage that runs again records itself anew"
    report = read_object(path, "the report", remedy=remedy) or {}
    try:
        _Report.model_validate(report)
    except ValidationError:
        raise EnvironmentFailed("the report is damaged", where=str(path), remedy=remedy) from None
    return report
