"""The agent of one site: ``python -m skep.agent.main --site NAME --pool FILE …``.

It ends at SIGTERM or SIGINT; the runs go on, and the next agent of the site takes them over.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from skep.agent.loop import Loop
from skep.client import Client
from skep.engines.loading import Setting, load
from skep.engines.procfs import boot_clock
from skep.errors import InputError, SkepError, nearest
from skep.files.pool import check_relay, load_pool
from skep.model.site import Pool, Site
from skep.stderr import say


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m skep.agent.main", description=__doc__)
    parser.add_argument("--site", required=True, help="name of the site in the pool file")
    parser.add_argument("--pool", required=True, type=Path, help="the pool file")
    parser.add_argument("--server", required=True, help="URL of the control plane")
    parser.add_argument("--dir", required=True, type=Path, help="the agent's own folder")
    parser.add_argument("--token-file", type=Path, help="file that holds the site's token")
    parser.add_argument("--proxy", default="", help="host:port of a proxy for jobs to reach peers")
    parser.add_argument(
        "--relay", default="", help="host:port where jobs meet peers, over the pool file's"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run until told to end. Exit codes as in ``skep.errors``."""
    options = arguments(sys.argv[1:] if given is None else given)
    try:
        return work(options)
    except SkepError as error:
        say(str(error))
        return error.exit_code


def work(options: argparse.Namespace) -> int:
    """Put the agent together and run its loop."""
    pool = load_pool(options.pool)
    site = site_of(pool, options.site)
    check_relay(options.relay, "--relay")
    token = read_token(options.token_file)
    engine = load(Setting(site, options.dir, options.proxy, options.relay or pool.relay))
    # The loop repeats by itself, with the state as it is then.
    client = Client(options.server, token=token, patience=0.0)
    bundles = options.dir / "bundles"
    loop = Loop(site.name, uuid.uuid4().hex, engine, client, bundles, boot_clock, say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: loop.stop())
    say(f"agent of {site.name}: engine {site.engine}, server {options.server}, pid {os.getpid()}")
    loop.run()
    engine.close()
    say(f"agent of {site.name} ends; its runs go on")
    return 0


def site_of(pool: Pool, name: str) -> Site:
    """The site of that name. Raises ``InputError`` with those that there are."""
    try:
        return pool.site(name)
    except KeyError:
        known = [site.name for site in pool.sites]
        raise InputError(
            "--site", name, f"allowed: {', '.join(known)}{nearest(name, known)}"
        ) from None


def read_token(path: Path | None) -> str:
    """The token in the file; "" without a file."""
    if path is None:
        return ""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "--token-file", str(path), f"allowed: a readable file ({error})"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
