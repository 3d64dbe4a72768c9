"""The server process: ``python -m skep.api.server --pool FILE --dir STATE``."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import socket
import sys
from pathlib import Path

import uvicorn

from skep.api.app import build_app
from skep.api.auth import Gate
from skep.api.context import Context
from skep.api.folder import StateFolder
from skep.control.electricity import Electricity
from skep.control.loop import Clock, Loop
from skep.control.service import Control
from skep.control.topology import topology
from skep.errors import SkepError
from skep.files.policy import load_policy
from skep.files.pool import load_pool, resolve_chips
from skep.files.supply import load_tables
from skep.model.policy import Policy
from skep.model.site import Pool
from skep.runenv import relay_key
from skep.store.bundles import BundleFolder
from skep.store.logs import LogFolder
from skep.store.sql import open_store


def main() -> int:
    """Serve until SIGTERM. Returns the exit code of ``skep.errors`` on what it refuses."""
    options = _options()
    try:
        folder = StateFolder(Path(options.dir).absolute())
        pool = load_pool(Path(options.pool))
        policy = load_policy(Path(options.policy)) if options.policy else Policy()
        context = live_context(folder, pool, policy)
        listener = _listen(options.host, options.port)
    except SkepError as error:
        print(f"skep: {error}", file=sys.stderr)
        return error.exit_code
    host, port = listener.getsockname()[:2]
    folder.announce(f"http://{host}:{port}")
    config = uvicorn.Config(
        build_app(context), log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="skep.api.server")
    parser.add_argument("--pool", required=True)
    parser.add_argument("--policy")
    parser.add_argument("--dir", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    return parser.parse_args()


def live_context(folder: StateFolder, pool: Pool, policy: Policy) -> Context:
    """A control plane that owns the state folder. Raises ``StoreError`` where it cannot."""
    folder.make()
    store = open_store(folder.path)
    folder.remember(pool, policy)
    admin = folder.token("admin")
    for site in pool.sites:
        folder.token(f"site-{site.name}")

    def token_of(job: str) -> str:
        made = hmac.new(admin.encode(), f"exchange/{job}".encode(), hashlib.sha256).hexdigest()
        folder.let_meet(job, relay_key(made.encode()))
        return made

    clock = Clock()
    chips = resolve_chips(pool)
    places = topology(pool, chips)
    electricity = Electricity(places, clock(), tables=load_tables(pool))
    control = Control(places, policy, store, electricity, clock(), token_of)
    return Context(
        loop=Loop(control, clock),
        logs=LogFolder(folder.logs),
        bundles=BundleFolder(folder.bundles),
        gate=Gate(folder.principals()),
    )


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SkepError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.listen(1024)  # before the address is announced: whoever reads it may connect
    return listener


if __name__ == "__main__":
    sys.exit(main())
