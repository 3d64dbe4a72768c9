"""Sites that cannot be dialled meet through a relay, of its own or at a site. Real sockets."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import TOKEN, Middle, Sites, address, free_port

from skep.runenv import relay_key
from skep.train import meeting
from skep.train.relay import main, splice

KEY = relay_key(TOKEN.encode())


class RelayProcess:
    """``python -m skep.train.relay``, which can be killed and started again."""

    def __init__(self, folder):
        self.keys, self.address = folder / "keys", f"127.0.0.1:{free_port()}"
        self.keys.write_text(f"{'0' * 64}\n{KEY}\n")
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "skep.train.relay", "--listen", self.address]
        self.process = subprocess.Popen([*command, "--keys", str(self.keys)])
        host, port = self.address.split(":")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the relay does not listen")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def relay(tmp_path):
    made = RelayProcess(tmp_path)
    made.start()
    yield made
    made.kill()


def test_two_sites_train_through_a_relay_that_dies_and_comes_back(tmp_path, relay):
    sites = Sites(tmp_path, "a", "b")
    behind = {"SKEP_LISTEN": "", "SKEP_PEERS": "", "SKEP_RELAY": relay.address}
    try:
        for name in "ab":
            sites.start(name, 120.0, env=behind, until=sites.bell)
        sites.await_rounds("b", 3)
        relay.kill()
        deadline = time.monotonic() + 20
        while not any(e["text"].startswith("b left") for e in sites.progress("a", "event")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = len(sites.progress("b", "round"))
        relay.start()
        sites.await_rounds("b", before + 3)
        sites.ring()
        one, other = sites.results()
    finally:
        sites.stop()
    assert one["digest"] == other["digest"]
    assert one["vector"] == other["vector"]
    assert one["global_tokens"] == one["tokens"] + other["tokens"]
    assert sites.longest_step("a") < 2.0
    told = [line["text"] for name in "ab" for line in sites.progress(name, "event")]
    assert any(text.endswith(f"is met through the relay at {relay.address}") for text in told)


def test_ranks_of_sharded_sites_meet_those_of_their_own_number_at_a_relay(tmp_path, relay):
    sites = Sites(tmp_path, "a", "b")
    behind = {"SKEP_LISTEN": "", "SKEP_PEERS": "", "SKEP_RELAY": relay.address}
    try:
        for name in "ab":
            sites.start(name, 3.0, env=behind, ranks=2, shard="all")
        results = sites.results("a", "a.1", "b", "b.1")
    finally:
        sites.stop()
    digests = [result["digest"] for result in results]
    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]
    assert min(result["round"] for result in results) >= 3


def test_a_relay_sees_no_names_and_nothing_of_what_is_said(party, relay):
    host, port = relay.address.split(":")
    middle = Middle((host, int(port)))
    a = party.site("a-named-site", listen=False, relay=middle.address)
    b = party.site("another-site", listen=False, relay=middle.address)
    party.wait(lambda: a.sites == ["another-site"] and b.sites == ["a-named-site"])
    party.wait(lambda: len(middle.seen) > 5000)
    for word in (b"named-site", b"another-site", b"greeting", b"job-a1", b"pending", KEY.encode()):
        assert word not in middle.seen


def test_a_relay_refuses_who_has_another_token(party, relay):
    party.site("a", listen=False, relay=relay.address, token=b"another-secret")
    party.wait(lambda: any("does not serve a job with that token" in t for t in party.texts("a")))


def test_a_relay_that_is_no_relay_and_a_peer_that_is_one(party, relay):
    a = party.site("a", peers={"b": relay.address}, listen=False)
    party.wait(lambda: any("this is a relay and no site" in text for text in party.texts("a")))
    assert a.sites == []


def test_a_site_that_can_be_dialled_is_a_relay_for_those_that_cannot(party):
    c = party.site("c")
    a = party.site("a", peers={"c": address(c)}, listen=False)
    b = party.site("b", peers={"c": address(c)}, listen=False)
    party.wait(lambda: a.sites == ["b", "c"] and b.sites == ["a", "c"])
    b.stop()
    party.wait(lambda: a.sites == ["c"] == [*c.sites, "c"][-1:] and "b" not in c.sites)


def test_who_can_be_dialled_is_met_by_relay_only_if_dialling_fails(party, relay, monkeypatch):
    monkeypatch.setattr(meeting, "DIRECT_S", 1.0)
    b = party.site("b", relay=relay.address)
    a = party.site("a", peers={"b": address(b)}, listen=False, relay=relay.address)
    party.wait(lambda: a.sites == ["b"])
    wrong = f"127.0.0.1:{free_port()}"
    aa = party.site("aa", peers={"b": wrong}, listen=False, relay=relay.address)
    party.wait(lambda: aa.sites == ["a", "b"])
    met = {text.split()[0] for _, text in party.events if "is met through" in text}
    assert "aa" in met or len(met) == 2
    assert not any(text.startswith("b is met") for text in party.texts("a"))
    assert not any(text.startswith("a is met") for text in party.texts("b"))


def test_a_slow_reader_slows_the_writer_down():
    async def scene():
        ends, passed = [], []
        server = await asyncio.start_server(lambda *pair: ends.append(pair), "127.0.0.1", 0)
        at = server.sockets[0].getsockname()
        one, other = [await asyncio.open_connection(*at) for _ in range(2)]
        while len(ends) < 2:
            await asyncio.sleep(0.01)
        passing = asyncio.ensure_future(splice(ends[0], ends[1], passed.append))
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 28:
                one[1].write(bytes(1 << 20))
                sent += 1 << 20
                await asyncio.wait_for(one[1].drain(), 0.5)
        assert sent < 1 << 26  # what sockets hold; nothing piled up in the relay
        read = asyncio.ensure_future(other[0].readexactly(sent))
        one[1].write_eof()
        assert len(await asyncio.wait_for(read, 20)) == sent
        other[1].close()
        await asyncio.wait_for(passing, 20)
        assert sum(passed) == sent
        server.close()

    asyncio.run(scene())


def test_the_key_is_printed_and_bad_input_is_one_line(tmp_path, capsys):
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    assert main(["--key-of", str(token)]) == 0
    assert capsys.readouterr().out == f"{KEY}\n"
    keys = tmp_path / "keys"
    keys.write_text(TOKEN)
    for wrong in (
        ["--key-of", str(tmp_path / "none")],
        ["--listen", "127.0.0.1:1"],
        ["--listen", "127.0.0.1:1", "--keys", str(keys)],
        ["--listen", "nowhere", "--keys", str(_good(tmp_path))],
    ):
        assert main(wrong) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def _good(folder):
    path = folder / "good"
    path.write_text(KEY)
    return path


def test_a_relay_needs_no_torch():
    code = "import sys, skep.train.relay; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
