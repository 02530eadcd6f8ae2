"""The routes under /v1, as a FastAPI application; `Edge` stands in front and has already authenticated."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response

from privacy.errors import CustosError, Refused
from privacy.json_files import parse_strict
from privacy.policy import Principal

from .errors import EventsRefused, ModelUnavailable, TokensRefused, refused_detail
from .parts import ServingParts, Slot
from .problems import Problem, answer, problem_schema
from .schemas import Event, EventsRequest, EventsResponse, Line, PredictRequest, PredictResponse, ProblemDocument

__all__ = ["PREFIX", "build_app", "openapi_document", "routes_of", "strict_json"]

PREFIX: Final = "/v1"
_THREADS: Final = 8
_MAX_ERRORS: Final = 20
_FIELDS: Final = frozenset({"body", "customers", "models", "events", *Event.model_fields, *Line.model_fields})
_ANY_ERROR: Final = (
    "bearer_missing", "bearer_invalid", "bearer_expired", "policy_refused", "method_not_allowed",
    "request_timeout", "body_too_large", "media_type_unsupported", "json_invalid", "request_invalid",
    "tokens_invalid", "internal_error", "not_ready", "model_unavailable",
    "dependency_failed", "timeout",
)  # fmt: skip


def strict_json(body: bytes) -> Any:
    """Parse a JSON body as RFC 8259 has it; raises Problem for NaN, repeated keys, bad UTF-8, deep nesting.

    >>> strict_json(b'{"a": [1]}')
    {'a': [1]}
    """
    try:
        return parse_strict(body)
    except ValueError:
        raise Problem("json_invalid", "strict JSON in UTF-8, each key once, no NaN or Infinity") from None


class _StrictRequest(Request):
    async def json(self) -> Any:
        return strict_json(await self.body())


class _StrictRoute(APIRoute):
    """A route whose body is strict JSON under the one content type, or nothing at all."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            kind = request.headers.get("content-type", "").replace(" ", "").lower()
            if kind not in ("application/json", "application/json;charset=utf-8"):
                raise Problem("media_type_unsupported")
            if request.headers.get("content-encoding", "identity").lower() != "identity":
                raise Problem("media_type_unsupported", "no content encoding is taken")
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def _principal(request: Request) -> Principal:
    """Return whom the edge authenticated; fails closed where the edge did not stand in front."""
    principal = getattr(request.state, "principal", None)
    if not isinstance(principal, Principal):
        raise Problem("bearer_missing")
    return principal


_bearer = HTTPBearer(
    scheme_name="bearer", bearerFormat="JWT", description="From `custos access grant`.", auto_error=False
)


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _known(error: CustosError) -> Problem:
    """Turn one of our own errors into its problem; what could name a path or a store is not told."""
    if isinstance(error, TokensRefused):
        return Problem("tokens_invalid", str(error), errors=error.errors())
    if isinstance(error, EventsRefused):
        return Problem("request_invalid", str(error), errors=error.errors())
    if isinstance(error, Refused):
        return Problem("policy_refused", refused_detail(error))
    # Body and tokens were held to their form before: a BadInput from below is about this home, not the caller.
    if isinstance(error, ModelUnavailable):
        return Problem("model_unavailable", str(error))
    return Problem("dependency_failed", "try again later; an operator sees why with: custos doctor")


def _misfit(error: RequestValidationError) -> Problem:
    """Say where a body does not fit and why, by our own field names and pydantic's error types alone."""
    found = error.errors()
    errors = [
        {"at": ".".join(_place(part) for part in one["loc"]), "type": str(one["type"]), **_expected(one)}
        for one in found[:_MAX_ERRORS]
    ]
    return Problem("request_invalid", f"{len(found)} places do not fit the schema", errors=errors)


def _expected(one: Mapping[str, Any]) -> dict[str, str]:
    # Of what pydantic adds, only this comes from our schema alone.
    expected = one.get("ctx", {}).get("expected") if one["type"] == "literal_error" else None
    return {"expected": str(expected)} if expected else {}


def _place(part: object) -> str:
    return str(part) if isinstance(part, int) or part in _FIELDS else "unexpected_field"


def _handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def misfit(request: Request, error: RequestValidationError) -> Response:
        return answer(_misfit(error), _request_id(request))

    @app.exception_handler(CustosError)
    async def known(request: Request, error: CustosError) -> Response:
        return answer(_known(error), _request_id(request))

    @app.exception_handler(Exception)
    async def unknown(request: Request, _: Exception) -> Response:
        return answer(Problem("internal_error"), _request_id(request))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 400: "json_invalid"}
        problem = error if isinstance(error, Problem) else Problem(codes.get(error.status_code, "internal_error"))
        return answer(problem, _request_id(request))


def build_app(slot: Slot) -> FastAPI:
    """Build the application over `slot`, which start-up fills; builds no store, key or model."""
    app = FastAPI(
        title="Custos", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )  # fmt: skip
    app.router.route_class = _StrictRoute
    _handlers(app)
    run = _Threads(slot)
    _offer_predictions(app, run)
    _offer_events(app, run)
    return app


class _Threads:
    """Where use cases run: a few threads, on the parts that start-up made."""

    def __init__(self, slot: Slot) -> None:
        self.slot, self._limits = slot, list[anyio.CapacityLimiter]()

    async def __call__(self, use: Callable[[ServingParts], Any]) -> Any:
        """Return what `use` makes of the parts; Problem before start-up. What is abandoned runs on, unheard."""
        parts = self.slot.parts
        if parts is None:
            raise Problem("not_ready")
        if not self._limits:
            self._limits.append(anyio.CapacityLimiter(_THREADS))
        return await anyio.to_thread.run_sync(lambda: use(parts), limiter=self._limits[0], abandon_on_cancel=True)


def _offer_predictions(app: FastAPI, run: _Threads) -> None:
    @app.post(
        "/predict",
        summary="Predict churn and value for up to 1,000 customers",
        response_model=PredictResponse,
        response_model_exclude_unset=True,
        responses=problem_schema(*_ANY_ERROR),
        dependencies=[Depends(_bearer)],
    )
    async def predict(
        request: Request, body: PredictRequest, principal: Annotated[Principal, Depends(_principal)]
    ) -> Response:
        """Return one result a token, in the request's order, shaped by the caller's role and purpose."""

        def use(parts: ServingParts) -> dict[str, Any]:
            return parts.predictor.predict(principal, body.customers, body.models, _request_id(request))

        found = await run(use)
        run.slot.metrics.results(result["status"] for result in found["results"])
        content = json.dumps(found, allow_nan=False, separators=(",", ":")).encode("ascii")
        return Response(content, media_type="application/json")


def _offer_events(app: FastAPI, run: _Threads) -> None:
    @app.post(
        "/events",
        summary="Take new orders of up to 1,000 customers, named by tokens alone",
        status_code=202,
        response_model=EventsResponse,
        responses=problem_schema(*_ANY_ERROR),
        dependencies=[Depends(_bearer)],
    )
    async def events(
        request: Request, body: EventsRequest, principal: Annotated[Principal, Depends(_principal)]
    ) -> Response:
        """Keep the events until the shop adds them; sent again with equal `event` ids, they count once."""

        def use(parts: ServingParts) -> int:
            if parts.receiver is None:
                raise Problem("not_ready")
            told = [event.model_dump() for event in body.events]
            return parts.receiver.take(principal, told, _request_id(request))

        content = json.dumps({"accepted": await run(use)}, separators=(",", ":")).encode("ascii")
        return Response(content, 202, media_type="application/json")


def routes_of(app: FastAPI) -> dict[str, frozenset[str]]:
    """Return the app's full paths with the methods each takes."""
    return {PREFIX + route.path: frozenset(route.methods or ()) for route in app.routes if isinstance(route, APIRoute)}


def openapi_document(app: FastAPI) -> Mapping[str, Any]:
    """Return the OpenAPI document of the whole service: /v1 with its security scheme and errors, and health."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, summary="Masked predictions")
    problem = ProblemDocument.model_json_schema()
    document["components"]["schemas"]["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    plain = {"responses": {"200": {"description": "Yes"}, "503": {"description": "No"}}}
    health = {
        f"/{name}": {"get": {"summary": name, "operationId": name, **plain}} for name in ("livez", "readyz", "healthz")
    }
    document["paths"] = {**{PREFIX + path: item for path, item in document["paths"].items()}, **health}
    return document
