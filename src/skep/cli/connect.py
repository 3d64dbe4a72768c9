"""Which control plane a command speaks to."""

from __future__ import annotations

import os
from pathlib import Path

from skep.cli.home import Home, home_at
from skep.client import Client
from skep.errors import InputError, UnreachableError


def connect(
    server: str | None, home: Path | None, *, reading: bool = True, patience: float = 5.0
) -> Client:
    """A client of ``server``, else of the control plane that lives in ``home``.

    Where none lives, commands that only read get the state folder itself. Raises
    ``UnreachableError`` where there is nothing to speak to.
    """
    place = home_at(home)
    url = server or place.server()
    if url:
        return Client(url, token_for(url, place), patience=patience)
    if reading and (client := offline(place)):
        return client
    raise UnreachableError(
        f"no control plane is up in {place.path}:"
        " start one with 'skep up', or name another with --server or SKEP_SERVER"
    )


def token_for(url: str, home: Home) -> str:
    """The token to show: SKEP_TOKEN, the file SKEP_TOKEN_PATH, else this home's own."""
    if token := os.environ.get("SKEP_TOKEN"):
        return token.strip()
    if path := os.environ.get("SKEP_TOKEN_PATH"):
        try:
            return Path(path).expanduser().read_text().strip()
        except OSError as error:
            raise InputError("SKEP_TOKEN_PATH", path, f"{error.strerror}") from error
    return home.token("admin") if url.rstrip("/") == home.server() else ""


def offline(home: Home) -> Client | None:
    """A client that reads the state folder without any server; None where there is no state."""
    if not home.pool_file.exists():
        return None
    from skep.api.offline import offline_app
    from skep.cli.offline import AsgiTransport

    return Client("http://offline", transport=AsgiTransport(offline_app(home.path)), patience=0.0)
