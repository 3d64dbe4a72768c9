"""One site of a measurement of torchft's (streaming) DiLoCo. Runs in the peers' own environment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
import toy


def main() -> None:
    chosen = toy.options()
    bench = toy.Bench(chosen)
    lighthouse = f"http://{chosen.hosts[0]}:7300"
    if chosen.site == 0:
        start_lighthouse()
    os.environ["TORCHFT_LIGHTHOUSE"] = lighthouse
    os.environ["GLOO_SOCKET_IFNAME"] = "site"
    from torch.distributed import TCPStore
    from torchft import Manager, ProcessGroupGloo
    from torchft.local_sgd import DiLoCo

    here = chosen.hosts[chosen.site]
    socket.gethostname = lambda: here  # its healing tells this name to the others
    limit = timedelta(seconds=chosen.how.get("timeout", 60))
    store = TCPStore(here, 7301, is_master=True, wait_for_workers=False)
    assert store.port == 7301
    manager = Manager(
        pg=ProcessGroupGloo(timeout=limit),
        min_replica_size=chosen.sites,
        use_async_quorum=False,
        load_state_dict=lambda state: bench.model.load_state_dict(state["model"]),
        state_dict=lambda: {"model": bench.model.state_dict()},
        store_addr=here,
        store_port=7301,
        rank=0,
        world_size=1,
        replica_id=f"site{chosen.site}_",
        hostname=here,
        timeout=limit,
        quorum_timeout=limit,
        connect_timeout=limit,
        init_sync=chosen.how.get("init_sync", True),
    )
    fragments, every = chosen.how.get("fragments", 2), chosen.how.get("interval_steps", 20)
    model = bench.model
    halves: list[torch.nn.Module] = [model]
    if fragments == 2:
        half = len(model.blocks) // 2
        first = torch.nn.ModuleList([model.bytes, model.places, *model.blocks[:half]])
        halves = [first, torch.nn.ModuleList([*model.blocks[half:], model.norm, model.head])]
    outer = [torch.optim.SGD(m.parameters(), lr=0.7, momentum=0.9, nesterov=True) for m in halves]
    with DiLoCo(
        manager,
        halves,
        bench.optimizer,
        outer if len(outer) > 1 else outer[0],
        sync_every=every,
        fragment_sync_delay=chosen.how.get("delay", 0),
        fragment_update_alpha=0.0,
    ):
        for x, y in bench.batches():
            bench.optimizer.zero_grad()
            model(x, y).backward()
            bench.optimizer.step()
            bench.glance()
        bench.loop_ended()
    bench.done(committed=manager.current_step())
    os._exit(0)


def start_lighthouse() -> None:
    binary = Path(sys.executable).with_name("torchft_lighthouse")
    words = [str(binary), "--min_replicas", "1", "--join_timeout_ms", "10000"]
    subprocess.Popen([*words, "--bind", "0.0.0.0:7300"])


if __name__ == "__main__":
    main()
