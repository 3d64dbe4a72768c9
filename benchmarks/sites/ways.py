"""Ways around links that are cut, for ``virtual``: what the product's mesh has in ``around``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from skep.train.routes import Routes

LOOK_S = 0.5  # between two looks for ways around


class VirtualAround:
    """What ``Exchange`` needs of a mesh's ways around."""

    def __init__(self, world: Any, name: str) -> None:
        self._world, self._name = world, name
        self.routes = Routes(name)
        self.tunnels = SimpleNamespace(passed=0)
        self._looked = 0.0

    def direct(self) -> dict[str, float]:
        return dict.fromkeys(self._world.seen_by(self._name), 0.0)

    def ways(self) -> dict[str, str]:
        ways = self._world.ways.items()
        return {next(iter(p - {self._name})): via for p, via in ways if self._name in p}

    def look(self, now: float) -> None:
        if now - self._looked >= LOOK_S:
            self._looked = now
            around = dict.fromkeys(self.ways(), 0.0)
            for site, way in self.routes.look(now, self.direct(), around).items():
                self._world.go_around(self._name, site, way.via)
