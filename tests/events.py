"""A small event simulation of collectives and of a pipeline: messages on links, nothing assumed.

Each link carries one message at a time; a message waits for its link and for what it depends on.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass
class Network:
    """Links with bytes/s. ``send`` returns a message that others may depend on."""

    free: dict[Hashable, float] = field(default_factory=lambda: defaultdict(float))
    messages: list[tuple[Hashable, float, float, tuple[int, ...]]] = field(default_factory=list)

    def send(self, link: Hashable, size: float, speed: float, after: tuple[int, ...] = ()) -> int:
        self.messages.append((link, size, speed, after))
        return len(self.messages) - 1

    def run(self) -> float:
        """s until the last message has arrived."""
        waits = [len(after) for *_, after in self.messages]
        users: dict[int, list[int]] = defaultdict(list)
        for place, (*_, after) in enumerate(self.messages):
            for one in after:
                users[one].append(place)
        ready = [(0.0, place) for place, left in enumerate(waits) if left == 0]
        heapq.heapify(ready)
        arrived = [0.0] * len(self.messages)
        end = 0.0
        while ready:
            now, place = heapq.heappop(ready)
            link, size, speed, _ = self.messages[place]
            start = max(now, self.free[link])
            arrived[place] = self.free[link] = start + size / speed
            end = max(end, arrived[place])
            for user in users[place]:
                waits[user] -= 1
                if not waits[user]:
                    at = max(arrived[one] for one in self.messages[user][3])
                    heapq.heappush(ready, (at, user))
        return end


def ring(size: float, members: int, speed: float, rounds: int) -> float:
    """s of ``rounds`` passes of a ring: 1 reduce-scatter or all-gather, 2 all-reduce."""
    net = Network()
    last: dict[int, int] = {}
    for _ in range(rounds * (members - 1)):
        sent = {
            rank: net.send(rank, size / members, speed, _after(last, (rank - 1) % members))
            for rank in range(members)
        }
        last = sent
    return net.run()


def _after(last: dict[int, int], rank: int) -> tuple[int, ...]:
    return (last[rank],) if rank in last else ()


def gather_over_domains(
    size: float, domains: int, near: int, up: float, out: float, pieces: int = 64
) -> float:
    """s of an all-gather over ``domains`` of ``near`` members: a ring of domains per rail (each
    member its NIC), every arriving piece then told to the others of the domain. Pipelined."""
    net = Network()
    share = size / (domains * near)
    for domain in range(domains):
        for rail in range(near):
            for _ in range(pieces):
                _tell(net, domain, rail, near, share / pieces, up, ())
                got: tuple[int, ...] = ()
                for hop in range(1, domains):
                    to = (domain + hop) % domains
                    nic = ("nic", (to - 1) % domains, rail)
                    got = (net.send(nic, share / pieces, out, got),)
                    _tell(net, to, rail, near, share / pieces, up, got)
    return net.run()


def _tell(
    net: Network, domain: int, rail: int, near: int, size: float, up: float, after: tuple[int, ...]
) -> None:
    """A piece passes along the ring inside the domain."""
    got = after
    for hop in range(near - 1):
        got = (net.send(("up", domain, (rail + hop) % near), size, up, got),)


def exchange(size: float, members: int, speed: float) -> float:
    """s of an all-to-all: each member sends an equal part to every other, one after the other."""
    net = Network()
    for rank in range(members):
        for _ in range(members - 1):
            net.send(rank, size / members, speed)
    return net.run()


def pipeline(stages: int, micro: int, forward: float, backward: float) -> float:
    """s of a one-forward-one-backward schedule, by events on the stages."""
    net = Network()
    sent: dict[tuple[str, int, int], int] = {}
    for stage, order in enumerate(_orders(stages, micro)):
        for kind, index in order:
            sent[(kind, stage, index)] = net.send(stage, 1.0, 1.0)
    for (kind, stage, index), place in sent.items():
        needs = [] if kind == "F" else [sent[("F", stage, index)]]
        before = stage - 1 if kind == "F" else stage + 1
        if (kind, before, index) in sent:
            needs.append(sent[(kind, before, index)])
        order = _orders(stages, micro)[stage]
        turn = order.index((kind, index))
        if turn:
            needs.append(sent[(order[turn - 1][0], stage, order[turn - 1][1])])
        speed = 1.0 / (forward if kind == "F" else backward)
        net.messages[place] = (stage, 1.0, speed, tuple(needs))
    return net.run()


def _orders(stages: int, micro: int) -> list[list[tuple[str, int]]]:
    out = []
    for stage in range(stages):
        warm = min(stages - stage - 1, micro)
        order = [("F", i) for i in range(warm)]
        for i in range(micro - warm):
            order += [("F", warm + i), ("B", i)]
        order += [("B", i) for i in range(micro - warm, micro)]
        out.append(order)
    return out
