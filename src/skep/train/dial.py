"""Opening a connection to a peer: directly, or through an HTTP CONNECT proxy."""

from __future__ import annotations

import asyncio

from skep.runenv import parse_address

CONNECT_TIMEOUT_S = 10.0
_ANSWER_LIMIT = 4096

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dial(address: str, proxy: str = "") -> Streams:
    """Streams to ``address`` ("host:port"). Raises ``OSError`` when it cannot be reached."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if proxy:
                return await _through(proxy, address)
            return await asyncio.open_connection(*parse_address(address))
    except TimeoutError as error:
        raise OSError(f"no answer from {address} in {CONNECT_TIMEOUT_S:g} s") from error


async def _through(proxy: str, address: str) -> Streams:
    reader, writer = await asyncio.open_connection(*parse_address(proxy))
    try:
        writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        _check_answer(answer, proxy, address)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise OSError(f"the proxy {proxy} closed the connection to {address}") from error
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _check_answer(answer: bytes, proxy: str, address: str) -> None:
    line = answer[:_ANSWER_LIMIT].split(b"\r\n", 1)[0].decode("latin-1")
    parts = line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or parts[1] != "200":
        raise OSError(f"the proxy {proxy} refused {address}: {line[:80]!r}")
