"""Starting a keeper and waiting until its pool is up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from skep.cli.home import Home, read_json
from skep.cli.process import end
from skep.client import Client
from skep.errors import SkepError
from skep.files.pool import default_pool
from skep.model.views import Health

START_TIME = 60.0  # seconds for the control plane to come up
SITES_TIME = 30.0  # seconds for the agents to report
END_TIME = 45.0  # seconds for a keeper to end


def raise_keeper(
    home: Home,
    pool: Path,
    policy: Path | None = None,
    port: int = 0,
    parent: int = 0,
    relay: str = "",
) -> int:
    """Start a keeper in a session of its own; its process id once the control plane listens.

    ``parent``: the process with which it ends. Raises the error that it told.
    """
    home.make()
    argv = [sys.executable, "-m", "skep.cli.keeper", "--home", str(home.path)]
    argv += ["--pool", str(pool.absolute()), "--port", str(port), "--parent", str(parent)]
    if policy is not None:
        argv += ["--policy", str(policy.absolute())]
    if relay:
        argv += ["--relay", relay]
    with home.log("keeper").open("ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _await_up(home, process)
    except BaseException:
        process.terminate()
        process.wait(END_TIME)
        raise
    return process.pid


def _await_up(home: Home, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_TIME
    while time.monotonic() < until:
        told = read_json(home.keeper_file)
        if told.get("pid") == process.pid and told.get("phase") == "up":
            return
        if process.poll() is not None:
            raise _told(read_json(home.keeper_file), process, home)
        time.sleep(0.05)
    raise SkepError(
        f"the control plane did not come up in {START_TIME:g} s; see {home.log('keeper')}"
    )


def _told(told: dict[str, Any], process: subprocess.Popen[bytes], home: Home) -> SkepError:
    ours = told.get("pid") == process.pid and told.get("message")
    error = SkepError(str(told["message"]) if ours else f"no keeper; see {home.log('keeper')}")
    error.exit_code = process.returncode if 0 < process.returncode <= 7 else 1
    return error


def await_sites(client: Client, seconds: float = SITES_TIME) -> Health:
    """Wait until all sites have reported, or the time is over."""
    until = time.monotonic() + seconds
    while True:
        health = client.health()
        if health.sites_up >= health.sites or time.monotonic() > until:
            return health
        time.sleep(0.1)


def await_server(home: Home, seconds: float = 10.0) -> None:
    """Wait until the control plane of a living keeper listens (it may be starting again)."""
    until = time.monotonic() + seconds
    while not home.server():
        if time.monotonic() > until:
            raise SkepError(
                f"the control plane in {home.path} does not come up; see {home.log('server')}"
            )
        time.sleep(0.05)


def lower(keeper: int) -> None:
    """End a keeper and all that it keeps."""
    if not end(keeper, END_TIME):
        raise SkepError(f"keeper {keeper} did not end in {END_TIME:g} s and was killed")


def set_free(keeper: int) -> None:
    """Let a keeper live on without the process that started it."""
    os.kill(keeper, signal.SIGUSR1)


def own_pool_file(home: Home) -> Path:
    """A pool file of this machine as one site, written into the home."""
    import yaml

    home.make()
    pool = default_pool(_cores())
    data = pool.model_dump(mode="json", exclude_defaults=True)
    path = home.path / "this-machine.yaml"
    path.write_text("# This machine as one site; written by skep.\n" + yaml.safe_dump(data))
    return path


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool_file(given: Path | None, home: Home, beside: Path | None = None) -> Path:
    """The pool file to use: the given one, $SKEP_POOL, ``pool.yaml`` beside the job or one folder
    up, else this machine as one site."""
    if given is not None:
        return given
    if named := os.environ.get("SKEP_POOL"):
        return Path(named)
    folder = beside.absolute().parent if beside is not None else None
    for place in (folder, folder.parent) if folder is not None else ():
        if (place / "pool.yaml").is_file():
            return place / "pool.yaml"
    return own_pool_file(home)
