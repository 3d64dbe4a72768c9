"""Proving to each other that both sides hold the job's token, which itself is never sent.

server: CHALLENGE nonce, tls                 (anyone may connect; nothing is told)
client: BEGIN     tls                        (OFFER and MEET, of ``relay``, may stand here instead)
        TLS begins, unless both sides are set to go without
client: HELLO     who, nonce, proof          (proof over both nonces, who, the server's certificate)
server: WELCOME   who, proof   or   REFUSED reason

Someone in the middle ends TLS with a certificate of his own: then both proofs are over different
ones, and each side refuses the other. That ``tls`` was changed on the way is refused as well.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from skep.errors import DeniedError
from skep.train.frames import FrameError, Kind, Message
from skep.train.member import Member, member_from, proof, same, session_key
from skep.train.tls import Identity
from skep.train.wire import Wire

TIMEOUT_S = 10.0
UNLIKE = "one side encrypts and the other does not: `plain` has to be set at all sites or at none"

RELAY = "this is a relay and no site: to be set as `relay`, not among `peers`"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this side brings to every handshake. ``identity`` None: links are not encrypted."""

    me: Member
    token: bytes
    identity: Identity | None
    limit: int  # bytes of one message of data
    admit: Callable[[Member], str]  # "" or the reason for which a member is refused


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who has been challenged with ``nonce`` and asks for something."""

    nonce: str
    request: Message


async def challenge(wire: Wire, tls: bool | None) -> Caller:
    """The server's first words, and what comes back; ``tls`` None: it only relays.

    Raises as ``answer``.
    """
    async with asyncio.timeout(TIMEOUT_S):
        nonce = secrets.token_hex(16)
        await wire.send(Message(Kind.CHALLENGE, {"nonce": nonce, "tls": tls}))
        return Caller(nonce, await wire.receive())


async def answer(wire: Wire, mine: Credentials, caller: Caller) -> Member:
    """The server's part after ``challenge``: the member at the other end.

    Raises ``DeniedError``, ``FrameError``, ``OSError``, ``EOFError`` or ``TimeoutError``.
    """
    nonce, begin = caller.nonce, checked(caller.request, Kind.BEGIN)
    async with asyncio.timeout(TIMEOUT_S):
        if (begin.fields.get("tls") is True) != (mine.identity is not None):
            raise await refuse(wire, UNLIKE)
        binding = ""
        if mine.identity is not None:
            await wire.secure(mine.identity.server, server_side=True)
            binding = mine.identity.fingerprint
        hello = await expect(wire, Kind.HELLO)
        theirs, greeting = text_of(hello, "nonce"), text_of(hello, "greeting")
        expected = proof(mine.token, "client", binding, nonce, theirs, greeting)
        if not same(expected, hello.fields.get("proof")):
            raise await refuse(wire, "it does not hold this job's token")
        peer = _member(greeting)
        reason = mine.admit(peer)
        if reason:
            raise await refuse(wire, reason, peer.site)
        about_me = json.dumps(mine.me.to_fields())
        shown = proof(mine.token, "server", binding, theirs, nonce, about_me)
        await wire.send(Message(Kind.WELCOME, {"greeting": about_me, "proof": shown}))
    if mine.identity is None:
        to_client, to_server = _keys(mine.token, nonce, theirs)
        wire.seal(to_client, to_server)
    wire.open(mine.limit)
    return peer


async def greet(wire: Wire, mine: Credentials) -> Member:
    """The client's part: the member at the other end. Raises as ``answer``."""
    async with asyncio.timeout(TIMEOUT_S):
        challenged = await expect(wire, Kind.CHALLENGE)
        theirs = text_of(challenged, "nonce")
        binding = await _secure(wire, challenged, mine.identity)
        nonce, greeting = secrets.token_hex(16), json.dumps(mine.me.to_fields())
        shown = proof(mine.token, "client", binding, theirs, nonce, greeting)
        fields = {"nonce": nonce, "greeting": greeting, "proof": shown}
        await wire.send(Message(Kind.HELLO, fields))
        welcome = await expect(wire, Kind.WELCOME)
        about_them = text_of(welcome, "greeting")
    expected = proof(mine.token, "server", binding, nonce, theirs, about_them)
    if not same(expected, welcome.fields.get("proof")):
        raise DeniedError("the peer does not hold this job's token")
    peer = _member(about_them)
    reason = mine.admit(peer)
    if reason:
        raise DeniedError(reason)
    if mine.identity is None:
        to_client, to_server = _keys(mine.token, theirs, nonce)
        wire.seal(to_server, to_client)
    wire.open(mine.limit)
    return peer


async def _secure(wire: Wire, challenged: Message, identity: Identity | None) -> str:
    """The client's end of TLS: what its proof is bound to."""
    theirs = challenged.fields.get("tls")
    if theirs is None:
        raise await refuse(wire, RELAY)
    if (theirs is True) != (identity is not None):
        raise await refuse(wire, UNLIKE)
    await wire.send(Message(Kind.BEGIN, {"tls": identity is not None}))
    if identity is None:
        return ""
    return await wire.secure(identity.client, server_side=False)


def _keys(token: bytes, server: str, client: str) -> tuple[bytes, bytes]:
    return (
        session_key(token, server, client, "to client"),
        session_key(token, server, client, "to server"),
    )


async def expect(wire: Wire, kind: Kind) -> Message:
    """The next message, which has to be of ``kind``. Raises ``DeniedError`` or ``FrameError``."""
    return checked(await wire.receive(), kind)


def checked(message: Message, kind: Kind) -> Message:
    """The message, if it is of ``kind``. Raises ``DeniedError`` or ``FrameError``."""
    if message.kind is Kind.REFUSED:
        raise DeniedError(f"refused by the peer: {str(message.fields.get('reason', ''))[:200]}")
    if message.kind is not kind:
        raise FrameError(f"{message.kind.name} where {kind.name} was due")
    return message


async def refuse(wire: Wire, reason: str, site: str = "someone") -> DeniedError:
    """Tell the peer; the error to raise here."""
    await wire.send(Message(Kind.REFUSED, {"reason": reason}))
    return DeniedError(f"{site} refused: {reason}")


def text_of(message: Message, name: str) -> str:
    """A field that has to be a text. Raises ``FrameError``."""
    value = message.fields.get(name)
    if not isinstance(value, str):
        raise FrameError(f"{message.kind.name} without {name}")
    return value


def _member(greeting: str) -> Member:
    try:
        fields = json.loads(greeting)
        if not isinstance(fields, dict):
            raise ValueError("a greeting that is not an object")
        return member_from(fields)
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)) from error
