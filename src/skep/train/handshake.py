"""Proving to each other that both sides hold the job's token, which itself is never sent.

server: CHALLENGE nonce                      (anyone may connect; nothing is told)
client: HELLO     who, nonce, proof          (proof over both nonces and who)
server: WELCOME   who, proof   or   REFUSED reason
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable

from skep.errors import DeniedError
from skep.train.frames import FrameError, Kind, Message
from skep.train.member import Member, member_from, proof, same, session_key
from skep.train.wire import Wire

TIMEOUT_S = 10.0

Admit = Callable[[Member], str]  # "" or the reason for which a member is refused


async def answer(wire: Wire, token: bytes, me: Member, admit: Admit, limit: int) -> Member:
    """The server's part: the member at the other end. Raises ``DeniedError`` or ``FrameError``."""
    async with asyncio.timeout(TIMEOUT_S):
        nonce = secrets.token_hex(16)
        await wire.send(Message(Kind.CHALLENGE, {"nonce": nonce}))
        hello = await _expect(wire, Kind.HELLO)
        theirs, greeting = _text(hello, "nonce"), _text(hello, "greeting")
        if not same(proof(token, "client", nonce, theirs, greeting), hello.fields.get("proof")):
            raise await _refuse(wire, "it does not hold this job's token")
        peer = _member(greeting)
        reason = admit(peer)
        if reason:
            raise await _refuse(wire, reason, peer.site)
        mine = json.dumps(me.to_fields())
        shown = proof(token, "server", theirs, nonce, mine)
        await wire.send(Message(Kind.WELCOME, {"greeting": mine, "proof": shown}))
    to_client, to_server = _keys(token, nonce, theirs)
    wire.seal(to_client, to_server, limit)
    return peer


async def greet(wire: Wire, token: bytes, me: Member, admit: Admit, limit: int) -> Member:
    """The client's part: the member at the other end. Raises ``DeniedError`` or ``FrameError``."""
    async with asyncio.timeout(TIMEOUT_S):
        challenge = _text(await _expect(wire, Kind.CHALLENGE), "nonce")
        nonce, greeting = secrets.token_hex(16), json.dumps(me.to_fields())
        shown = proof(token, "client", challenge, nonce, greeting)
        fields = {"nonce": nonce, "greeting": greeting, "proof": shown}
        await wire.send(Message(Kind.HELLO, fields))
        welcome = await _expect(wire, Kind.WELCOME)
        theirs = _text(welcome, "greeting")
    expected = proof(token, "server", nonce, challenge, theirs)
    if not same(expected, welcome.fields.get("proof")):
        raise DeniedError("the peer does not hold this job's token")
    peer = _member(theirs)
    reason = admit(peer)
    if reason:
        raise DeniedError(reason)
    to_client, to_server = _keys(token, challenge, nonce)
    wire.seal(to_server, to_client, limit)
    return peer


def _keys(token: bytes, server: str, client: str) -> tuple[bytes, bytes]:
    return (
        session_key(token, server, client, "to client"),
        session_key(token, server, client, "to server"),
    )


async def _expect(wire: Wire, kind: Kind) -> Message:
    message = await wire.receive()
    if message.kind is Kind.REFUSED:
        raise DeniedError(f"refused by the peer: {str(message.fields.get('reason', ''))[:200]}")
    if message.kind is not kind:
        raise FrameError(f"{message.kind.name} where {kind.name} was due")
    return message


async def _refuse(wire: Wire, reason: str, site: str = "someone") -> DeniedError:
    await wire.send(Message(Kind.REFUSED, {"reason": reason}))
    return DeniedError(f"{site} refused: {reason}")


def _text(message: Message, name: str) -> str:
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
