"""What failed a job and is avoided for it for a time: nodes where its site named them, else sites.

Avoiding is a wish: where nothing else fits, what failed the job is taken all the same, so that no
job waits for it. Pure: a job's state in, grounds out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skep.model.evolve import replace
from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.state import JobState, RunState
from skep.scheduler.reserve import clock

# Nodes that one run may name, and that a job avoids in one pool: those that failed it last.
MOST_NODES = 16
Where = tuple[str, int]
"""A site and the index of its pool."""


@dataclass(frozen=True, slots=True)
class Ground:
    """``run`` failed at ``site``: on ``node`` of its pool ``pool`` ("": the site is avoided)."""

    run: str
    site: str
    pool: int
    node: str
    until: float

    def __str__(self) -> str:
        what = f"{self.node} at {self.site}" if self.node else self.site
        where = "on it" if self.node else "there"
        return f"{what} until {clock(self.until)}: run {self.run} failed {where}"


def named(nodes: Sequence[str]) -> tuple[str, ...]:
    """The nodes of a report that are kept. More than can be avoided are not the cause: none."""
    return tuple(nodes) if len(nodes) <= MOST_NODES else ()


def grounds(job: JobState, policy: Policy, now: float) -> tuple[Ground, ...]:
    """What the job avoids at ``now``, the latest failure first.

    A site is avoided where its engine names no node, and where the job failed a second time there:
    then the node was not the cause.
    """
    found: dict[tuple[str, int, str], Ground] = {}
    count: dict[Where, int] = {}
    sites: set[str] = set()
    for run in reversed(job.runs.values()):
        if run.phase != "failed" or run.ended_at is None:
            continue
        site, pool = run.share.site, run.share.pool
        nodes = run.nodes if policy.avoid_nodes else ()
        for node in nodes if now - run.ended_at < policy.avoid_nodes else ():
            if (site, pool, node) not in found and count.get((site, pool), 0) < MOST_NODES:
                found[site, pool, node] = _ground(run, node, policy.avoid_nodes)
                count[site, pool] = count.get((site, pool), 0) + 1
        if now - run.ended_at < policy.avoid_sites:
            if not nodes or site in sites:
                found.setdefault((site, -1, ""), _ground(run, "", policy.avoid_sites))
            sites.add(site)
    return tuple(found.values())


def _ground(run: RunState, node: str, seconds: float) -> Ground:
    return Ground(run.run, run.share.site, run.share.pool, node, (run.ended_at or 0.0) + seconds)


def sites_of(failed: Iterable[Ground]) -> frozenset[str]:
    """The sites that are avoided as a whole."""
    return frozenset(ground.site for ground in failed if not ground.node)


def nodes_of(failed: Iterable[Ground]) -> dict[Where, tuple[str, ...]]:
    """Names of the nodes that are avoided, per pool."""
    found: dict[Where, tuple[str, ...]] = {}
    for ground in failed:
        if ground.node:
            where = ground.site, ground.pool
            found[where] = (*found.get(where, ()), ground.node)
    return found


def keeping_off(
    job: JobState, shares: tuple[Share, ...], policy: Policy, now: float
) -> tuple[tuple[Share, ...], str]:
    """The shares with the nodes that their sites are to keep them off, and that in words."""
    failed = grounds(job, policy, now) if job.runs else ()
    if not failed:
        return shares, ""
    nodes, sites, said = nodes_of(failed), sites_of(failed), []
    kept = []
    for share in shares:
        off = nodes.get((share.site, share.pool), ())
        kept.append(replace(share, avoid=off) if off else share)
        if off:
            said.append(f"off {', '.join(off)} at {share.site}, where it failed")
        if share.site in sites:
            said.append(f"{share.site} failed it before")
    return tuple(kept), "".join(f"; {words}" for words in said)
