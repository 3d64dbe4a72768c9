"""Commands that ask, and ``cancel``: ``ps``, ``show``, ``why``, ``sites``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from skep.cli.options import AsJson, Home, JobRef, JobRefs, Server


def ps(
    every: Annotated[bool, typer.Option("--all", "-a", help="Also those that ended long ago.")] = (
        False
    ),
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 1000,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List jobs: those that have not ended, and those of the last day."""
    from skep.cli.connect import connect
    from skep.cli.output import show, show_json

    with connect(server, home) as client:
        jobs = client.jobs(everything=every, limit=limit)
    if as_json:
        show_json(jobs)
        return
    if not jobs:
        show("no jobs" if every else "no jobs of late; `skep ps --all` lists older ones")
        return
    from skep.cli.tables import jobs_table

    show(jobs_table(jobs, time.time()))


def show(job: JobRef, server: Server = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show one job: what it asks for, its runs, its events."""
    from skep.cli.connect import connect
    from skep.cli.output import show as put
    from skep.cli.output import show_json

    with connect(server, home) as client:
        detail = client.job(job)
        if as_json:
            show_json(detail)
            return
        story = client.why(detail.id)
    from skep.cli.tables import decisions_text, job_lines, runs_table

    now = time.time()
    put(job_lines(detail, now))
    if detail.runs:
        put(runs_table(detail.runs, now), "")
    put(decisions_text(story))


def why(job: JobRef, server: Server = None, home: Home = None, as_json: AsJson = False) -> None:
    """Say what was decided on a job and why.

    For a job that waits: what each site refuses it for, and what would let it run.
    """
    from skep.cli.connect import connect
    from skep.cli.output import show, show_json

    with connect(server, home) as client:
        told = client.why(job)
    if as_json:
        show_json(told)
        return
    from skep.cli.tables import why_text

    show(why_text(told))


def sites(server: Server = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the sites: chips, free chips, runs, power and its source."""
    from skep.cli.connect import connect
    from skep.cli.output import show, show_json

    with connect(server, home) as client:
        views = client.sites()
    if as_json:
        show_json(views)
        return
    from skep.cli.tables import sites_table

    show(sites_table(views))


def cancel(
    jobs: JobRefs, server: Server = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Ask jobs to end. All are tried; the last that cannot be cancelled gives the exit code."""
    from skep.cli.connect import connect
    from skep.cli.output import note, show, show_json
    from skep.errors import SkepError

    done, failed = [], []
    with connect(server, home, reading=False) as client:
        for ref in dict.fromkeys(jobs):
            try:
                done.append(client.cancel(ref))
            except SkepError as error:
                failed.append(error)
    if as_json:
        show_json(done)
    else:
        show(*(f"{d.name} ({d.id}): {'cancelling' if not d.ended_at else d.phase}" for d in done))
    for other in failed[:-1]:
        note(f"skep: {other}")
    if failed:
        raise failed[-1]
