"""Routes about sites, for people and for agents, and the bundles that jobs bring."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from skep.api.context import Context, Ctx, Who
from skep.errors import InputError
from skep.model.message import Answer, Report
from skep.model.views import SiteView

router = APIRouter(prefix="/v1", tags=["sites"])
LARGEST_BUNDLE = 512 << 20


@router.get("/sites")
async def sites(ctx: Ctx, who: Who) -> list[SiteView]:
    """Every site of the pool, with its chips, runs and power."""
    who.need_person()
    return list(ctx.loop.control.sites(ctx.loop.clock()))


@router.post("/sites/{site}/report")
async def report(
    ctx: Ctx, who: Who, site: str, body: Report, wait: Annotated[float, Query(ge=0)] = 0.0
) -> Answer:
    """An agent tells all that its site holds and is told all that it should hold.

    Held open until what it should hold differs from revision ``known``, at most ``wait`` seconds
    and never so long that the lease could run out.
    """
    who.need_site(site)
    ctx.need_live()
    loop, control = ctx.loop, ctx.loop.control
    acknowledged = _keep(ctx, site, body)
    before = control.world.revision[site], control.store
    answer = control.report(site, body, acknowledged, loop.clock())
    loop.kick()
    if acknowledged or before[0] != answer.revision:
        await loop.announce()
    longest = min(wait, answer.lease / 3)
    await loop.wait(lambda: control.world.revision[site] != body.known, longest)
    return control.answer(site, body, acknowledged)


def _keep(ctx: Context, site: str, body: Report) -> dict[str, int]:
    """Store logs and progress of runs that are this site's; answers the offsets kept."""
    control = ctx.loop.control
    kept: dict[str, int] = {}
    for chunk in body.logs:
        if control.owner(chunk.run, site):
            key = f"{chunk.run}/{chunk.process}"
            kept[key] = ctx.logs.append(chunk.run, chunk.process, chunk.offset, chunk.text)
    for lines in body.progress:
        job = control.owner(lines.run, site)
        if job:
            kept[lines.run] = control.store.add_progress(job, lines.run, lines.offset, lines.lines)
    return kept


@router.put("/bundles/{digest}", status_code=201)
async def put_bundle(ctx: Ctx, who: Who, digest: str, request: Request) -> dict[str, str]:
    """Keep a packed workdir under the SHA-256 of its bytes."""
    who.need_person()
    ctx.need_live()
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_BUNDLE:
            raise InputError("workdir", f"{len(data)} bytes", "allowed: 512 MiB packed, or less")
    ctx.bundles.put(digest, bytes(data))
    return {"digest": digest}


@router.head("/bundles/{digest}", include_in_schema=False)
async def has_bundle(ctx: Ctx, who: Who, digest: str) -> Response:
    """Whether the bundle is kept."""
    del who
    return Response(status_code=200 if ctx.bundles.has(digest) else 404)


@router.get("/bundles/{digest}", response_class=FileResponse)
async def get_bundle(ctx: Ctx, who: Who, digest: str) -> FileResponse:
    """The bytes of a bundle."""
    del who
    return FileResponse(ctx.bundles.path(digest), media_type="application/gzip")
