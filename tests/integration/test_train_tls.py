"""Links between sites are encrypted and bound to the job's token. Real sockets."""

import asyncio
import builtins
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import Middle, address

from skep.errors import InputError
from skep.runenv import RunEnv
from skep.train.channel import Channel, Traffic
from skep.train.frames import FrameError, Kind, Message, pack_frame
from skep.train.settings import settings
from skep.train.tls import identity
from skep.train.wire import Wire


def test_nothing_can_be_read_on_the_way(party):
    a = party.site("a-named-site")
    middle = Middle(("127.0.0.1", a.port))
    b = party.site("another-site", peers={"a-named-site": middle.address}, listen=False)
    party.wait(lambda: a.sites == ["another-site"] and len(middle.seen) > 3000)
    seen = bytes(middle.seen)  # goes on growing
    for word in (b"named-site", b"another-site", b"greeting", b"job-a1", b"pending"):
        assert word not in seen
    # encryption's own bytes are counted, those on the way as soon as they arrive
    party.wait(lambda: b.sent + b.received_bytes >= len(seen))


def test_someone_in_the_middle_with_a_certificate_of_his_own_is_found_out(party):
    a = party.site("a")
    middle = Middle(("127.0.0.1", a.port), tls=True)
    b = party.site("b", peers={"a": middle.address}, listen=False)
    party.wait(lambda: any("does not hold this job's token" in t for t in party.texts("a")))
    party.wait(lambda: any("refused by the peer" in text for text in party.texts("b")))
    assert a.sites == b.sites == []


def without_tls(message):
    return Message(message.kind, message.fields | {"tls": False})


def test_encryption_cannot_be_talked_away(party):
    a = party.site("a")
    middle = Middle(("127.0.0.1", a.port), without_tls)
    b = party.site("b", peers={"a": middle.address}, listen=False)
    party.wait(lambda: any("one side encrypts" in text for text in party.texts("b")))
    assert a.sites == b.sites == []


def test_without_encryption_both_have_to_say_why(party):
    why = "inside our VPN"
    a = party.site("a", plain=why)
    middle = Middle(("127.0.0.1", a.port))
    b = party.site("b", peers={"a": middle.address}, listen=False, plain=why)
    party.wait(lambda: a.sites == ["b"] and b.sites == ["a"])
    assert b'"site"' in middle.seen.replace(b"\\", b"")
    assert f"links are not encrypted: {why}" in party.texts("a")
    c = party.site("c", peers={"a": address(a)}, listen=False)
    party.wait(lambda: any("one side encrypts" in text for text in party.texts("a")))
    party.wait(lambda: any("one side encrypts" in text for text in party.texts("c")))
    assert c.sites == []


def test_the_reason_is_a_reason():
    with pytest.raises(InputError, match=r"plain.*VPN"):
        settings(RunEnv(), 1, listen="127.0.0.1:7001", token="a secret", plain="no")


def test_without_the_package_there_is_one_clear_line(party, monkeypatch):
    really = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="cryptography"):
        party.site("a")
    party.site("b", plain="no package here")


def scene(work):
    """Run ``work(near, far)`` over two ends of a connection, both in TLS, with raw streams."""

    async def main():
        mine = identity()
        accepted = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(
            lambda *streams: accepted.set_result(streams), "127.0.0.1", 0
        )
        streams = await asyncio.open_connection(*server.sockets[0].getsockname())
        near, far = Channel(*streams, Traffic()), Channel(*await accepted, Traffic())
        seen, none = await asyncio.gather(
            near.secure(mine.client, False), far.secure(mine.server, True)
        )
        assert (seen, none) == (mine.fingerprint, "")
        await asyncio.wait_for(work(near, far, streams), 20)
        server.close()

    asyncio.run(main())


def test_large_and_small_writes_arrive_in_order():
    async def work(near, far, _):
        pieces = [bytes([number % 251]) * size for number, size in enumerate((1, 70000, 3, 16384))]
        await asyncio.gather(*(near.write(piece) for piece in pieces[:1]))
        for piece in pieces[1:]:
            await near.write(piece)
        whole = b"".join(pieces)
        assert await far.read(5) == whole[:5]
        assert await far.read(len(whole) - 5) == whole[5:]
        near.close()
        with pytest.raises(EOFError):
            await far.read(1)

    scene(work)


def test_a_changed_byte_ends_the_connection():
    async def work(near, far, streams):
        streams[1].write(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody encrypted
        with pytest.raises(FrameError, match="did not write"):
            await far.read(1)

    scene(work)


def test_a_stranger_who_speaks_tls_gets_no_further(party):
    a = party.site("a")

    async def call():
        wire = Wire(*await asyncio.open_connection("127.0.0.1", a.port), Traffic())
        await wire.receive()
        await wire.send(Message(Kind.BEGIN, {"tls": True}))
        await wire.secure(identity().client, False)
        await wire._channel.write(pack_frame(16, b"{}"))
        with pytest.raises((EOFError, OSError)):
            await wire.receive()

    asyncio.run(asyncio.wait_for(call(), 20))
    party.wait(
        lambda: any("where HELLO was due" in text or "refused" in text for text in party.texts("a"))
    )
