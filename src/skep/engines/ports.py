"""Free ports for the runs of this machine."""

from __future__ import annotations

import os
import socket

from skep.engines.ending import Over

# Below the range from which Linux takes the ports of outgoing connections (32768 and up).
_LOWEST, _HIGHEST = 20_000, 32_767
_TRIES = 200


def reserve(host: str) -> socket.socket:
    """A socket bound to a free port of ``host``: the port is kept while the socket is open."""
    for _ in range(_TRIES):
        taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            taken.bind((host, _any_port()))
        except PermissionError:
            taken.close()
            raise
        except OSError as error:
            taken.close()
            last = error
            continue
        return taken
    raise Over("failed", f"no port is free at the site's address {host}: {last.strerror}")


def _any_port() -> int:
    return _LOWEST + int.from_bytes(os.urandom(4)) % (_HIGHEST - _LOWEST + 1)


def port(taken: socket.socket) -> int:
    """The port of a reserved socket."""
    return int(taken.getsockname()[1])
