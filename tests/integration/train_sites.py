"""Sites as real processes for the tests of skep.train: started, watched, killed.

Processes are forked from a server that has imported torch already, so that a site starts in a
tenth of a second instead of four.
"""

import asyncio
import functools
import itertools
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, TensorDataset

from skep.engines import ports
from skep.train.channel import Traffic
from skep.train.exchange import Exchange
from skep.train.groups import ABOVE
from skep.train.lead import Options
from skep.train.outer import fresh
from skep.train.settings import Settings
from skep.train.tls import identity
from skep.train.wire import Wire

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "torch.distributed.fsdp", "skep.train", "numpy"])
TOKEN = "a-secret-of-the-job"


def free_port():
    """A port that no outgoing connection takes before the site listens on it, nor the next one."""
    with ports.reserve("127.0.0.1") as taken:
        return ports.port(taken)


def train(spec):
    """One rank of a site: a small regression; ``spec`` says how, its result goes to a file."""
    import skep.train

    os.environ.update(spec["env"])
    most = spec.get("one_level", ABOVE)  # no argument of join: few sites are enough for a test
    skep.train.settings.Options = functools.partial(Options, one_level=most)
    torch.set_num_threads(1)
    torch.manual_seed(spec.get("seed", 0))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group("gloo")
    model = (
        torch.nn.Linear(spec["width"], 1)
        if "width" in spec
        else torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    )
    wrapped = model
    if spec.get("shard"):
        wrapped = sharded(model, spec["shard"])
    elif torch.distributed.is_initialized():
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = getattr(torch.optim, spec.get("optimizer", "SGD"))(model.parameters(), lr=0.05)
    chance = torch.Generator().manual_seed(spec.get("data", 0))
    inputs, norms = spec.get("width", 8), []
    with (
        skep.train.join(wrapped, optimizer, **spec.get("join", {})) as run,
        open(spec["out"] + ".steps", "a") as steps,
    ):
        start = (run.round, run.digest)
        for (x,) in run.data(samples(spec)) if "samples" in spec else ():
            (wrapped(x).squeeze(1) - x.sum(1)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            steps.write(f"{json.dumps(x[:, 0].tolist())}\n")
            time.sleep(spec.get("sleep", 0.02))
        while run.stats["steps"] < spec.get("steps", 10**9) and "samples" not in spec:
            if run.elapsed >= spec["seconds"] or rung(spec):
                break
            x = torch.randn(16, inputs, generator=chance)
            (wrapped(x).squeeze(1) - x.sum(1)).square().mean().backward()
            run.tokens(spec.get("tokens", 16))
            if "clip" in spec:
                norms.append(float(whole(run.clip_grad_norm_(spec["clip"]))))
            optimizer.step()
            optimizer.zero_grad()
            steps.write(f"{time.monotonic()} {run.round} {run.participants}\n")
            steps.flush()
            time.sleep(spec.get("sleep", 0.02))
        run.finish()
        values = [whole(parameter).reshape(-1) for parameter in model.parameters()]
        vector = torch.cat(values).detach()
        result = run.stats | {
            "vector": vector.tolist(),
            "anchor": run.synchronised.tolist(),
            "digest": run.digest,
            "start": start,
            "norms": norms,
            "loss": float((wrapped(x).squeeze(1) - x.sum(1)).square().mean().detach()),
        }
    temporary = spec["out"] + ".tmp"
    Path(temporary).write_text(json.dumps(result))
    os.replace(temporary, spec["out"])


def rung(spec):
    """Whether the bell has been rung, alike on all ranks."""
    there = os.path.exists(spec.get("until", "/no such file"))
    if not torch.distributed.is_initialized() or "until" not in spec:
        return there
    first = [there]
    torch.distributed.broadcast_object_list(first, 0)
    return first[0]


NAMES = {"all": ("shard",), "pairs": ("replicate", "shard")}


def sharded(model, how):
    """``fully_shard`` over all ranks, or over pairs of them of which there are copies."""
    ranks = torch.distributed.get_world_size()
    mesh = init_device_mesh(
        "cpu", (ranks,) if how == "all" else (ranks // 2, 2), mesh_dim_names=NAMES[how]
    )
    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def whole(parameter):
    """On all ranks: the parameter, gathered if it is sharded."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def samples(spec):
    """Each of the samples begins with its own number."""
    numbers = torch.arange(spec["samples"]).float().unsqueeze(1)
    values = torch.cat([numbers / spec["samples"], torch.randn(len(numbers), 7)], dim=1)
    return DataLoader(TensorDataset(values), batch_size=4, shuffle=True)


class Sites:
    """Some sites on this machine that know each other's addresses."""

    def __init__(self, folder, *names):
        self.folder, self.names = Path(folder), names
        self.ports = {name: free_port() for name in names}
        (self.folder / "token").write_text(TOKEN)
        self.processes, self.attempts = {}, dict.fromkeys(names, 0)

    def environ(self, name):
        peers = ",".join(f"{n}=127.0.0.1:{p}" for n, p in self.ports.items() if n != name)
        return {
            "SKEP_SITE": name,
            "SKEP_SITE_RANK": str(self.names.index(name)),
            "SKEP_SITE_COUNT": str(len(self.names)),
            "SKEP_RUN": f"job-a{self.attempts[name]}-{name}",
            "SKEP_LISTEN": f"127.0.0.1:{self.ports[name]}",
            "SKEP_PEERS": peers,
            "SKEP_TOKEN_FILE": str(self.folder / "token"),
            "SKEP_PROGRESS_FILE": str(self.folder / f"{name}.jsonl"),
        }

    def start(self, name, seconds, env=None, ranks=1, **spec):
        self.attempts[name] += 1
        port = free_port()
        for rank in range(ranks):
            torchrun = {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "RANK": str(rank),
                "WORLD_SIZE": str(ranks),
            }
            whole = {
                "env": self.environ(name) | torchrun | (env or {}),
                "out": str(self.folder / (name if rank == 0 else f"{name}.{rank}")),
                "seconds": seconds,
                "seed": self.names.index(name) + 10 * self.attempts[name],
                "data": self.names.index(name),
            } | spec
            process = SERVER.Process(target=train, args=(whole,), daemon=True)
            process.start()
            self.processes[name if rank == 0 else f"{name}.{rank}"] = process
        return self.processes[name]

    @property
    def bell(self):
        """Sites that were started with ``until=bell`` train until ``ring``."""
        return str(self.folder / "bell")

    def ring(self):
        Path(self.bell).touch()

    def kill(self, name):
        os.kill(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].join()

    def results(self, *names, timeout=90):
        for name in names or self.names:
            self.processes[name].join(timeout)
            assert self.processes[name].exitcode == 0, f"{name}: {self.processes[name].exitcode}"
        return [json.loads((self.folder / name).read_text()) for name in names or self.names]

    def progress(self, name, kind):
        path = self.folder / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["kind"] == kind]

    def await_rounds(self, name, count, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(self.progress(name, "round")) >= count:
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} had no {count} rounds: {self.progress(name, 'event')}")

    def longest_step(self, name):
        times = [float(line.split()[0]) for line in (self.folder / f"{name}.steps").open()]
        return max(b - a for a, b in itertools.pairwise(times))

    def stop(self):
        for process in self.processes.values():
            if process.is_alive():
                process.kill()


class Party:
    """Exchanges of several sites in this process, each with its own thread and sockets."""

    def __init__(self):
        self.made, self.events = [], []

    def site(self, name, peers=None, listen=True, length=10, **how):
        port = free_port()
        chosen = Settings(
            site=name,
            listen=f"127.0.0.1:{port}" if listen else "",
            peers=peers or {},
            **({"run": "job-a1-x", "token": TOKEN.encode()} | how),
        )
        vector = torch.zeros(length)
        exchange = Exchange(
            chosen, [fresh(vector, "0")], str(length), lambda text: self.events.append((name, text))
        )
        exchange.start()
        self.made.append(exchange)
        exchange.port = port
        return exchange

    def texts(self, name):
        return [text for who, text in self.events if who == name]

    def wait(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.events
            time.sleep(0.02)


def address(exchange):
    return f"127.0.0.1:{exchange.port}"


class Middle(threading.Thread):
    """Someone between two sites who sees and may change all that they say."""

    def __init__(self, target, challenge=lambda message: message, tls=False):
        super().__init__(daemon=True)
        self.target, self.challenge = target, challenge
        self.identity = identity() if tls else None
        self.port, self.seen = free_port(), bytearray()
        self.address = f"127.0.0.1:{self.port}"
        self.listening = threading.Event()
        self.start()
        self.listening.wait()

    def run(self):
        asyncio.run(self._main())

    async def _main(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.listening.set()
        async with server:
            await server.serve_forever()

    async def _serve(self, *client):
        streams = await asyncio.open_connection(*self.target)
        near, far = Wire(*client, Traffic()), Wire(*streams, Traffic())
        await near.send(self.challenge(await far.receive()))
        if self.identity is not None:
            await far.send(await near.receive())  # BEGIN
            await asyncio.gather(
                near.secure(self.identity.server, True), far.secure(self.identity.client, False)
            )
            await asyncio.gather(self._messages(near, far), self._messages(far, near))
        else:
            await asyncio.gather(
                self._bytes(client[0], streams[1]), self._bytes(streams[0], client[1])
            )

    async def _messages(self, source, sink):
        while True:
            await sink.send(await source.receive())

    async def _bytes(self, reader, writer):
        while data := await reader.read(1 << 16):
            self.seen += data
            writer.write(data)
        writer.close()
