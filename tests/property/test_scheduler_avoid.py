"""What failed a job is not taken while another way exists; and no job waits because of it."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given, settings

from skep.model.policy import Policy
from skep.model.snapshot import Ints, Snapshot
from skep.scheduler import schedule
from tests.builders import SiteRow, world
from tests.worlds import NOW, fresh_jobs, links, repair, sites

NAMES = ("ash", "elm", "oak")


@st.composite
def avoiding(draw: st.DrawFn) -> Snapshot:
    """One job of one kind of chips that avoids some nodes, and perhaps a site."""
    names = NAMES[: draw(st.integers(1, 3))]
    rows: list[SiteRow] = [draw(sites(name)) for name in names]
    if draw(st.integers(0, 4)) == 0:
        job = repair(draw(st.integers(1, 6)), ["yew"])
    else:
        job = draw(fresh_jobs())
        assume(len(job.shape.chips) == 1 and job.shape.chips[0].kind is not None)
        assume(job.shape.within != "block")  # in which block a node lies is not known
    snapshot = world(*rows, jobs=[job], links=draw(links(names)))
    pools = snapshot.pools
    some = st.sets(st.integers(0, len(pools.kind) - 1), max_size=3)
    off = tuple(
        (row, int(pools.chips_per_node[row]) * draw(st.integers(1, 3))) for row in draw(some)
    )
    avoid = draw(st.frozensets(st.sampled_from(names), max_size=1))
    return replace(snapshot, waiting=(replace(snapshot.waiting[0], off=off, avoid=avoid),))


def with_free(snapshot: Snapshot, free: Ints) -> Snapshot:
    """The same world for a job that avoids nothing, with so much free."""
    blocks = replace(snapshot.pools, free=free, first_block=None, block_free=None)
    job = replace(snapshot.waiting[0], off=(), avoid=frozenset())
    return replace(snapshot, pools=blocks, waiting=(job,))


def left(snapshot: Snapshot) -> Ints:
    """Free chips per pool that lie on no node that the job avoids, whatever holds it now."""
    free = snapshot.pools.free.copy()
    for row, chips in snapshot.waiting[0].off:
        free[row] = max(0, free[row] - chips)
    return free


def taken(snapshot: Snapshot) -> Ints | None:
    """Chips per pool that the job gets; None where it waits."""
    plan = schedule(snapshot, Policy(), NOW)
    if not plan.placements:
        return None
    (placement,) = plan.placements
    names, pools = snapshot.sites.names, snapshot.pools
    rows = {
        (names[site], index): row
        for row, (site, index) in enumerate(
            zip(pools.site.tolist(), pools.index.tolist(), strict=True)
        )
    }
    chips = np.zeros(len(pools.kind), dtype=np.int64)
    for share in placement.shares:
        chips[rows[share.site, share.pool]] += share.chips
    return chips


@settings(max_examples=300, deadline=None)
@given(avoiding())
def test_no_job_waits_because_of_what_it_avoids(snapshot: Snapshot) -> None:
    free = snapshot.pools.free
    assert (taken(snapshot) is None) == (taken(with_free(snapshot, free)) is None)


@settings(max_examples=300, deadline=None)
@given(avoiding())
def test_avoided_nodes_give_nothing_while_another_way_exists(snapshot: Snapshot) -> None:
    free = left(snapshot)
    if taken(with_free(snapshot, free)) is not None:
        chips = taken(snapshot)
        assert chips is not None
        assert (chips <= free).all()


@settings(max_examples=300, deadline=None)
@given(avoiding())
def test_avoided_sites_give_nothing_while_others_have_chips_off_such_nodes(
    snapshot: Snapshot,
) -> None:
    free, names = left(snapshot), snapshot.sites.names
    avoid = np.array([name in snapshot.waiting[0].avoid for name in names], dtype=bool)
    elsewhere = np.where(avoid[snapshot.pools.site], 0, free)
    if taken(with_free(snapshot, elsewhere)) is not None:
        chips = taken(snapshot)
        assert chips is not None
        assert (chips <= elsewhere).all()
