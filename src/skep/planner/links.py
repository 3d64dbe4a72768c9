"""The links that sites exchange over: the best ring through them, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from skep.planner.training import Link

Links = Mapping[frozenset[str], Link]
"""Pair of sites -> what joins them. A pair that is missing has no link."""
TRIED = 7
"""Sites up to which every ring is tried; beyond, one is built by its widest next link."""
TREE = 2.0
"""Times as long as in a ring of many sites: along a tree all values go up and come down."""


def joined(sites: Sequence[str], links: Links) -> tuple[Link, float] | None:
    """The slowest link of the best ring through ``sites`` (its rtt: the mean of the ring).

    With it how many times as long as in a ring an exchange takes: 1, or along the widest tree,
    where there is no ring, ``TREE``. ``None`` where some site cannot be reached at all. The order
    of ``sites`` does not matter where every ring is tried.
    """
    if len(sites) < 2:
        return None
    ring = _every(sites, links) if len(sites) <= TRIED else _built(sites, links)
    if ring is not None:
        return ring, 1.0
    tree = _tree(sites, links)
    return None if tree is None else (tree, TREE)


def width(site: str, sites: Sequence[str], links: Links) -> float:
    """bit/s of the second widest link of ``site`` to ``sites``: a ring needs two (one of two)."""
    found = sorted(
        links[pair].bandwidth
        for s in sites
        if (pair := frozenset((site, s))) in links and s != site
    )
    return 0.0 if not found else found[-2] if len(found) > 1 else found[-1]


def _every(sites: Sequence[str], links: Links) -> Link | None:
    best: Link | None = None
    first, *rest = sites
    for order in permutations(rest):
        if order[0] > order[-1]:
            continue  # the same ring the other way round
        found = _around((first, *order), links)
        if found is not None and (best is None or _better(found, best)):
            best = found
    return best


def _built(sites: Sequence[str], links: Links) -> Link | None:
    order = [sites[0]]
    left = set(sites[1:])
    while left:
        near = [s for s in sorted(left) if frozenset((order[-1], s)) in links]
        if not near:
            return None
        order.append(max(near, key=lambda s: links[frozenset((order[-1], s))].bandwidth))
        left.discard(order[-1])
    return _around(order, links)


def _around(order: Sequence[str], links: Links) -> Link | None:
    """The slowest bandwidth and the mean round trip of the ring in this order."""
    pairs = [frozenset(pair) for pair in zip(order, (*order[1:], order[0]), strict=True)]
    if any(pair not in links for pair in pairs):
        return None
    found = [links[pair] for pair in pairs]
    return Link(min(one.bandwidth for one in found), sum(one.rtt for one in found) / len(found))


def _better(one: Link, other: Link) -> bool:
    return (one.bandwidth, -one.rtt) > (other.bandwidth, -other.rtt)


def _tree(sites: Sequence[str], links: Links) -> Link | None:
    """The slowest link of the widest spanning tree (Prim), and the largest round trip in it."""
    inside, left, taken = {sites[0]}, set(sites[1:]), []
    while left:
        edges = [
            (links[pair].bandwidth, site, links[pair])
            for site in sorted(left)
            for other in sorted(inside)
            if (pair := frozenset((site, other))) in links
        ]
        if not edges:
            return None
        _, site, link = max(edges, key=lambda edge: (edge[0], edge[1]))
        taken.append(link)
        inside.add(site)
        left.discard(site)
    return Link(min(one.bandwidth for one in taken), max(one.rtt for one in taken))
