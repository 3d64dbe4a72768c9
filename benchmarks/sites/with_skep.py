"""One site of a measurement of skep.train."""

from __future__ import annotations

import os
import time

import toy

import skep.train


def main() -> None:
    chosen = toy.options()
    bench = toy.Bench(chosen)
    names = [f"s{index}" for index in range(chosen.sites)]
    peers = {n: f"{h}:7100" for n, h in zip(names, chosen.hosts, strict=True)}
    here = f"{chosen.hosts[chosen.site]}:7100"
    events: list[str] = []
    ended: list[float] = []  # when each step was over
    os.environ["SKEP_PROGRESS_FILE"] = chosen.how.pop("progress", "")
    blocked = began = longest = 0.0
    began = time.monotonic()
    with skep.train.join(
        bench.model,
        bench.optimizer,
        site=names[chosen.site],
        listen=here,
        peers=peers,
        token="of the benchmark",
        start_wait=120.0,
        on_event=lambda text: events.append(f"{time.monotonic() - began:.1f} {text}"),
        **chosen.how,
    ) as run:
        for x, y in run.data(bench.batches()):
            bench.model(x, y).backward()
            bench.optimizer.step()
            took = time.monotonic() - bench.chip_done
            ended.append(round(time.time(), 3))
            blocked, longest = blocked + took, max(longest, took)
            bench.optimizer.zero_grad()
            bench.glance()
        bench.loop_ended()
        run.finish()
        bench.done(
            blocked_s=blocked,
            longest_blocked_s=longest,
            round=run.round,
            digest=run.digest,
            global_tokens=run.global_tokens,
            participation=run.stats.get("participation"),
            gain=run.stats.get("gain"),
            events=events,
            ended=ended,
        )
    os._exit(0)


if __name__ == "__main__":
    main()
