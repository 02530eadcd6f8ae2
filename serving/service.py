"""The BentoML service: a thin shell round the FastAPI application, and the only door to BentoML.

Bento imports this module by name, so the shell is declared at import; keys, stores and models are opened
when a worker starts, by the factory that `CUSTOS_SERVICE_FACTORY` names, for the home that `CUSTOS_HOME`
names (both set by `serving.launch`, read here because the worker is a process of its own).
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import bentoml

from privacy.durable import write_beside
from privacy.errors import BadInput, CustosError, EnvironmentFailed

from .app import PREFIX, build_app, openapi_document, routes_of
from .edge import Edge
from .errors import named
from .parts import ServingParts, Slot
from .tethered import stop_with_parent

__all__ = ["FACTORY_VARIABLE", "HOME_VARIABLE", "SERVICE_NAME", "CustosService", "load_factory"]

HOME_VARIABLE: Final = "CUSTOS_HOME"
FACTORY_VARIABLE: Final = "CUSTOS_SERVICE_FACTORY"
DEFAULT_FACTORY: Final = "mlproject.wiring:build_serving"
SERVICE_NAME: Final = "custos"

REPORT_VARIABLE: Final = "CUSTOS_START_REPORT"

_log = logging.getLogger("custos.serving")
_slot = Slot()
_app = build_app(_slot)


def load_factory(name: str) -> Callable[[Path], ServingParts]:
    """Import the factory `package.module:function`; raises BadInput if there is none of that name."""
    module, _, function = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        raise BadInput("the service factory can't be imported", where=FACTORY_VARIABLE) from None
    if not callable(factory):
        raise BadInput("the service factory can't be called", where=FACTORY_VARIABLE)
    return factory


def _home() -> Path:
    named = os.environ.get(HOME_VARIABLE, "")
    if not named or not Path(named).is_absolute():
        raise BadInput(f"{HOME_VARIABLE} must name the home by an absolute path", remedy="use: custos serve")
    return Path(named)


def _start() -> None:
    factory = load_factory(os.environ.get(FACTORY_VARIABLE, DEFAULT_FACTORY))
    _slot.fill(factory(_home()))


def _report(error: BaseException) -> None:
    """Leave word for `serving.launch`, which waits in another process."""
    path = os.environ.get(REPORT_VARIABLE, "")
    if path:
        status = error.exit_status if isinstance(error, CustosError) else EnvironmentFailed.exit_status
        write_beside(Path(path), json.dumps({"status": status, "what": named(error)}).encode())


def _log_to_stderr() -> None:
    """Let our own one-line logs out; Bento configures only its own."""
    logger = logging.getLogger("custos")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@cache
def _document() -> Mapping[str, Any]:
    return openapi_document(_app)


class _Shell:
    """Masked, purpose-bound customer predictions."""

    def __init__(self) -> None:
        """Open the home's serving parts; runs once, when the worker starts."""
        _log_to_stderr()
        stop_with_parent()  # else a worker whose supervisor was killed would go on holding the port
        with ThreadPoolExecutor(1, thread_name_prefix="start-up") as once:
            error = once.submit(_start).exception()
        self._failed = error is not None
        if error is not None:
            # Raising here would make Bento print a trace and start another worker, for ever.
            _log.error("the service can't start: %s", named(error))
            _report(error)

    def __is_alive__(self) -> bool:
        """Say whether start-up worked (for /livez and /healthz), so that an orchestrator starts another."""
        return not self._failed

    @bentoml.on_shutdown
    def release(self) -> None:
        """Stop following champions and close what start-up opened."""
        _slot.empty()


CustosService: Final = bentoml.service(
    name=SERVICE_NAME,
    workers=1,
    traffic={"timeout": 15},  # a backstop: the edge gives up earlier, with a problem and a request id
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
)(_Shell)
"""What `bentoml serve serving.service:CustosService` serves."""

CustosService.mount_asgi_app(_app, path=PREFIX)
CustosService.add_asgi_middleware(Edge, slot=_slot, routes=routes_of(_app), document=_document)
