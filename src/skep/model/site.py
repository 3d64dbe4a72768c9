"""Pools of chips, the sites that hold them, the links between sites, and the file of all that."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from skep.model.base import BitsPerSecond, Name, Seconds, Spec, Watts
from skep.model.chip import Chip
from skep.model.supply import Supply


class NodePool(Spec):
    """The nodes of one chip kind at a site, in equal blocks (domains of the fastest fabric)."""

    chip: Name
    nodes: int = Field(default=1, ge=1)
    chips_per_node: int = Field(default=1, ge=1)
    nodes_per_block: int | None = Field(default=None, ge=1, description="default: all in one block")

    @property
    def chips(self) -> int:
        return self.nodes * self.chips_per_node

    @property
    def block_nodes(self) -> int:
        """Nodes in a full block; the last block may hold fewer."""
        return min(self.nodes_per_block or self.nodes, self.nodes)


class Place(Spec):
    """Where a site stands: for its sun, its jurisdiction and its rules."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    country: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")
    region: str = ""


class Power(Spec):
    """The power limit of a site and what feeds it."""

    cap: Watts = Field(description="the site's draw at the meter never exceeds this")
    pue: float = Field(default=1.0, ge=1.0, description="facility draw / draw of the nodes")
    supply: Supply = Supply()


class Site(Spec):
    """One data centre behind one engine, in one jurisdiction, with one power supply."""

    name: Name
    place: Place | None = None
    engine: Name = "local"
    address: str = Field(default="127.0.0.1", description="where other sites reach its runs")
    inbound: bool = Field(
        default=True, description="false: no site can dial its runs; they dial, or meet at a relay"
    )
    pools: tuple[NodePool, ...] = Field(min_length=1)
    power: Power | None = None

    @property
    def chips(self) -> int:
        return sum(pool.chips for pool in self.pools)


class Link(Spec):
    """A wide-area connection between two sites, the same in both directions."""

    between: tuple[Name, Name]
    bandwidth: BitsPerSecond
    rtt: Seconds = Field(default=0.0, description="round-trip time in seconds")
    loss: float = Field(default=0.0, ge=0, lt=1)


class Lease(Spec):
    """How long a site may be silent. See the decision on leases."""

    duration: Seconds = Field(
        default=60.0, gt=0, description="an agent cut off for so long stops runs"
    )
    grace: Seconds = Field(default=15.0, ge=0, description="after it, a site counts as lost")
    heartbeat: Seconds = Field(default=5.0, gt=0, description="an agent reports at least so often")


class Pool(Spec):
    """The pool file: all sites, their links, and chip kinds that the catalogue does not have."""

    name: Name = "pool"
    sites: tuple[Site, ...] = Field(min_length=1)
    links: tuple[Link, ...] = ()
    chips: tuple[Chip, ...] = ()
    lease: Lease = Lease()
    relay: str = Field(
        default="", description="host:port where runs meet of which neither can be dialled"
    )
    shape_links: bool = Field(
        default=False, description="emulate the links on this machine (embedded pools)"
    )

    def site(self, name: str) -> Site:
        """The site of that name. Raises ``KeyError``."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    def kinds(self) -> tuple[str, ...]:
        """Chip kinds that some site has, in order of first appearance."""
        return tuple(dict.fromkeys(p.chip for s in self.sites for p in s.pools))


def total_chips(sites: Iterable[Site], kind: str | None = None) -> int:
    """Chips in all ``sites``, of one kind or of any."""
    return sum(p.chips for s in sites for p in s.pools if kind in (None, p.chip))
