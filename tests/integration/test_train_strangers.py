"""Who may take part: the wrong token, a stale attempt, garbage, another model. Real sockets."""

import asyncio
import json
import socket
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import address

from skep.errors import InputError
from skep.train import handshake
from skep.train.dial import dial
from skep.train.exchange import Exchange
from skep.train.frames import HEAD, VERSION, Kind, Message, pack_frame, pack_message
from skep.train.member import attempt, origin_of, supersedes
from skep.train.outer import fresh
from skep.train.settings import Settings


def test_a_wrong_token_is_refused_and_never_sent(party):
    a = party.site("a")
    party.site("b", peers={"a": address(a)}, token=b"another-secret", listen=False)
    party.wait(lambda: any("does not hold" in text for text in party.texts("a")))
    party.wait(lambda: any("refused by the peer" in text for text in party.texts("b")))
    party.site("c", peers={"a": address(a)}, listen=False)
    party.wait(lambda: a.sites == ["c"])


def test_a_server_with_a_wrong_token_is_refused(party):
    impostor = party.site("a", token=b"another-secret")
    b = party.site("b", peers={"a": address(impostor)}, listen=False)
    party.wait(lambda: any("does not hold" in text for text in party.texts("a")))
    assert b.sites == []


def test_a_newer_attempt_replaces_and_a_stale_one_is_refused(party):
    a = party.site("a", run="job-a1-a")
    old = party.site("b", run="job-a1-b", peers={"a": address(a)}, listen=False)
    party.wait(lambda: a.sites == ["b"] and old.sites == ["a"])
    new = party.site("b", run="job-a2-b", peers={"a": address(a)}, listen=False)
    party.wait(lambda: new.sites == ["a"])
    party.wait(lambda: any("job-a1-b of b is stale: job-a2-b" in t for t in party.texts("a")))
    assert new.sites == ["a"]
    assert old.sites == []


def test_another_model_is_refused(party):
    a = party.site("a")
    b = party.site("b", peers={"a": address(a)}, listen=False, length=11)
    party.wait(lambda: any("other shapes" in text for text in party.texts("a")))
    assert a.sites == b.sites == []


def garbage():
    hello = {"nonce": "n", "greeting": json.dumps({"site": "x"}), "proof": "0"}
    return {
        "nothing": b"",
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "zeros": bytes(5000),
        "a huge frame": HEAD.pack(b"skep", VERSION, Kind.STATE, 0, 1 << 31, 0),
        "a huge handshake": HEAD.pack(b"skep", VERSION, Kind.HELLO, 0, 1 << 17, 0) + bytes(1 << 17),
        "more without end": b"".join(pack_frame(Kind.HELLO, bytes(4000), True) for _ in range(9)),
        "a state without a greeting": b"".join(pack_message(Message(Kind.STATE, {}, bytes(99)))),
        "a greeting without proof": b"".join(pack_message(Message(Kind.HELLO, hello))),
        "no TLS": b"".join(pack_message(Message(Kind.BEGIN, {"tls": True}))) + bytes(999),
        "half a frame": pack_frame(Kind.HELLO, b"abcdef")[:-3],
    }


def test_garbage_from_strangers_changes_nothing(party):
    a = party.site("a")
    b = party.site("b", peers={"a": address(a)}, listen=False)
    party.wait(lambda: a.sites == ["b"])
    sockets = []
    for data in garbage().values():
        stranger = socket.create_connection(("127.0.0.1", a.port))
        stranger.sendall(data)
        sockets.append(stranger)
    party.wait(lambda: any("not skep's protocol" in text for text in party.texts("a")))
    party.wait(lambda: any("no TLS with it" in text for text in party.texts("a")))
    time.sleep(0.3)
    assert a.sites == ["b"]
    assert b.sites == ["a"]
    party.site("c", peers={"a": address(a)}, listen=False)
    party.wait(lambda: a.sites == ["b", "c"])
    for stranger in sockets:
        stranger.close()


def test_a_crowd_of_silent_strangers_does_not_keep_peers_out_for_long(party, monkeypatch):
    monkeypatch.setattr(handshake, "TIMEOUT_S", 1.0)
    a = party.site("a")
    crowd = [socket.create_connection(("127.0.0.1", a.port)) for _ in range(40)]
    party.site("b", peers={"a": address(a)}, listen=False)
    party.wait(lambda: a.sites == ["b"], 25)
    for stranger in crowd:
        stranger.close()


def test_newcomers_are_learned_from_those_they_know(party):
    a = party.site("a")
    b = party.site("b", peers={"a": address(a)})
    c = party.site("c", peers={"a": address(a)})
    party.wait(lambda: b.sites == ["a", "c"] and c.sites == ["a", "b"])


def test_an_address_in_use_is_an_input_error(party):
    a = party.site("a")
    chosen = Settings(site="b", run="r", listen=address(a), token=b"a-secret-of-the-job")
    state = fresh(torch.zeros(3), origin_of(a.me))
    with pytest.raises(InputError, match="listen"):
        Exchange(chosen, [state], "3", lambda text: None).start()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"what?\r\n\r\n", b""])
def test_a_proxy_that_refuses_is_an_os_error(answer):
    async def scene():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match="proxy"):
            await dial("example.org:80", f"127.0.0.1:{port}")
        server.close()

    asyncio.run(scene())


def test_attempts():
    assert attempt("job-7-a12-east") == 12
    assert attempt("whatever") == 0
    assert supersedes("j-a2-x", "j-a1-x")
    assert supersedes("j-a2-x", "j-a2-x")
    assert not supersedes("j-a2-x", "j-a10-x")
    assert not supersedes("other", "whatever")
