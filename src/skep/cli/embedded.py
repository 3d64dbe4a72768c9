"""A control plane of one's own for the time of one command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from skep.cli.connect import connect
from skep.cli.home import Home, home_at, read_json
from skep.cli.output import note
from skep.cli.raising import await_sites, lower, pool_file, raise_keeper, set_free
from skep.cli.settle import holding
from skep.client import Client
from skep.errors import InputError, SkepError
from skep.files.pool import load_pool


@contextlib.contextmanager
def control_plane(
    server: str | None, home: Path | None, pool: Path | None, job_file: Path
) -> Iterator[tuple[Client, bool]]:
    """A client, and whether its control plane is this command's own (it ends with it).

    ``server``, else what lives in ``home``, else an embedded one over the pool file.
    """
    place = home_at(home)
    if server or place.server():
        with connect(server, home, reading=False) as client:
            _same_pool(pool, client)
            yield client, False
        return
    path = pool_file(pool, place, job_file)
    load_pool(path)
    keeper = raise_keeper(place, path, parent=os.getpid())
    try:
        with connect(None, home, reading=False, patience=20.0) as client:
            health = await_sites(client)
            if health.sites_up < health.sites:
                note(f"skep: {health.sites_up} of {health.sites} sites report; going on with them")
            yield client, True
            _free_for_others(place, keeper, client)
    finally:
        if read_json(place.keeper_file).get("parent") == os.getpid():
            lower(keeper)


def _same_pool(pool: Path | None, client: Client) -> None:
    if pool is not None and load_pool(pool) != client.pool():
        raise InputError(
            "--pool",
            str(pool),
            f"a control plane with another pool is up at {client.url}: leave --pool away,"
            " end that one with 'skep down', or use another --home",
        )


def _free_for_others(place: Home, keeper: int, client: Client) -> None:
    """Other commands may have come to use this control plane: then it lives on."""
    with contextlib.suppress(SkepError):
        if others := holding(client):
            set_free(keeper)
            names = ", ".join(job.name for job in others)
            note(f"skep: the pool stays up for {names}; 'skep down' ends it ({place.path})")
            _await_free(place)


def _await_free(place: Home) -> None:
    import time

    until = time.monotonic() + 5.0
    while read_json(place.keeper_file).get("parent") and time.monotonic() < until:
        time.sleep(0.05)
