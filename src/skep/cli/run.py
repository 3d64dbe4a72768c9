"""``skep run`` (submit and follow) and ``skep submit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson, Home, JobRef, Server
from skep.cli.pool import PoolFile

if TYPE_CHECKING:
    from skep.cli.jobfile import Overrides
    from skep.client import Client
    from skep.model.job import Job
    from skep.model.views import JobDetail

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Job file (YAML) or Slurm batch script.")
]
Name = Annotated[str | None, typer.Option(help="Instead of the file's.", show_default=False)]
Chips = Annotated[
    str | None, typer.Option(metavar="[KIND:]COUNT", help="Chips to ask for.", show_default=False)
]
Env = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Repeatable.")]
Priority = Annotated[int | None, typer.Option(help="Higher goes first.", show_default=False)]
Queue = Annotated[str | None, typer.Option(help="Queue to wait in.", show_default=False)]

FAILED, CANCELLED = 8, 9  # exit codes of `skep run` besides those of skep.errors


def submit(
    file: File,
    name: Name = None,
    chips: Chips = None,
    env: Env = None,
    priority: Priority = None,
    queue: Queue = None,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send a job to a control plane; it is durable once this returns."""
    from skep.cli.connect import connect
    from skep.cli.output import show, show_json

    overrides = _overrides(name, chips, env, priority, queue)
    job = _read(file, overrides)
    with connect(server, home, reading=False) as client:
        detail = _send(client, job)
    if as_json:
        show_json(detail)
    else:
        show(f"{detail.name} is job {detail.id}", f"Try: skep why {detail.id}")


def run(
    file: File,
    pool: PoolFile = None,
    compare_alone: Annotated[
        bool,
        typer.Option("--compare-alone", help="Then run it at its strongest site alone."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Where the report goes (default: in the state folder)."),
    ] = None,
    name: Name = None,
    chips: Chips = None,
    env: Env = None,
    priority: Priority = None,
    queue: Queue = None,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job and follow it to its end.

    Where no control plane runs, it starts one of its own over the pool file, until the job ends.
    Exit code 0 where the job succeeded, 8 where it failed, 9 where it was cancelled.
    """
    from skep.cli.attend import Session

    job = _read(file, _overrides(name, chips, env, priority, queue))
    session = Session(server=server, home=home, quiet=as_json, compare=compare_alone, report=report)
    phase = session.run(file, pool, lambda client: _send(client, job))
    if phase != "succeeded":
        raise typer.Exit(CANCELLED if phase == "cancelled" else FAILED)


def report(
    job: JobRef,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Default: in the state folder.", show_default=False),
    ] = None,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a job as one HTML file with its plots."""
    import time

    from skep.cli.attend import report_path
    from skep.cli.connect import connect
    from skep.cli.follow import whole_story
    from skep.cli.output import show, show_json
    from skep.web.figures import figures
    from skep.web.report import write_report

    with connect(server, home) as client:
        story = whole_story(client, client.job(job))
    told = figures(story, time.time())
    path = write_report(out or report_path(home, story.job.id), story, told, None, time.time())
    if as_json:
        show_json({"report": str(path), "figures": told.to_dict()})
    else:
        show(f"Report: {path}")


def _overrides(
    name: str | None,
    chips: str | None,
    env: list[str] | None,
    priority: int | None,
    queue: str | None,
) -> Overrides:
    from skep.cli.jobfile import Overrides

    return Overrides(name, chips, tuple(env or ()), priority, queue)


def _read(file: Path, overrides: Overrides) -> Job:
    from skep.cli.jobfile import read
    from skep.cli.output import note

    loaded = read(file, overrides)
    for text in loaded.notes:
        note(f"skep: note: {text}")
    return loaded.job


def _send(client: Client, job: Job) -> JobDetail:
    from skep.cli.jobfile import send_workdir

    return client.submit(send_workdir(job, client), user())


def user() -> str:
    """The name of this user."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user id, as in some containers
        return ""
