"""``skep top``: sites and jobs, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson, Home, Server

if TYPE_CHECKING:
    from rich.console import Group

    from skep.client import Client


def top(
    once: Annotated[bool, typer.Option("--once", help="Print once and end.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between looks.")] = 2.0,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Watch sites and jobs; Ctrl-C ends.

    Printed once where the output is no terminal.
    """
    from skep.cli.connect import connect
    from skep.cli.output import console, show_json

    with connect(server, home) as client:
        if as_json:
            show_json({"sites": client.sites(), "jobs": client.jobs()})
            return
        out = console()
        if once or not out.is_terminal:
            out.print(_screen(client))
            return
        from rich.live import Live

        with Live(_screen(client), console=out, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(_screen(client), refresh=True)


def _screen(client: Client) -> Group:
    from rich.console import Group

    from skep.cli.tables import jobs_table, sites_table
    from skep.units import si

    health, sites, jobs = client.health(), client.sites(), client.jobs(limit=200)
    drawn = sum(s.power.drawn for s in sites if s.power)
    clean = sum(s.power.drawn * s.power.renewable for s in sites if s.power)
    chips = sum(p.chips for s in sites for p in s.pools)
    free = sum(p.free for s in sites for p in s.pools)
    power = f", {si(drawn, 'W')} drawn, {clean / drawn:.0%} of it renewable" if drawn else ""
    active = [job for job in jobs if job.ended_at is None]
    return Group(
        f"pool {health.pool}: {health.sites_up} of {health.sites} sites up,"
        f" {chips - free} of {chips} chips at work, {health.running} jobs running,"
        f" {health.waiting} waiting{power}",
        "",
        sites_table(sites),
        "",
        jobs_table(active or jobs[:10], time.time()),
    )
