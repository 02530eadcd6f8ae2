"""The use case of the API, without a web framework: tokens in, masked predictions out.

Order of things: policy, tokens, models, features, predictions, masks, audit, answer. Whatever fails, fails
closed: nothing is answered that the audit did not acknowledge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from privacy.audit import AuditLog, commitment
from privacy.errors import CheckFailed, CustosError, Refused
from privacy.policy import Decision, Policy, Principal
from training.scoring import COLD_START, INACTIVE, OK, score_rows

from .bands import CHURN_BANDS, CLV_BANDS, Bands
from .callers_tokens import require_own
from .champion import Champion
from .errors import ModelUnavailable, TokensRefused
from .told import told

__all__ = ["OnlineFeatures", "Predictor", "Shop"]

ACTION: Final = "predict"
UNKNOWN: Final = "unknown"
_STATUS_ORDER: Final = (UNKNOWN, INACTIVE, COLD_START, OK)


class OnlineRows(Protocol):
    """What the gateway answers: one row a token asked, in order (`features.gateway.OnlineAnswer`)."""

    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def values(self) -> np.ndarray: ...
    @property
    def present(self) -> np.ndarray: ...
    @property
    def references(self) -> Sequence[str | None]: ...
    @property
    def as_of(self) -> datetime: ...


class OnlineFeatures(Protocol):
    """The part of `features.gateway.FeatureGateway` that serving uses."""

    def online(self, principal: Principal, service: str, tokens: Sequence[str], *, action: str = ...) -> OnlineRows: ...
    def unready(self) -> str: ...


class Champions(Protocol):
    """Where the model in service comes from: a `ChampionFollower`, or anything alike."""

    def current(self, target: str) -> Champion | None: ...


@dataclass(frozen=True, slots=True)
class Shop:
    """What an answer needs to know of the shop: currency, who is too long gone for churn, bands, services."""

    currency: str
    active_within_days: int | None
    churn_bands: Bands = CHURN_BANDS
    clv_bands: Bands = CLV_BANDS
    services: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({"churn": "churn_v1", "clv": "clv_v1"})
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """One model's outcome over the distinct tokens; `value` is NaN where there is none."""

    champion: Champion
    rows: OnlineRows
    status: np.ndarray
    value: np.ndarray


class Predictor:
    """Answers `predict` for one principal at a time; thread-safe as far as its parts are."""

    def __init__(
        self, gateway: OnlineFeatures, policy: Policy, audit: AuditLog, champions: Champions, shop: Shop
    ) -> None:
        self._gateway, self._policy, self._audit = gateway, policy, audit
        self._champions, self._shop = champions, shop

    def unready(self) -> list[str]:
        """Say what is missing to answer: champions of every model, features, an audit log that takes events."""
        lost = [model for model in self._shop.services if self._champions.current(model) is None]
        why = [f"no champion of {model} is in service" for model in lost]
        if features := self._gateway.unready():
            why.append(features)
        try:
            self._audit.check()
        except CustosError as error:
            why.append(error.what)
        return why

    def predict(
        self, principal: Principal, tokens: Sequence[str], models: Sequence[str], request_id: str = ""
    ) -> dict[str, Any]:
        """Predict `models` for `tokens` (order and duplicates kept); returns the issue's answer as a dict.

        Raises Refused (policy), TokensRefused, ModelUnavailable, EnvironmentFailed (store, audit) and
        CheckFailed (a model answered nonsense); a refusal or failure is audited like an answer.
        """
        with _Ending(self._audit, self._policy, principal, models, len(tokens), request_id):
            decisions = {model: self._decide(principal, model) for model in models}
            distinct = list(dict.fromkeys(tokens))
            require_own(tokens, principal.purpose)
            champions = {model: self._champion(model) for model in models}
            scored = {model: self._score(principal, model, champion, distinct) for model, champion in champions.items()}
            answers = dict(zip(distinct, self._results(distinct, scored, decisions), strict=True))
            body = {
                "as_of": min(part.rows.as_of for part in scored.values()).isoformat(),
                "models": {model: part.champion.version for model, part in scored.items()},
                "results": [answers[token] for token in tokens],
            }
        self._record(principal, distinct, scored, decisions, request_id)
        return body

    def _decide(self, principal: Principal, model: str) -> Decision:
        if principal.purpose is None:
            raise Refused("a prediction needs a purpose", remedy="ask for a bearer granted for one")
        return self._policy.require(principal, ACTION, f"model:{model}")

    def _champion(self, model: str) -> Champion:
        champion = self._champions.current(model)
        if champion is None:
            raise ModelUnavailable(f"no champion of {model} is in service", remedy="train or promote one")
        return champion

    def _score(self, principal: Principal, model: str, champion: Champion, distinct: list[str]) -> _Scored:
        rows = self._gateway.online(principal, self._shop.services[model], distinct, action=ACTION)
        present = np.asarray(rows.present, dtype=bool)
        if len(present) != len(distinct) or len(rows.values) != len(distinct):
            raise CheckFailed("the feature store answered another number of rows than asked")
        status = np.full(len(distinct), UNKNOWN, dtype=object)
        value = np.full(len(distinct), np.nan)
        if present.any():
            frame = pd.DataFrame(rows.values[present], columns=list(rows.columns))
            scored = score_rows(champion.model, frame, self._shop.active_within_days)
            predicted = scored.value[scored.status != INACTIVE]
            if len(scored.value) != len(frame) or not np.isfinite(predicted).all():
                raise CheckFailed(f"the {model} model did not answer one finite number a row")
            status[present], value[present] = scored.status, scored.value
        return _Scored(champion, rows, status, value)

    def _results(
        self, distinct: list[str], scored: Mapping[str, _Scored], decisions: Mapping[str, Decision]
    ) -> list[dict[str, Any]]:
        statuses = [_worst([part.status[i] for part in scored.values()]) for i in range(len(distinct))]
        answers = {model: self._answers(model, part, decisions[model], statuses) for model, part in scored.items()}
        return [
            {"customer": token, "status": statuses[i], **{model: answers[model][i] for model in scored}}
            for i, token in enumerate(distinct)
        ]

    def _answers(
        self, model: str, part: _Scored, decision: Decision, statuses: Sequence[str]
    ) -> list[dict[str, Any] | None]:
        """Shape one model's answers as the policy allows: a field that may not be told is simply not there."""
        bands = self._shop.churn_bands if model == "churn" else self._shop.clv_bands
        fields = told(model, part.value, decision.masks, bands)
        rest: dict[str, Any] = {} if model == "churn" else {"currency": self._shop.currency}
        rest["horizon_days"] = int(part.champion.model.horizon_days)
        return [
            None
            if status == UNKNOWN or math.isnan(value)
            else {name: column[at] for name, column in fields.items()} | rest
            for at, (value, status) in enumerate(zip(part.value.tolist(), statuses, strict=True))
        ]

    def _record(
        self,
        principal: Principal,
        distinct: list[str],
        scored: Mapping[str, _Scored],
        decisions: Mapping[str, Decision],
        request_id: str,
    ) -> None:
        """Audit before answering: one person by its reference, several by count and commitment."""
        masked = any(decision.masks for decision in decisions.values())
        references = next(iter(scored.values())).rows.references
        single = len(distinct) == 1
        self._audit.append(
            action=ACTION,
            principal=principal,
            resource=_resource(list(scored)),
            outcome="mask" if masked else "allow",
            rule=",".join(dict.fromkeys(decision.rule for decision in decisions.values())),
            count=len(distinct),
            reference=references[0] if single else None,
            commitment=None if single else commitment(distinct),
            detail={
                "request_id": request_id,
                "versions": {model: part.champion.version for model, part in scored.items()},
            },
        )


@dataclass(frozen=True, slots=True)
class _Ending:
    """Audits how a request ended that got no answer, whatever it was that ended it.

    Bad tokens are a `deny` by no rule of the policy; a policy's refusal has its own outcome and rule; all else is
    an `error`, told by our own words or by its type alone, as a foreign error's text may quote data.
    """

    audit: AuditLog
    policy: Policy
    principal: Principal
    models: Sequence[str]
    asked: int
    request_id: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        outcome, rule = "error", ""
        if isinstance(error, Refused | TokensRefused):
            outcome, rule = self._against()
        self.audit.append(
            action=ACTION,
            principal=self.principal,
            resource=_resource(self.models),
            outcome=outcome,
            rule=rule,
            count=self.asked,
            detail={
                "request_id": self.request_id,
                "why": error.what if isinstance(error, CustosError) else type(error).__name__,
            },
        )

    def _against(self) -> tuple[str, str]:
        """Return the first outcome and rule against the caller; the gateway may refuse where the policy has none."""
        decided = [self.policy.decide(self.principal, ACTION, f"model:{model}") for model in self.models]
        against = next((decision for decision in decided if not decision.allowed), None)
        return (against.outcome, against.rule) if against else ("deny", "")


def _resource(models: Sequence[str]) -> str:
    return ",".join(f"model:{model}" for model in models)


def _worst(statuses: Sequence[str]) -> str:
    """Return the first of unknown, inactive, cold_start, ok that any model says of the person."""
    return min(statuses, key=_STATUS_ORDER.index)
