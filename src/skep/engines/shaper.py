"""Emulates the links of a pool on this machine: ``python -m skep.engines.shaper --pool P --dir D``.

Each site gets an HTTP CONNECT proxy of its own on 127.0.0.1, by which the shaper knows who calls;
whom it calls it knows by the target's address, which is a site's (in an embedded pool each site has
its own, such as 127.0.1.1). Every byte is held to the bandwidth of the link, shared by all
connections of the same two sites in the same direction, and is late by half the round-trip time.
Opening a connection takes a round trip. Loss is ignored: TCP's answer to it would need packets.

``D/shaper.json`` names the proxies ({site: "host:port"}); a restarted shaper takes the same ports.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from skep.engines.folder import read_json, write_whole
from skep.engines.line import Line
from skep.engines.relay import relay
from skep.errors import InputError, SkepError, StoreError
from skep.model.site import Pool
from skep.runenv import parse_address

HOST = "127.0.0.1"
FILE = "shaper.json"
_HEAD_TIME = 10.0
_CONNECT_TIME = 10.0
_BUFFER = 256 * 1024


class Refused(Exception):
    """A call that is not put through: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class Shaper:
    """The proxies of all sites of a pool. ``proxies``: where each listens, once opened."""

    def __init__(self, pool: Pool) -> None:
        self.sites = {site.address: site.name for site in pool.sites}
        if len(self.sites) < len(pool.sites):
            addresses = ", ".join(site.address for site in pool.sites)
            raise InputError("sites.address", addresses, "allowed: a different one for each site")
        self.names = [site.name for site in pool.sites]
        self.lines: dict[tuple[str, str], Line] = {}
        for link in pool.links:
            for pair in (link.between, link.between[::-1]):
                if link.bandwidth > 0:
                    self.lines[pair] = Line(link.bandwidth, link.rtt / 2)
        self.proxies: dict[str, str] = {}
        self._servers: list[asyncio.Server] = []

    async def open(self, before: Mapping[str, str]) -> None:
        """Listen for each site; at the address it had ``before``, else at any free port."""
        for name in self.names:
            port = parse_address(before[name])[1] if name in before else 0
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            listener.bind((HOST, port))
            self.proxies[name] = f"{HOST}:{listener.getsockname()[1]}"
            self._servers.append(await asyncio.start_server(self._caller(name), sock=listener))

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def _caller(self, name: str) -> _Serve:
        return _Serve(self, name)

    def route(self, source: str, head: bytes) -> tuple[str, int, Line | None, Line | None]:
        """Host, port and the two lines (None inside one site) of a CONNECT; raises ``Refused``."""
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
        if len(words) != 3 or words[0] != "CONNECT":
            raise Refused(405, "allowed: CONNECT host:port")
        try:
            host, port = parse_address(words[1])
        except ValueError as error:
            raise Refused(400, str(error)) from error
        target = self.sites.get(host)
        if target is None:
            raise Refused(403, f"no site has the address {host}")
        if target == source:
            return host, port, None, None
        there, back = self.lines.get((source, target)), self.lines.get((target, source))
        if there is None or back is None:
            raise Refused(403, f"there is no link between {source} and {target}")
        return host, port, there, back


class _Serve:
    """Serves the connections of one site's proxy."""

    def __init__(self, shaper: Shaper, source: str) -> None:
        self.shaper, self.source = shaper, source

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._connect(reader, writer)
        except Refused as refused:
            writer.write(f"HTTP/1.1 {refused.status} {refused.reason}\r\n\r\n".encode())
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the caller went away, or never spoke
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIME)
        host, port, there, back = self.shaper.route(self.source, head)
        try:
            await asyncio.sleep(there.delay if there else 0.0)
            call = asyncio.open_connection(host, port)
            far_reader, far_writer = await asyncio.wait_for(call, _CONNECT_TIME)
        except (OSError, TimeoutError) as error:
            raise Refused(502, f"{host}:{port} does not answer: {error}") from error
        await asyncio.sleep(back.delay if back else 0.0)
        writer.write(b"HTTP/1.1 200 connected\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(relay(reader, far_writer, there))
                both.create_task(relay(far_reader, writer, back))
        except* OSError:
            pass  # one side broke off; both are closed
        finally:
            far_writer.close()


async def serve(pool: Pool, folder: Path) -> None:
    """Run the shaper until SIGTERM or SIGINT."""
    shaper = Shaper(pool)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        await shaper.open(read_json(folder / FILE) or {})
        write_whole(folder / FILE, json.dumps(shaper.proxies))
    except OSError as error:
        raise StoreError(f"cannot open the proxies of {folder / FILE}: {error}") from error
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    shaper.close()


def read_pool(path: Path) -> Pool:
    """The pool of a file (only its sites' addresses and its links matter here)."""
    try:
        return Pool.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
        raise InputError("--pool", str(path), f"allowed: a readable pool file ({cause})") from error


def main(given: Sequence[str] | None = None) -> int:
    """The command; exit codes as in ``skep.errors``."""
    parser = argparse.ArgumentParser(prog="python -m skep.engines.shaper")
    parser.add_argument("--pool", required=True, type=Path, help="the pool file")
    parser.add_argument("--dir", required=True, type=Path, help=f"where {FILE} is written")
    options = parser.parse_args(sys.argv[1:] if given is None else given)
    try:
        asyncio.run(serve(read_pool(options.pool), options.dir))
    except SkepError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
