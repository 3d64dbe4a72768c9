"""All pools' nodes: where runs are bound, which nodes are slow, which chips are broken."""

from __future__ import annotations

import numpy as np

from skep.control.topology import Topology
from skep.model.snapshot import Ints
from skep.sim.conditions import Conditions
from skep.sim.nodes import Nodes
from skep.sim.wear import Broken

_NODE = "node"  # and its number in the pool: a node's name


class Machines:
    """``out``: broken chips per pool. Without ``by_node`` nothing is bound and nothing breaks."""

    def __init__(
        self, topology: Topology, conditions: Conditions, seed: int, *, by_node: bool
    ) -> None:
        self.by_node = by_node
        self.out: Ints = np.zeros(len(topology.total), dtype=np.int64)
        self._slow = conditions.stragglers.slow
        self._pools: list[Nodes] = []
        self._block: list[int] = []  # nodes of a block
        self._stragglers: list[frozenset[int]] = []
        if by_node:
            chance = np.random.default_rng([seed, 13])
            table = zip(topology.total, topology.chips_per_node, topology.block_chips, strict=True)
            for chips, size, block in table:
                nodes = int(chips) // int(size)
                self._pools.append(Nodes(nodes, int(size)))
                self._block.append(max(1, int(block) // int(size)))
                part = conditions.stragglers.nodes
                slow = np.flatnonzero(chance.random(nodes) < part) if part else ()
                self._stragglers.append(frozenset(map(int, slow)))

    def bind(self, pool: int, run: str, chips: int, avoid: tuple[str, ...] = ()) -> float:
        """Bind a run; answers how slow its slowest node is, infinity where it has no room.

        Nodes to ``avoid``, by name, are taken only where the others have too few chips.
        """
        if not self.by_node:
            return 1.0
        nodes = self._pools[pool]
        if not nodes.bind(run, chips, [int(name.removeprefix(_NODE)) for name in avoid]):
            return float("inf")
        slow = self._stragglers[pool]
        if slow and any(node in slow for node, _ in nodes.parts[run]):
            return self._slow
        return 1.0

    def release(self, pool: int, run: str) -> None:
        """The run has ended."""
        if self.by_node:
            self._pools[pool].release(run)

    def struck(self, fault: Broken) -> dict[str, tuple[str, ...]]:
        """The runs that a broken chip, node or block ends, each with the names of its nodes hit."""
        nodes = self._pools[fault.place]
        hit: dict[str, tuple[str, ...]] = {}
        for node in self._hit(fault):
            chip = fault.kind == "chip"
            for run in self._holder(nodes, fault.row) if chip else nodes.on(node):
                hit[run] = (*hit.get(run, ()), f"{_NODE}{node}")
        return hit

    def _holder(self, nodes: Nodes, chip: int) -> tuple[str, ...]:
        """Runs of a node hold its first chips, in the order in which they came."""
        node, left = divmod(chip, nodes.size)
        for run, chips in nodes.runs.get(node, {}).items():
            if left < chips:
                return (run,)
            left -= chips
        return ()

    def put_out(self, fault: Broken) -> list[tuple[int, int]]:
        """Take what is broken out of use; answers (node, chips) to put back later."""
        nodes = self._pools[fault.place]
        most = 1 if fault.kind == "chip" else nodes.size
        lost = [(node, nodes.break_chips(node, most)) for node in self._hit(fault)]
        self.out[fault.place] += sum(chips for _, chips in lost)
        return lost

    def mend(self, pool: int, lost: list[tuple[int, int]]) -> None:
        """What was put out is back."""
        for node, chips in lost:
            self._pools[pool].mend(node, chips)
            self.out[pool] -= chips

    def _hit(self, fault: Broken) -> range:
        """The nodes of it that are concerned."""
        nodes, block = self._pools[fault.place], self._block[fault.place]
        if fault.kind == "chip":
            return range(fault.row // nodes.size, fault.row // nodes.size + 1)
        if fault.kind == "node":
            return range(fault.row, fault.row + 1)
        return range(fault.row * block, min((fault.row + 1) * block, nodes.count))

    def broken_up(self) -> float:
        """Part of all free chips that lies in nodes held in part; 0 where none is free."""
        partly = free = 0
        for nodes in self._pools:
            some, every = nodes.broken_up()
            partly, free = partly + some, free + every
        return partly / free if free else 0.0

    @property
    def scattered(self) -> int:
        """Runs whose rest of a node lay on several nodes."""
        return sum(nodes.scattered for nodes in self._pools)
