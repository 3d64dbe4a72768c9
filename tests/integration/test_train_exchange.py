"""Sites as real processes over TCP: agreement, kills, restarts, checkpoints, pace, proxy."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import free_port

from skep.train import Outer


def agree(results):
    assert len({result["digest"] for result in results}) == 1
    assert all(result["vector"] == results[0]["vector"] for result in results)
    assert results[0]["vector"] == results[0]["anchor"]


def overlap(path):
    """Fragments were on their way while steps were taken."""
    spans = [event for event in json.loads(path.read_text()) if event.get("ph") == "X"]
    steps = [(s["ts"], s["ts"] + s["dur"]) for s in spans if s["name"].startswith("step")]
    rounds = [(s["ts"], s["ts"] + s["dur"]) for s in spans if s["name"].startswith("round")]
    ended = steps[-1][1]
    while_training = [(a, b) for a, b in rounds if b < ended]
    assert len(while_training) >= 2
    for start, stop in while_training:
        assert any(a < stop and start < b for a, b in steps)


@pytest.mark.parametrize(
    ("names", "how"),
    [
        ("ab", {}),
        ("abc", {"fragments": 3, "codec": "int4"}),
        ("ab", {"codec": "sparse", "streams": 3}),
    ],
)
def test_sites_end_bit_identical(make, names, how):
    sites = make(*names)
    for name in names:
        trace = {"trace": str(sites.folder / f"{name}.trace")}
        sites.start(name, 2.0, sleep=0.01 * (1 + names.index(name)), join=how | trace)
    results = sites.results()
    overlap(sites.folder / "a.trace")
    agree(results)
    assert results[0]["round"] >= 3
    assert results[0]["global_tokens"] == sum(result["tokens"] for result in results)
    fast, slow = results[0]["tokens"], results[-1]["tokens"]
    assert fast > 1.2 * slow  # the fast site was not held back
    rounds = sites.progress("a", "round")
    assert rounds[-1]["final"]
    assert rounds[-1]["participants"] == len(names)
    assert all(0.5 < share <= 1.0 for share in results[0]["participation"].values())
    assert sorted(results[0]["participation"]) == list(names)
    assert 0.0 < results[0]["staleness_s"] < 2.0
    last = sites.progress("b", "final")[-1]
    assert last["bytes_sent"] > 0
    assert last["ddp_bytes_per_token"] > 0


def test_a_site_of_two_ranks_and_a_site_of_one(make):
    sites = make("a", "b")
    sites.start("a", 2.0, ranks=2)
    sites.start("b", 2.0)
    results = sites.results("a", "b", "a.1")
    assert results[0]["vector"] == results[1]["vector"] == results[2]["vector"]
    assert results[0]["digest"] == results[1]["digest"]
    both = results[0]["steps"] + results[2]["steps"]
    assert results[0]["tokens"] == 16 * both  # of both ranks; those of b: 16 a step
    assert results[1]["tokens"] == 16 * results[1]["steps"]


def test_sites_of_several_ranks_share_a_data_set(make):
    sites = make("a", "b")
    sites.start("a", 60.0, ranks=2, samples=400)
    sites.start("b", 60.0, samples=400)
    results = sites.results("a", "b", "a.1")
    assert results[0]["digest"] == results[1]["digest"]
    lines = {
        who: (sites.folder / f"{who}.steps").read_text().split("\n") for who in ("a", "b", "a.1")
    }
    seen = [number for own in lines.values() for line in own if line for number in json.loads(line)]
    assert (
        len({round(400 * number) for number in seen}) == len(seen) >= 399
    )  # the last one may be too few for two ranks
    assert results[0]["global_tokens"] == len(seen) * 8
    assert min(len(own) for own in lines.values()) > 10


def test_kill_9_in_a_round_costs_the_others_nothing_and_the_victim_comes_back(make):
    sites = make("a", "b", "c")
    cut = {"fragments": 2}
    for name in "abc":
        sites.start(name, 120.0, until=sites.bell, join=cut)
    sites.await_rounds("b", 3)
    sites.kill("a")  # the leader
    done = len(sites.progress("b", "round"))
    sites.await_rounds("b", done + 3)
    known = len(sites.progress("a", "round"))
    sites.start("a", 120.0, until=sites.bell, join=cut)
    sites.await_rounds("a", known + 5)
    sites.ring()
    results = sites.results()
    agree(results)
    assert sites.longest_step("b") < 2.0
    assert sites.longest_step("c") < 2.0
    assert 2 * results[0]["start"][0] + 1 >= done  # it took over what the living had reached
    texts = [line["text"] for line in sites.progress("b", "event")]
    assert any(text.startswith("a left") for text in texts)
    assert any("job-a2-a" in text for text in texts)


def test_all_die_and_resume_from_their_checkpoints(make, tmp_path):
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 60.0, env={"SKEP_CHECKPOINT_DIR": str(tmp_path / f"ck-{name}")})
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"ck-{name}" / "outer.ckpt").exists() for name in "ab"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    reached = sites.progress("a", "round")[-1]
    sites.kill("a")
    sites.kill("b")
    (tmp_path / "ck-b" / "outer.ckpt").write_bytes(b"torn")  # b has nothing to resume from
    for name in "ab":
        sites.start(name, 1.5, env={"SKEP_CHECKPOINT_DIR": str(tmp_path / f"ck-{name}")})
    results = sites.results()
    agree(results)
    # Who reads it a moment later may be a round further.
    assert min(found["start"][0] for found in results) >= reached["round"] - 10 > 0
    assert results[0]["global_tokens"] > results[0]["tokens"] + results[1]["tokens"]
    texts = [line["text"] for line in sites.progress("b", "event")]
    assert any("outer.ckpt is not used" in text for text in texts)


EACH_STEP = {
    "overlap": False,
    "interval_steps": 1,
    "outer": Outer(1.0, 0.0),
    "codec": "fp32",
    "grace": 10.0,
}


def data_parallel(model, steps):
    """The parameters after so many steps on the batches of both sites together."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    chances = [torch.Generator().manual_seed(index) for index in (0, 1)]
    for _ in range(steps):
        x = torch.cat([torch.randn(16, 8, generator=chance) for chance in chances])
        (model(x).squeeze(1) - x.sum(1)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_one_local_step_is_data_parallelism(make):
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 60.0, steps=8, sleep=0.0, seed=3, width=8, join=EACH_STEP)
    results = sites.results()
    agree(results)
    torch.manual_seed(3)
    expected = data_parallel(torch.nn.Linear(8, 1), 8)
    torch.testing.assert_close(torch.tensor(results[0]["vector"]), expected, rtol=0, atol=2e-6)
    assert results[0]["round"] >= 8


@pytest.mark.parametrize("shard", ["all", ""])
def test_so_it_is_with_two_ranks_at_each_site(make, shard):
    """Sharded or copies (DDP): the ranks of a site wait for each round together."""
    sites, how = make("a", "b"), {"seed": 3, "join": EACH_STEP, "clip": 1e6}
    for name in "ab":
        sites.start(name, 60.0, ranks=2, shard=shard, steps=6, sleep=0.0, **how)
    results = sites.results("a", "a.1", "b", "b.1")
    for first, second in (results[:2], results[2:]):
        assert first["norms"] == second["norms"]
        assert len(first["norms"]) == 6
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    expected = data_parallel(model, 6)  # both ranks of a site draw the same batches
    for result in results:
        found = torch.tensor(result["vector"])
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-6)
    assert results[0]["round"] >= 6


def test_a_chip_is_held_to_its_stated_speed(make):
    sites = make("a")
    # one step of a linear layer: 2 * 16 * 1000 forward, as much for the weights' gradient
    sites.start(
        "a",
        60.0,
        width=1000,
        steps=40,
        sleep=0.0,
        env={"SKEP_PEERS": "", "SKEP_LISTEN": "", "SKEP_CHIP_SPEED": str(64_000 / 0.05)},
    )
    (result,) = sites.results()
    assert result["step_flops"] == 64_000
    times = [float(line.split()[0]) for line in (sites.folder / "a.steps").open()]
    assert times[-1] - times[1] >= 0.05 * 38 - 0.06
    assert times[-1] - times[1] < 0.05 * 38 * 1.3


def test_alone_it_only_measures(make):
    sites = make("a")
    sites.start("a", 60.0, steps=20, sleep=0.0, env={"SKEP_PEERS": "", "SKEP_LISTEN": ""})
    (result,) = sites.results()
    assert result["global_tokens"] == result["tokens"] == 20 * 16
    assert result["bytes_sent"] == 0


class Proxy(threading.Thread):
    """An HTTP CONNECT proxy that counts."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked, self.bytes = [], 0

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(1)
        target = request.split()[1].decode()
        self.asked.append(target)
        host, port = target.split(":")
        try:
            server = socket.create_connection((host, int(port)))
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            client.close()
            return
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.bytes += len(data)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()


def test_peers_are_dialled_through_a_proxy(make):
    sites, proxy = make("a", "b"), Proxy()
    proxy.start()
    sites.start("a", 1.5, env={"SKEP_PEERS": ""})
    sites.start("b", 1.5, env={"SKEP_LISTEN": "", "SKEP_PROXY": proxy.address})
    agree(sites.results())
    assert set(proxy.asked) == {f"127.0.0.1:{sites.ports['a']}"}
    assert proxy.bytes > 1000


TWO_SHELLS = """
import sys, time, torch, skep.train
me, other, mine, theirs = sys.argv[1:5]
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with skep.train.join(model, optimizer, site=me, listen=mine, peers={other: theirs},
                     token="our secret") as run:
    for x in run.data(torch.randn(16, 4) for _ in range(60)):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        time.sleep(0.02)
print(run.digest, run.global_tokens, flush=True)
"""


def test_two_shells_two_addresses_and_nothing_else_of_skep():
    one, other = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SKEP_")}
    shells = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_SHELLS, *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for arguments in (("east", "west", one, other), ("west", "east", other, one))
    ]
    said = [shell.communicate(timeout=60)[0].split() for shell in shells]
    assert said[0] == said[1]
    assert int(said[0][1]) == 2 * 60 * 64
