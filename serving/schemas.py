"""The shapes of the API: what a caller sends and what it gets.

Validation errors of these models never quote the input (`hide_input_in_errors`), unknown fields are
refused, and types are strict: `"1"` is not a number and `1` is not a string.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "MAX_CUSTOMERS",
    "TOKEN_PATTERN",
    "ChurnAnswer",
    "ClvAnswer",
    "Event",
    "EventsRequest",
    "EventsResponse",
    "Line",
    "Model",
    "PredictRequest",
    "PredictResponse",
    "ProblemDocument",
    "Result",
    "Status",
]

MAX_CUSTOMERS: Final = 1000
"""Most customers in one call."""

TOKEN_PATTERN: Final = "^(ret|val|mkt|svc|rsc|cmp)_[a-z2-7]{2}[0-9a-f]{34}$"  # noqa: S105
"""Shape of a customer token as a caller sees it; documented, checked with its check byte by the predictor."""

Model = Literal["churn", "clv"]
Status = Literal["ok", "cold_start", "inactive", "unknown"]

_EXAMPLE_TOKENS: Final[list[JsonValue]] = [
    "ret_aa" + "0123456789abcdef" * 2 + "5c",
    "ret_aa" + "fedcba9876543210" * 2 + "a1",
]


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a moment in ISO 8601") from None
    if moment.tzinfo is None or not 1970 < moment.year < 9999:  # so that no zone leads out of them
        raise ValueError("a moment has a zone and is of 1971 or later")
    return text


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("each model at most once")
    return values


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class PredictRequest(_Strict):
    """Whom and what to predict: 1 to 1,000 tokens of the caller's own purpose, and the models asked.

    A token may stand more than once; the answer keeps the request's order and its duplicates.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"customers": _EXAMPLE_TOKENS, "models": ["churn", "clv"]}]}
    )

    customers: Annotated[
        list[Annotated[str, Field(max_length=64, json_schema_extra={"pattern": TOKEN_PATTERN})]],
        Field(min_length=1, max_length=MAX_CUSTOMERS, description="Customer tokens of the caller's purpose."),
    ]
    models: Annotated[
        list[Model],
        Field(min_length=1, max_length=2, json_schema_extra={"uniqueItems": True}, description="Models asked."),
        AfterValidator(_distinct),
    ]


class ChurnAnswer(_Strict):
    """The churn forecast of one customer: `probability` and `band` as the policy lets the caller see them."""

    probability: Annotated[
        Annotated[float, Field(ge=0, le=1)] | str | None,
        Field(description="Absent unless allowed; text where a mask of the policy makes it one."),
    ] = None
    band: Annotated[
        str | None,
        Field(description="low < 0.25 <= medium < 0.5 <= high < 0.75 <= very_high, or what the policy tells instead."),
    ] = None
    horizon_days: Annotated[int, Field(description="Days ahead in which no purchase counts as churn.")]


class ClvAnswer(_Strict):
    """The value forecast of one customer: `value` and `band` as the policy lets the caller see them."""

    value: Annotated[
        float | str | None,
        Field(description="Expected spend in the horizon. Absent unless allowed; text where a mask makes it one."),
    ] = None
    band: Annotated[
        str | None,
        Field(description="Currency range: 0-50, 50-100, 100-250, 250-500, 500-1000, 1000+, or the policy's own."),
    ] = None
    currency: Annotated[str, Field(description="ISO 4217 code of the shop.")]
    horizon_days: Annotated[int, Field(description="Days ahead that the spend is summed over.")]


class Result(_Strict):
    """One customer's answer.

    `status` speaks of the person in this answer, by the first line that fits:
    `unknown`: nothing can be said (never seen, erased, objected or without consent: indistinguishable),
    every model asked is null; `inactive`: churn was asked and the last purchase is too long ago for the
    question to make sense, churn is null while clv, if asked, still has its value; `cold_start`: only one
    order so far, values are there but uncertain; `ok`: everything asked has its value. A model that was
    not asked has no field at all.
    """

    customer: Annotated[str, Field(description="The token as it was asked.")]
    status: Status
    churn: Annotated[ChurnAnswer | None, Field(description="Absent unless asked.")] = None
    clv: Annotated[ClvAnswer | None, Field(description="Absent unless asked.")] = None


class PredictResponse(_Strict):
    """What is predicted, as of when and by which version of each model; results in the request's order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "as_of": "2017-12-31T00:00:00+00:00",
                    "models": {"churn": "3", "clv": "2"},
                    "results": [
                        {
                            "customer": _EXAMPLE_TOKENS[0],
                            "status": "ok",
                            "churn": {"probability": 0.31, "band": "medium", "horizon_days": 28},
                            "clv": {
                                "value": 412.7, "band": "250-500", "currency": "USD", "horizon_days": 112,
                            },
                        },
                        {"customer": _EXAMPLE_TOKENS[1], "status": "unknown", "churn": None, "clv": None},
                    ],
                }
            ]
        }
    )  # fmt: skip

    as_of: Annotated[datetime, Field(description="Data time of the features.")]
    models: Annotated[dict[Model, str], Field(description="Model -> version that answered.")]
    results: list[Result]


Amount = Annotated[float, Field(ge=-1e10, le=1e10, allow_inf_nan=False)]


class Line(_Strict):
    """One line of an order: its amount, and of the shop's other columns those that the shop has."""

    amount: Annotated[Amount, Field(description="In the shop's currency; negative for what came back.")]
    quantity: Amount | None = None
    discount: Amount | None = None
    coupon: Amount | None = None
    category: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    product_id: Annotated[int, Field(ge=0, lt=2**63)] | Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Event(_Strict):
    """A new order of one customer, who is named by a token of the caller's purpose and by nothing else.

    `event` is made for this by the sender, at random: neither the shop's number of the order nor made of it. An event
    sent twice counts once.
    """

    event: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="32 random hexadecimal digits.")]
    customer: Annotated[str, Field(max_length=64, json_schema_extra={"pattern": TOKEN_PATTERN})]
    ordered_at: Annotated[
        str,
        Field(max_length=40, json_schema_extra={"format": "date-time"}, description="ISO 8601, with its zone."),
        AfterValidator(_moment),
    ]
    lines: Annotated[list[Line], Field(min_length=1, max_length=500)]


class EventsRequest(_Strict):
    """New orders of customers, 1 to 1,000 of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event": "0f" * 16,
                            "customer": _EXAMPLE_TOKENS[0],
                            "ordered_at": "2026-11-22T10:00:00+01:00",
                            "lines": [{"amount": 3.5, "category": "dairy"}],
                        }
                    ]
                }
            ]
        }
    )

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_CUSTOMERS)]


class EventsResponse(_Strict):
    """How many events were taken; they count once the shop has added them."""

    accepted: int


class ProblemDocument(BaseModel):
    """An error (RFC 9457); branch on `code`, quote `request_id` when asking for help."""

    model_config = ConfigDict(title="Problem")

    type: Annotated[str, Field(description="urn:custos:problem:<code>")]
    title: str
    status: int
    code: Annotated[str, Field(description="Stable, for programs.")]
    request_id: str
    detail: str | None = None
    errors: Annotated[
        list[dict[str, object]] | None, Field(description="Where it went wrong: positions and codes only.")
    ] = None
