"""Which nodes of a pool a run is on: what a site's own engine does, in its simplest good form.

skep counts chips per pool; a site's engine binds nodes. Whole nodes first, the rest on the fullest
node that has room for it (best fit); where no one node has, on several.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

Part = tuple[int, int]  # node, chips


@dataclass(slots=True)
class Nodes:
    """The nodes of one pool. ``free`` per node; ``out``: chips of it that are broken."""

    count: int
    size: int  # chips of a node
    free: list[int] = field(init=False)
    out: list[int] = field(init=False)
    runs: dict[int, dict[str, int]] = field(default_factory=dict)  # node -> run -> chips
    parts: dict[str, list[Part]] = field(default_factory=dict)
    scattered: int = 0  # runs whose rest found no one node
    _by_free: list[list[int]] = field(init=False)  # stacks, kept lazily: see ``_pop``

    def __post_init__(self) -> None:
        self.free = [self.size] * self.count
        self.out = [0] * self.count
        self._by_free = [[] for _ in range(self.size + 1)]
        self._by_free[self.size] = list(range(self.count - 1, -1, -1))

    def bind(self, run: str, chips: int, avoid: Collection[int] = ()) -> bool:
        """Give the run its chips; False, and nothing given, where fewer are in order.

        Nodes to ``avoid`` give theirs only where the others have too few.
        """
        hidden = {node: self.free[node] for node in avoid}
        if not hidden or sum(self.free) - sum(hidden.values()) < chips:
            return self._bind(run, chips)
        for node in hidden:
            self.free[node] = 0
        bound = self._bind(run, chips)
        for node, free in hidden.items():
            self._put(node, free)
        return bound

    def _bind(self, run: str, chips: int) -> bool:
        whole, rest = divmod(chips, self.size)
        taken: list[Part] = []
        while whole and (node := self._pop(self.size)) is not None:
            taken.append((node, self._take(node, run, self.size)))
            whole -= 1
        rest += whole * self.size
        if rest and not whole and (node := self._fullest(rest)) is not None:
            taken.append((node, self._take(node, run, rest)))
            rest = 0
        if rest:
            self.scattered += 1
            rest = self._scatter(run, rest, taken)
        self.parts[run] = taken
        if rest:
            self.release(run)
        return not rest

    def release(self, run: str) -> None:
        """Take the run off its nodes."""
        for node, chips in self.parts.pop(run, ()):
            held = self.runs.get(node)
            if held is not None:
                held.pop(run, None)
            self._put(node, self.free[node] + chips)

    def break_chips(self, node: int, chips: int) -> int:
        """Take up to ``chips`` free chips of the node out of use; answers how many."""
        lost = min(chips, self.free[node])
        self.out[node] += lost
        self._put(node, self.free[node] - lost)
        return lost

    def mend(self, node: int, chips: int) -> None:
        """Put chips of the node back into use."""
        self.out[node] -= chips
        self._put(node, self.free[node] + chips)

    def on(self, node: int) -> tuple[str, ...]:
        """Runs with chips of the node."""
        return tuple(self.runs.get(node, ()))

    def broken_up(self) -> tuple[int, int]:
        """(free chips in nodes that are partly held or broken, all free chips)."""
        size = self.size
        partly = sum(free for free in self.free if free < size)
        return partly, sum(self.free)

    def _take(self, node: int, run: str, chips: int) -> int:
        self.runs.setdefault(node, {})[run] = chips
        self._put(node, self.free[node] - chips)
        return chips

    def _put(self, node: int, free: int) -> None:
        self.free[node] = free
        if free:
            self._by_free[free].append(node)

    def _pop(self, free: int) -> int | None:
        """A node with exactly ``free`` free chips; entries that have become wrong are dropped."""
        stack, known = self._by_free[free], self.free
        while stack:
            node = stack.pop()
            if known[node] == free:
                return node
        return None

    def _fullest(self, least: int) -> int | None:
        for free in range(least, self.size + 1):
            if (node := self._pop(free)) is not None:
                return node
        return None

    def _scatter(self, run: str, rest: int, taken: list[Part]) -> int:
        for free in range(self.size, 0, -1):
            while rest and (node := self._pop(free)) is not None:
                chips = self._take(node, run, min(rest, free))
                taken.append((node, chips))
                rest -= chips
        return rest
