"""``skep up`` and ``skep down``: a control plane with its local agents, in the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson, Home

if TYPE_CHECKING:
    from skep.cli.home import Home as Place
    from skep.client import Client

PoolFile = Annotated[
    Path | None,
    typer.Option("--pool", help="Pool file (default: $SKEP_POOL, or this machine as one site)."),
]


def up(
    pool: PoolFile = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    relay: Annotated[
        str, typer.Option("--relay", help="HOST:PORT where this machine relays for jobs.")
    ] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Start the pool of a pool file in the background.

    That is a control plane, and an agent for each site.
    """
    from skep.cli.connect import connect
    from skep.cli.home import home_at
    from skep.cli.raising import await_server, await_sites, pool_file, raise_keeper, set_free
    from skep.files.pool import check_relay, load_pool

    place = home_at(home)
    already = place.keeper()
    if already:
        set_free(already)  # it may belong to a `skep run`
        await_server(place)
    else:
        path = pool_file(pool, place)
        load_pool(path)
        check_relay(relay, "--relay")
        if policy is not None:
            from skep.files.policy import load_policy

            load_policy(policy)
        raise_keeper(place, path, policy, port, relay=relay)
    with connect(None, home, reading=False) as client:
        await_sites(client)
        _tell(client, place, bool(already), as_json)


def _tell(client: Client, place: Place, already: bool, as_json: bool) -> None:
    from skep.cli.output import show, show_json
    from skep.cli.tables import sites_table

    health = client.health()
    if as_json:
        told = {"url": client.url, "home": str(place.path), "already": already}
        show_json(told | health.model_dump(mode="json"))
        return
    show(
        f"pool {health.pool} is {'already ' if already else ''}up at {client.url}:"
        f" {health.sites_up} of {health.sites} sites report",
        sites_table(client.sites()),
        "Try: skep run JOB.yaml · skep top · skep down",
    )


def down(
    force: Annotated[
        bool, typer.Option("--force", help="Cancel the jobs that hold chips first.")
    ] = False,
    keep_jobs: Annotated[
        bool,
        typer.Option("--keep-jobs", help="Leave the jobs running; the next up finds them again."),
    ] = False,
    home: Home = None,
) -> None:
    """End the control plane and the agents that up started."""
    from skep.cli.home import home_at
    from skep.cli.raising import lower
    from skep.errors import InputError

    if force and keep_jobs:
        raise InputError("--force", "with --keep-jobs", "allowed: one of the two")
    place = home_at(home)
    keeper = place.keeper()
    if not keeper:
        print(f"nothing is up in {place.path}")
        return
    if not keep_jobs and place.server():
        _settle(place, force)
    lower(keeper)
    print(f"down; the state stays in {place.path}")


def _settle(place: Place, force: bool) -> None:
    from skep.cli.settle import cancel_all, holding
    from skep.client import Client
    from skep.errors import ConflictError

    url, token = place.server(), place.token("admin")
    if force:
        left = cancel_all(url, token, seconds=30.0)
    else:
        with Client(url, token) as client:
            left = holding(client)
    if left:
        names = ", ".join(job.name for job in left[:5]) + (" …" if len(left) > 5 else "")
        raise ConflictError(
            f"{len(left)} job{'s hold' if len(left) > 1 else ' holds'} chips ({names}):"
            " 'skep down --force' cancels them, 'skep down --keep-jobs' leaves them running"
        )
