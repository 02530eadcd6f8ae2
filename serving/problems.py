"""Every error answer of the API: problem+json with a stable code (RFC 9457), never a caller's input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["CODES", "PROBLEM_TYPE", "Kind", "Problem", "answer", "problem_schema"]

PROBLEM_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a stable problem code means: HTTP status, title, headers that go with it."""

    status: int
    title: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


_INVALID_BEARER: Final = MappingProxyType({"www-authenticate": 'Bearer realm="custos", error="invalid_token"'})
_RETRY: Final = MappingProxyType({"retry-after": "5"})

CODES: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "bearer_missing": Kind(
            401, "A bearer token is needed", MappingProxyType({"www-authenticate": 'Bearer realm="custos"'})
        ),
        "bearer_invalid": Kind(401, "The bearer token is not valid", _INVALID_BEARER),
        "bearer_expired": Kind(401, "The bearer token has expired", _INVALID_BEARER),
        "policy_refused": Kind(403, "The policy does not allow this"),
        "not_found": Kind(404, "There is nothing at this path"),
        "method_not_allowed": Kind(405, "This path does not take that method"),
        "request_timeout": Kind(408, "The request body did not arrive in time"),
        "body_too_large": Kind(413, "The request body is too large"),
        "media_type_unsupported": Kind(415, "The request body must be application/json"),
        "json_invalid": Kind(422, "The request body is not valid JSON"),
        "request_invalid": Kind(422, "The request body does not fit the schema"),
        "tokens_invalid": Kind(422, "Some customer tokens can't be used"),
        "internal_error": Kind(500, "The service failed"),
        "not_ready": Kind(503, "The service is starting", _RETRY),
        "model_unavailable": Kind(503, "No model is in service", _RETRY),
        "dependency_failed": Kind(503, "A store the answer needs is not available", _RETRY),
        "timeout": Kind(504, "The answer took too long", _RETRY),
    }
)
"""Stable code -> kind; a code is never renamed, callers branch on it."""


class Problem(HTTPException):
    """An error on its way to the caller; `detail` and `errors` hold counts and positions, no input.

    >>> Problem("body_too_large", "at most 10 bytes").status_code
    413
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, object]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code, self.errors = code, tuple(errors)
        kind = CODES[code]
        super().__init__(kind.status, detail, {**kind.headers, **(headers or {})})


def answer(problem: Problem, request_id: str) -> Response:
    """Return the problem+json response of `problem`, carrying the request's id."""
    kind = CODES[problem.code]
    body: dict[str, object] = {
        "type": f"urn:custos:problem:{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.detail:
        body["detail"] = problem.detail
    if problem.errors:
        body["errors"] = [dict(error) for error in problem.errors]
    return Response(
        json.dumps(body, ensure_ascii=True).encode("ascii"),
        status_code=kind.status,
        headers={**(problem.headers or {}), "x-problem-code": problem.code},
        media_type=PROBLEM_TYPE,
    )


def problem_schema(*codes: str) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI `responses` entries of these problem codes, grouped by status."""
    by_status: dict[int | str, dict[str, object]] = {}
    for status in sorted({CODES[code].status for code in codes}):
        examples = {
            code: {"value": {"type": f"urn:custos:problem:{code}", "title": CODES[code].title,
                             "status": status, "code": code, "request_id": "0" * 32}}
            for code in codes
            if CODES[code].status == status
        }  # fmt: skip
        by_status[status] = {
            "description": "; ".join(CODES[code].title for code in examples),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
        }
    return by_status
