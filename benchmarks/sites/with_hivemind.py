"""One site of a measurement of DiLoCo over hivemind's averager, as OpenDiLoCo uses it.

Pseudo-gradients in fp16, averaged every ``interval_steps`` steps, blocking; outer Nesterov 0.7/0.9.
Runs in the peers' own environment.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
import toy


def main() -> None:
    chosen = toy.options()
    bench = toy.Bench(chosen)
    import hivemind
    from hivemind.averaging import DecentralizedAverager
    from hivemind.compression import Float16Compression

    here, meeting = chosen.hosts[chosen.site], Path(chosen.out).parent / "hivemind"
    first = [] if chosen.site == 0 else [waited(meeting)]
    dht = hivemind.DHT(initial_peers=first, host_maddrs=[f"/ip4/{here}/tcp/7400"], start=True)
    if chosen.site == 0:
        meeting.with_suffix(".new").write_text(str(dht.get_visible_maddrs()[0]))
        meeting.with_suffix(".new").rename(meeting)
    parameters = list(bench.model.parameters())
    anchor = [p.detach().clone() for p in parameters]
    outer = torch.optim.SGD(anchor, lr=0.7, momentum=0.9, nesterov=True)
    averager = DecentralizedAverager(
        averaged_tensors=[torch.zeros_like(p) for p in anchor],
        dht=dht,
        start=True,
        prefix="bench",
        target_group_size=chosen.sites,
        min_group_size=chosen.sites,
        compression=Float16Compression(),
        min_matchmaking_time=5.0,
    )
    time.sleep(5.0)
    every, committed = chosen.how.get("interval_steps", 20), 0
    for x, y in bench.batches():
        bench.model(x, y).backward()
        bench.optimizer.step()
        bench.optimizer.zero_grad()
        if (bench.steps + 1) % every == 0:
            committed += averaged(averager, parameters, anchor, outer)
        bench.glance()
    bench.loop_ended()
    bench.done(committed=committed)
    os._exit(0)


def averaged(
    averager: object,
    parameters: list[torch.nn.Parameter],
    anchor: list[torch.Tensor],
    outer: torch.optim.Optimizer,
) -> int:
    """One outer step; 1 where the others took part in it."""
    with torch.no_grad(), averager.get_tensors() as tensors:
        for tensor, own, old in zip(tensors, parameters, anchor, strict=True):
            tensor.copy_(old - own)
    try:
        found = averager.step(timeout=120.0, allow_retries=True)
    except Exception:  # of many kinds: it goes on with its own pseudo-gradient, as OpenDiLoCo does
        found = None
    with torch.no_grad(), averager.get_tensors() as tensors:
        for tensor, old in zip(tensors, anchor, strict=True):
            old.grad = tensor.clone()
    outer.step()
    with torch.no_grad():
        for own, old in zip(parameters, anchor, strict=True):
            own.copy_(old)
    return int(found is not None)


def waited(meeting: Path) -> str:
    """The address of the first site, once it has told it."""
    for _ in range(600):
        if meeting.exists():
            return meeting.read_text()
        time.sleep(0.1)
    raise TimeoutError("the first site told no address")


if __name__ == "__main__":
    main()
