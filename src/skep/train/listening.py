"""Where the further ranks of a site listen: beside its rank 0."""

from __future__ import annotations

import os
import socket

from skep.errors import InputError
from skep.runenv import parse_address


def beside(listen: str, rail: int) -> tuple[socket.socket, str]:
    """A socket that listens on the port of ``listen`` plus ``rail``, or on a free one where that
    is taken, and its ``host:port``.

    It listens from here on: nobody else takes the port before connections are served. Raises
    ``InputError`` where this host has no such address.
    """
    host, port = parse_address(listen)
    if os.environ.get("GROUP_RANK", "0") != "0" and host not in ("0.0.0.0", "::"):
        host = _own_host()  # ``listen`` is an address of another host of this site
    try:
        made = _listening(host, port + rail)
    except (OSError, OverflowError):
        made = _free(host, listen, rail)
    return made, f"{host}:{made.getsockname()[1]}"


def _free(host: str, listen: str, rail: int) -> socket.socket:
    try:
        return _listening(host, 0)
    except OSError as error:
        raise InputError("listen", listen, f"rank {rail}: {error.strerror}") from error


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _own_host() -> str:
    """The address of this host towards the site's first."""
    master = (os.environ.get("MASTER_ADDR", "127.0.0.1"), 9)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(master)  # sends nothing
        return str(probe.getsockname()[0])
