"""Routes about jobs."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

from fastapi import APIRouter, Header, Query

from skep.api.context import Ctx, Who
from skep.api.logs import read_logs
from skep.control.service import job_id
from skep.errors import InputError
from skep.model.base import Spec
from skep.model.job import Job
from skep.model.views import Events, JobDetail, JobView, Logs, Progress, ProgressLine, Why

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
DAY = 86400.0
Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait for something new")]


class Submission(Spec):
    """A job to run. ``user`` counts only for an operator's token."""

    spec: Job
    user: str = ""


@router.post("", status_code=201)
async def submit(
    ctx: Ctx, who: Who, body: Submission, idempotency_key: Annotated[str, Header()] = ""
) -> JobDetail:
    """Acknowledge a job: once answered it is never lost. The same key answers the same job."""
    who.need_person()
    ctx.need_live()
    bundle = body.spec.bundle
    if bundle is not None and not ctx.bundles.has(bundle):
        raise InputError("bundle", bundle, "allowed: the digest of an uploaded bundle")
    user = body.user if who.operator else who.user
    key = idempotency_key or secrets.token_hex(16)
    unique = hashlib.sha256(f"{user}/{key}".encode()).hexdigest()[:8]
    detail = ctx.loop.control.submit(
        body.spec, user, job_id(body.spec.name, unique), ctx.loop.clock()
    )
    ctx.loop.kick()
    return detail


@router.get("")
async def jobs(
    ctx: Ctx,
    who: Who,
    every: Annotated[bool, Query(alias="all")] = False,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
) -> list[JobView]:
    """Jobs that have not ended, and those ended in the last day (``all``: ever), newest first."""
    who.need_person()
    now = ctx.loop.clock()
    since = 0.0 if every else now - DAY
    return list(ctx.loop.control.jobs(now, ended_since=since, limit=limit))


@router.get("/{ref}")
async def job(ctx: Ctx, who: Who, ref: str) -> JobDetail:
    """One job, by id, unique start of an id, or name."""
    who.need_person()
    return ctx.loop.control.job(ref, ctx.loop.clock())


@router.get("/{ref}/why")
async def why(ctx: Ctx, who: Who, ref: str) -> Why:
    """What was decided on the job and why."""
    who.need_person()
    return ctx.loop.control.why(ref, ctx.loop.clock())


@router.post("/{ref}/cancel")
async def cancel(ctx: Ctx, who: Who, ref: str) -> JobDetail:
    """Ask the job to end."""
    ctx.need_live()
    control, now = ctx.loop.control, ctx.loop.clock()
    who.need_owner(control.job(ref, now).user)
    detail = control.cancel(ref, who.user or "operator", now)
    ctx.loop.kick()
    return detail


@router.get("/{ref}/events")
async def events(
    ctx: Ctx, who: Who, ref: str, after: int = 0, limit: int = 1000, wait: Wait = 0.0
) -> Events:
    """The job's events after number ``after``."""
    who.need_person()
    control = ctx.loop.control
    job = control.id_of(ref)
    await ctx.loop.wait(lambda: bool(control.store.events(job=job, after=after, limit=1)), wait)
    found = control.store.events(job=job, after=after, limit=limit)
    return Events(events=found, next=found[-1].seq if found else after)


@router.get("/{ref}/progress")
async def progress(
    ctx: Ctx, who: Who, ref: str, after: int = 0, limit: int = 1000, wait: Wait = 0.0
) -> Progress:
    """Lines that the job's processes wrote to their progress files, after number ``after``."""
    who.need_person()
    control = ctx.loop.control
    detail = control.job(ref, ctx.loop.clock())
    store, job = control.store, detail.id
    await ctx.loop.wait(lambda: bool(store.progress(job, after=after, limit=1)), wait)
    found = store.progress(job, after=after, limit=limit)
    sites = {r.run: r.site for r in control.job(job, ctx.loop.clock()).runs}
    lines = tuple(
        ProgressLine(n=n, run=run, site=sites.get(run, ""), line=line) for n, run, line in found
    )
    return Progress(lines=lines, next=found[-1][0] if found else after)


@router.get("/{ref}/logs")
async def logs(
    ctx: Ctx,
    who: Who,
    ref: str,
    site: str = "",
    run: str = "",
    process: str = "",
    cursor: str = "",
    limit: Annotated[int, Query(ge=1, le=4 << 20)] = 256 << 10,
    wait: Wait = 0.0,
) -> Logs:
    """Log text of the job's processes, from where ``cursor`` ended on."""
    who.need_person()
    control = ctx.loop.control
    job = control.id_of(ref)

    def page() -> Logs:
        detail = control.job(job, ctx.loop.clock())
        return read_logs(ctx.logs, detail, site, run, process, cursor, limit)

    await ctx.loop.wait(lambda: bool(page().parts) or page().ended, wait)
    return page()
