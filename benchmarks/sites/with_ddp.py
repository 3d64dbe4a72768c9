"""One site of a measurement of torch DDP over gloo; ``fp16`` halves its gradients on the wire."""

from __future__ import annotations

import os

import torch.distributed as dist
import toy
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    chosen = toy.options()
    bench = toy.Bench(chosen)
    os.environ |= {"MASTER_ADDR": chosen.hosts[0], "MASTER_PORT": "7200"}
    os.environ["GLOO_SOCKET_IFNAME"] = "site"
    dist.init_process_group("gloo", rank=chosen.site, world_size=chosen.sites)
    model = DistributedDataParallel(bench.model)
    if chosen.how.get("fp16"):
        model.register_comm_hook(None, fp16_compress_hook)
    dist.barrier()
    for x, y in bench.batches():
        # the exchange is part of backward: the chip's own time is slept before it
        value = model(x, y)
        bench.chip_sleeps(3.0)
        value.backward()
        bench.optimizer.step()
        bench.optimizer.zero_grad()
        bench.glance()
    bench.loop_ended()
    bench.done()
    os._exit(0)


if __name__ == "__main__":
    main()
