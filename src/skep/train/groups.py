"""Two levels of reduction: which sites answer a leader by way of which other one. Pure.

With one level the leader of a fragment takes and sends ``n - 1`` payloads. With two, the sites are
cut into about ``sqrt(n)`` groups, and in each of them one, the *gateway*, averages what its group
brings and passes the result on: the leader's link carries some ``2 sqrt(n)`` payloads each way, and
that of a gateway half of it.

Groups are neighbours in order of rank, of all sites that are connected: whoever numbers the sites
knows which are near each other, and one site that comes or goes moves the borders by one. What
links carry would be another order, but a link on which nothing is sent has no measured rate, so
that it would only ever confirm the groups of before.

The gateway of a group is another one for each fragment, and the same in each round: what its
encoding drops can be made good in the next one. Leaders change from fragment to fragment in the
same order, so that they are the gateways of their own group and of no other.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence

ABOVE = 32  # sites, above which there are two levels
SLOW = 0.5  # of the median rate, below which a link is too slow for a gateway


def count_of(sites: int) -> int:
    """Into how many groups so many sites are cut."""
    return max(round(math.sqrt(sites)), 1)


def cut(order: Sequence[str]) -> list[list[str]]:
    """Groups of neighbours whose sizes differ by one at most."""
    count = count_of(len(order))
    edges = [len(order) * index // count for index in range(count + 1)]
    return [list(order[start:stop]) for start, stop in itertools.pairwise(edges)]


def gateways(
    order: Sequence[str], leader: str, sites: Collection[str], turn: int, weak: Collection[str] = ()
) -> dict[str, list[str]]:
    """By gateway, those of ``sites`` that it speaks for besides itself.

    ``order``: all connected sites in order of rank, the leader among them; ``turn``: the number of
    the fragment; ``weak``: sites that should not be gateways, if there are others in their group.
    The leader speaks with its own group itself: each of those is a gateway for nobody else.
    """
    found: dict[str, list[str]] = {}
    for group in cut(order):
        turned = group[turn % len(group) :] + group[: turn % len(group)]
        here = [site for site in turned if site in sites and site != leader]
        if leader in group:
            found.update((site, []) for site in here)
        elif here:
            first = next((site for site in here if site not in weak), here[0])
            found[first] = sorted(set(here) - {first})
    return found


def slow(rates: Mapping[str, float]) -> set[str]:
    """Sites whose link carries much less than is usual, as far as it was measured (bytes/s)."""
    usual = statistics.median(rates.values()) if rates else 0.0
    return {site for site, rate in rates.items() if rate < SLOW * usual}


def payloads(sites: int, above: int = ABOVE) -> int:
    """Of one fragment, how many the leader's link carries each way in a round."""
    if sites <= above:
        return max(sites - 1, 0)
    count = count_of(sites)
    return count - 1 + -(-sites // count) - 1
