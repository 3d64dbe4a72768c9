"""Whether a placement is what its job asked for, as far as that is a limit: asked again at commit.

Answers "" where it is, else why not. No code is shared with the scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from skep.control.world import World
from skep.model.job import Exchange
from skep.model.placement import Share
from skep.model.state import JobState, RunState


def not_as_asked(
    world: World, job: JobState, shares: tuple[Share, ...], gone: Iterable[RunState] = ()
) -> str:
    """One block or site, links, chips at one site: all shares of the job are looked at together.

    ``gone`` are runs that will have ended by then.
    """
    spec = job.spec
    ranks = {share.rank for share in shares}
    ended = {run.run for run in gone}
    others = [r.share for r in job.live() if r.run not in ended and r.share.rank not in ranks]
    several = len(shares) + len(others) > 1
    if spec.within is not None and several:
        return f"{job.id} is to lie within one {spec.within}"
    if spec.within == "block" and len(shares[0].in_blocks) > 1:
        return f"{job.id} is to lie within one block, not in {len(shares[0].in_blocks)}"
    for share in shares:
        if spec.spread is not None and share.chips > spec.spread:
            return f"{job.id} is to have {spec.spread} chips at one site, not {share.chips}"
    if not several:
        return ""
    if not spec.mixed and len({s.chip for s in (*shares, *others)}) > 1:
        return f"{job.id} is to have chips of one kind"
    sites = {s.site for s in (*shares, *others)}
    return _apart(world, sorted(sites), spec.exchange or Exchange()) if len(sites) > 1 else ""


def _apart(world: World, sites: list[str], wish: Exchange) -> str:
    topology = world.topology
    for one, other in combinations(sites, 2):
        a, b = topology.row[one], topology.row[other]
        width = float(topology.bandwidth[a, b])
        if width <= 0.0:
            return f"there is no link between {one} and {other}"
        if width < (wish.bandwidth or 0.0) or topology.rtt[a, b] > (wish.rtt or float("inf")):
            return f"the link between {one} and {other} is not good enough"
    return ""
