"""The HTTP API as an ASGI application. Its OpenAPI document is at ``/openapi.json``."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from skep import __version__
from skep.api import jobs, sites
from skep.api.context import Context, Ctx, Who
from skep.control.measured import measured
from skep.errors import InputError, SkepError
from skep.model.measured import Measured
from skep.model.policy import Policy
from skep.model.site import Pool
from skep.model.views import Health
from skep.stderr import say

MOST_MEASURED = 200  # jobs that are looked through


def build_app(context: Context) -> FastAPI:
    """The application over one control plane; it runs the loop while it serves."""
    app = FastAPI(title="skep", version=__version__, lifespan=_lifespan, redoc_url=None)
    app.state.context = context
    app.include_router(jobs.router)
    app.include_router(sites.router)
    app.add_api_route("/v1/health", _health, methods=["GET"])
    app.add_api_route("/v1/pool", _pool, methods=["GET"])
    app.add_api_route("/v1/policy", _policy, methods=["GET"])
    app.add_api_route("/v1/measured", _measured, methods=["GET"])
    app.add_exception_handler(SkepError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    task = asyncio.create_task(context.loop.run()) if context.live else None
    if task is not None:
        task.add_done_callback(_loop_ended)
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):  # told of where it happened
                await task
        context.loop.control.store.close()


def _loop_ended(task: asyncio.Task[None]) -> None:
    """A server whose loop has ended by a mistake answers and does nothing: it ends too.

    Whoever keeps it (the keeper, systemd) starts it again, from what the store has.
    """
    if not task.cancelled() and (error := task.exception()) is not None:
        say("".join(traceback.format_exception(error)).rstrip())
        signal.raise_signal(signal.SIGTERM)


async def _health(ctx: Ctx) -> Health:
    """Whether the control plane works, and how much it holds. Needs no token."""
    return ctx.loop.control.health(__version__)


async def _pool(ctx: Ctx, who: Who) -> Pool:
    """The pool file as it was read."""
    who.need_person()
    return ctx.loop.control.topology.pool


async def _policy(ctx: Ctx, who: Who) -> Policy:
    """The policy file as it was read."""
    who.need_person()
    return ctx.loop.control.policy


async def _measured(ctx: Ctx, who: Who) -> list[Measured]:
    """How fast the runs of jobs stepped that the control plane still keeps, newest job first."""
    who.need_person()
    control = ctx.loop.control
    newest = sorted(control.world.jobs.values(), key=lambda job: -job.submitted_at)
    return list(measured(control.store, newest[:MOST_MEASURED]))


async def _on_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SkepError)  # registered for these alone
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, InputError):
        body |= {"field": error.field, "value": error.value, "allowed": error.allowed}
    return JSONResponse({"error": _plain(body)}, status_code=error.http_status)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # registered for these alone
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    bad = InputError(field or "request", first.get("input"), f"allowed: {first['msg']}")
    return await _on_error(_request, bad)


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    simple = (str, int, float, bool, type(None))
    return {k: v if isinstance(v, simple) else repr(v)[:200] for k, v in body.items()}
