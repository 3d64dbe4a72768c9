"""The API over a state folder without a control plane: everything that only reads works."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from skep.api.app import build_app
from skep.api.context import Context
from skep.api.folder import StateFolder
from skep.control.electricity import Electricity
from skep.control.loop import Clock, Loop
from skep.control.service import Control
from skep.control.topology import topology
from skep.files.pool import resolve_chips
from skep.files.supply import load_tables
from skep.model.state import SiteState
from skep.store.bundles import BundleFolder
from skep.store.logs import LogFolder
from skep.store.sql import open_store


def offline_app(state: Path) -> FastAPI:
    """The application. Raises ``StoreError`` where no control plane has ever run there."""
    folder = StateFolder(state)
    pool, policy = folder.recall()
    clock = Clock()
    places = topology(pool, resolve_chips(pool))
    electricity = Electricity(places, clock(), tables=load_tables(pool))
    store = open_store(folder.path, read_only=True)
    control = Control(places, policy, store, electricity, clock())
    silent = "no control plane is running"
    control.world.sites = {name: SiteState(name, reason=silent) for name in places.names}
    control.world.heard.clear()
    return build_app(
        Context(
            loop=Loop(control, clock),
            logs=LogFolder(folder.logs),
            bundles=BundleFolder(folder.bundles),
            gate=None,
            live=False,
        )
    )
