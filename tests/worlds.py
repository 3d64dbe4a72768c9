"""Hypothesis strategies: small worlds of sites and waiting jobs, and policies for them."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from itertools import combinations

from hypothesis import strategies as st

from skep.model.job import ChipRequest, Exchange, Worth
from skep.model.policy import Policy, Queue, Quota, Rule
from skep.model.snapshot import Snapshot
from tests.builders import JobRow, PoolRow, SiteRow, job, repair, world

NAMES = ("ash", "birch", "cedar", "elm", "fir")
KINDS = ("cpu-core", "h100-sxm")
NOW = 1_000_000.0
DAY = datetime.datetime.fromtimestamp(NOW, tz=datetime.UTC).date()


@st.composite
def pools(draw: st.DrawFn, *, nodes: tuple[int, ...] = (1, 2, 4)) -> PoolRow:
    node = draw(st.sampled_from(nodes))
    chips = node * draw(st.integers(1, 6))
    return PoolRow(
        chips=chips,
        kind=draw(st.sampled_from(KINDS)),
        free=draw(st.integers(0, chips) | st.just(chips)),
        node=node,
        block=node * 2,
        watts=draw(st.sampled_from([0.0, 8.0, 33.3])),
        speed=draw(st.sampled_from([0.0, 1.0, 2.5])),
    )


@st.composite
def sites(draw: st.DrawFn, name: str, *, nodes: tuple[int, ...] = (1, 2, 4)) -> SiteRow:
    bare = SiteRow(
        name=name,
        pools=tuple(draw(st.lists(pools(nodes=nodes), min_size=1, max_size=2))),
        country=draw(st.sampled_from(["SE", "CN", ""])),
        up=draw(st.sampled_from([True, True, True, False])),
        drained=draw(st.sampled_from([False, False, False, True])),
        idle=draw(st.sampled_from([0.0, 5.5])),
        pue=draw(st.sampled_from([1.0, 1.2, 1.37])),
        clean=draw(st.sampled_from([0.0, 0.3, 0.9])),
    )
    spare = draw(st.none() | st.floats(0, 300))
    return bare if spare is None else replace(bare, cap=bare.drawn + spare)


def requests(most: int = 12) -> st.SearchStrategy[ChipRequest]:
    return st.builds(ChipRequest, kind=st.sampled_from([*KINDS, None]), count=st.integers(1, most))


@st.composite
def as_good(draw: st.DrawFn) -> ChipRequest:
    worth = Worth(kind=draw(st.sampled_from(KINDS)), count=draw(st.integers(1, 8)))
    kinds = draw(st.sampled_from([(), ("cpu-core",), KINDS]))
    return ChipRequest(count=worth.count, as_good_as=worth, kinds=kinds)


@st.composite
def wishes(draw: st.DrawFn) -> dict[str, object]:
    """What a shape may ask for beside chips and sites: mostly nothing."""
    if draw(st.integers(0, 2)):
        return {}
    bandwidth = draw(st.sampled_from([None, 1e6, 1e12]))
    rtt = draw(st.sampled_from([None, 1.0]))
    return {
        "mixed": draw(st.booleans()),
        "within": draw(st.sampled_from([None, None, "site", "block"])),
        "exchange": draw(st.sampled_from([None, Exchange(bandwidth=bandwidth, rtt=rtt)])),
        "spread": draw(st.none() | st.integers(1, 6)),
        "data": draw(st.sampled_from([(), ("elm",), ("oak", "ash")])),
        "rates": draw(st.sampled_from([(), (("cpu-core", 1.0), ("h100-sxm", 3.0))])),
    }


@st.composite
def jobs(draw: st.DrawFn) -> JobRow:
    waiting = {
        "priority": draw(st.integers(-1, 1)),
        "submitted_at": draw(st.sampled_from([1.0, NOW - 3, NOW - 2, NOW - 1])),
        "not_before": draw(st.sampled_from([0.0, 0.0, 0.0, NOW + 5])),
        "user": draw(st.sampled_from(["ada", "bob"])),
        "avoid": draw(st.frozensets(st.sampled_from(NAMES), max_size=1)),
        "off": draw(st.sampled_from([(), (), ((0, 2),)])),
        "queue": draw(st.sampled_from(["default", "default", "batch", "lab", "nowhere"])),
        "latest_start": draw(st.sampled_from([math.inf, math.inf, NOW + 7])),
    }
    if draw(st.integers(0, 5)) == 0:
        others = draw(st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=2))
        kind = draw(st.sampled_from(KINDS))
        return repair(draw(st.integers(1, 6)), others, kind=kind, **waiting)
    return draw(fresh_jobs(**waiting))


@st.composite
def fresh_jobs(draw: st.DrawFn, **waiting: object) -> JobRow:
    more = draw(wishes())
    low = 1 if more.get("within") else draw(st.integers(1, 3))
    least = draw(st.integers(1, 12))
    rigid = bool(more) and draw(st.booleans())
    asked = draw(st.lists(requests() | as_good() if rigid else requests(), min_size=1, max_size=2))
    return job(
        asked,
        span=(low, low + draw(st.integers(0, 2))),
        elastic=None
        if rigid
        else draw(st.none() | st.just((least, least + draw(st.integers(0, 8))))),
        shape=more,
        per=draw(st.sampled_from(["chip", "chip", "node", "site"])),
        **waiting,
    )


@st.composite
def links(draw: st.DrawFn, names: tuple[str, ...]) -> list[tuple[str, str]] | None:
    if draw(st.booleans()):
        return None
    return [pair for pair in combinations(names, 2) if draw(st.integers(0, 3))]


@st.composite
def worlds(
    draw: st.DrawFn, *, most_jobs: int = 6, nodes: tuple[int, ...] = (1, 2, 4), most_sites: int = 5
) -> Snapshot:
    names = NAMES[: draw(st.integers(1, most_sites))]
    rows = [draw(sites(name, nodes=nodes)) for name in draw(st.permutations(names))]
    return world(
        *rows,
        jobs=draw(st.lists(jobs(), max_size=most_jobs)),
        links=draw(links(names)),
        held={"batch": draw(st.integers(0, 4))},
    )


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    return Rule(
        id=name,
        effect=draw(st.sampled_from(["allow", "refuse", "license"])),
        queues=draw(st.sampled_from([(), ("batch",)])),
        chips=draw(st.sampled_from([(), ("h100-sxm",)])),
        sites=draw(st.sampled_from([(), ("ash", "elm")])),
        countries=draw(st.sampled_from([(), ("CN",), ("SE",)])),
        since=draw(st.sampled_from([None, DAY, DAY + datetime.timedelta(days=9)])),
        until=draw(st.sampled_from([None, DAY, DAY - datetime.timedelta(days=9)])),
        reason="as the test says",
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    count = draw(st.sampled_from([0, 0, 1, 2]))
    soft = draw(st.none() | st.integers(0, 9))
    return Policy(
        queues=(
            Queue(name="default", weight=draw(st.sampled_from([1.0, 3.0])), soft_chips=soft),
            Queue(
                name="batch",
                max_chips=draw(st.integers(0, 12)),
                users=draw(st.sampled_from([(), ("ada",)])),
                parent=draw(st.sampled_from([None, "lab"])),
                priority=draw(st.sampled_from([0, 0, 1])),
            ),
            Queue(
                name="lab",
                max_chips=draw(st.sampled_from([None, 9])),
                quotas=tuple(draw(st.lists(quotas(), max_size=2))),
            ),
        ),
        rules=tuple(draw(rules(f"r{number}")) for number in range(count)),
        power_margin=draw(st.sampled_from([0.0, 0.02, 0.1])),
        fair_share=draw(st.booleans()),
        patience=draw(st.sampled_from([2.0, 86400.0, 1e9])),
    )


def quotas() -> st.SearchStrategy[Quota]:
    return st.builds(
        Quota,
        chip=st.sampled_from([None, *KINDS]),
        site=st.sampled_from([None, "ash", "elm"]),
        max=st.integers(0, 8),
        soft=st.booleans(),
    )
