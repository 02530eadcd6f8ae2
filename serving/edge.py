"""The outermost ASGI layer: every request passes here first, Bento's own routes included.

It knows every path of the service and refuses the rest, authenticates before a body is read, bounds the
body in size and time and the answer in time, gives every answer a request id, counts it and logs one line
without payload, query or caller.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import anyio
import anyio.to_thread
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from privacy.errors import Refused
from privacy.policy import Principal

from .auth import BearerRefused
from .errors import named, refused_detail
from .landing import LANDING_PAGE
from .metrics import METRICS_TYPE
from .parts import Slot
from .problems import Problem, answer

__all__ = ["Edge", "Limits"]

_HEALTH: Final = frozenset({"/livez", "/readyz", "/healthz"})
_OPEN: Final = frozenset({"/", "/docs.json"}) | _HEALTH
_READERS_ONLY: Final = frozenset({"/metrics", "/schema.json"})
_READS: Final = frozenset({"GET", "HEAD"})
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)
_access = logging.getLogger("custos.access")
_log = logging.getLogger("custos.serving")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost: body bytes, seconds to receive it, seconds to answer.

    1,000 customers take about 2 s of CPU in Feast's own SQLite store, more on a busy machine.
    """

    body_bytes: int = 262_144
    body_seconds: float = 3.0
    answer_seconds: float = 10.0


class _Answer:
    """Wraps `send`: adds our headers, remembers the status and whether an answer has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._id = send, request_id.encode("ascii")
        self.status = 0
        self.problem = ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kept = []
            for name, value in message.get("headers", []):
                if name.lower() == b"x-problem-code":
                    self.problem = value.decode("ascii")
                elif name.lower() not in (b"server", b"x-request-id"):
                    kept.append((name, value))
            message = {**message, "headers": [*kept, (b"x-request-id", self._id), *_HEADERS]}
        await self._send(message)


class Edge:
    """ASGI middleware; `routes` are the mounted app's full paths with the methods each takes."""

    def __init__(
        self,
        app: ASGIApp,
        slot: Slot,
        routes: Mapping[str, frozenset[str]],
        document: Callable[[], Mapping[str, object]],
        limits: Limits | None = None,
    ) -> None:
        self._app, self._slot, self._document = app, slot, document
        self._limits = limits or Limits()
        fixed = dict.fromkeys((*_OPEN, *_READERS_ONLY), _READS)
        self._routes: Mapping[str, frozenset[str]] = MappingProxyType({**fixed, **routes})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let lifespans through, close web sockets, guard everything else."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        started, request_id = time.perf_counter(), uuid.uuid4().hex
        out = _Answer(send, request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        try:
            await self._guarded(scope, receive, out)
        except Problem as problem:
            if not out.status:
                await answer(problem, request_id)(scope, receive, out)
        route = scope["path"] if scope["path"] in self._routes else "other"
        seconds = time.perf_counter() - started
        self._slot.metrics.request(route, out.status, seconds)
        if out.problem:
            self._slot.metrics.problem(out.problem)
        if _access.isEnabledFor(logging.INFO) and not (route in _HEALTH and out.status == 200):
            line = {"request_id": request_id, "route": route, "status": out.status, "code": out.problem,
                    "milliseconds": round(seconds * 1000, 2)}  # fmt: skip
            _access.info(json.dumps(line))

    async def _guarded(self, scope: Scope, receive: Receive, out: _Answer) -> None:
        path, method = scope["path"], scope["method"]
        methods = self._routes.get(path)
        if methods is None:
            raise Problem("not_found")
        if path not in _OPEN:
            scope["state"]["principal"] = self._principal(scope, metrics=path in _READERS_ONLY)
        if method not in methods:
            raise Problem("method_not_allowed", headers={"allow": ", ".join(sorted(methods))})
        page = await self._readiness() if path == "/readyz" else self._own_page(path)
        if page is not None:
            await page(scope, receive, out)
            return
        if method not in _READS:
            receive = await self._whole_body(scope, receive)
        await self._within_time(scope, receive, out)

    async def _readiness(self) -> Response:
        """Answer /readyz: 200, or 503 with what is missing, in our own words alone."""
        parts = self._slot.parts
        why = ["starting"] if parts is None else await anyio.to_thread.run_sync(parts.predictor.unready)
        return JSONResponse({"ready": not why, "why": why}, 503 if why else 200)

    def _own_page(self, path: str) -> Response | None:
        """Return what the service answers itself instead of Bento: its pages reach for other hosts."""
        if path == "/":
            return HTMLResponse(LANDING_PAGE)
        if path == "/docs.json":
            return JSONResponse(dict(self._document()))
        if path == "/metrics":
            return Response(self._slot.metrics.exposition(), media_type=METRICS_TYPE)
        return None

    def _principal(self, scope: Scope, *, metrics: bool) -> Principal:
        parts = self._slot.parts
        if parts is None:
            raise Problem("not_ready")
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, bearer = (given[0] if len(given) == 1 else b"").partition(b" ")
        if not given or (len(given) == 1 and scheme.lower() != b"bearer"):
            raise Problem("bearer_missing", "send one header: Authorization: Bearer <token>")
        try:
            principal = parts.verifier.verify(bearer.strip().decode("latin-1"))
            if metrics:
                parts.policy.require(principal, "metrics.read", "metrics")
        except BearerRefused as refused:
            raise Problem(refused.code, str(refused)) from None
        except Refused as refused:
            raise Problem("policy_refused", refused_detail(refused)) from None
        return principal

    async def _whole_body(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body within the limits; returns a `receive` that replays it."""
        too_large = Problem("body_too_large", f"at most {self._limits.body_bytes} bytes")
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self._limits.body_bytes):
                raise too_large
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem("request_timeout", "the connection closed before the body was complete")
                    chunks.append(message.get("body", b""))
                    size, more = size + len(chunks[-1]), message.get("more_body", False)
                    if size > self._limits.body_bytes:
                        raise too_large
        except TimeoutError:
            raise Problem("request_timeout", f"within {self._limits.body_seconds:g} s") from None
        whole: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay

    async def _within_time(self, scope: Scope, receive: Receive, out: _Answer) -> None:
        """Run the application; whatever it raises becomes a problem without a trace, since a trace may quote data."""
        task = asyncio.ensure_future(self._app(scope, receive, out))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._limits.answer_seconds)
        finally:
            task.cancel()
        if not done:
            raise Problem("timeout", f"within {self._limits.answer_seconds:g} s")
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Problem):
            raise error
        if error is not None:
            _log.error("request %s failed: %s", scope["state"]["request_id"], named(error))
            raise Problem("internal_error")
        if not out.status:
            raise Problem("internal_error")
