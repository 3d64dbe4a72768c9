"""Replayed traces: what comes out is what a hand can compute, and what the whole twin says."""

from __future__ import annotations

import dataclasses
from itertools import combinations, pairwise

import numpy as np
import pytest

from skep.control.electricity import Electricity
from skep.control.topology import Topology, topology
from skep.control.view import in_order_by
from skep.errors import InputError
from skep.files.pool import resolve_chips
from skep.model.job import Job
from skep.model.policy import Policy, Queue
from skep.model.site import Lease, Link, NodePool, Pool, Site
from skep.scheduler.estimate import rounded
from skep.sim.conditions import Checkpoints, Conditions, Mishap, Stragglers, Wear
from skep.sim.figures import Figures, estimate, figures, jain
from skep.sim.replay import Replay
from skep.sim.scenario import EngineTimes
from skep.sim.study import study
from skep.sim.trace import Trace, build
from skep.sim.twin import Twin
from skep.sim.wear import breakages
from skep.sim.workload import Arrival
from skep.store.memory import MemoryStore

HOUR = 3600.0


SELDOM = Lease(duration=40_000.0, grace=60.0, heartbeat=10_000.0)


def columns(
    *nodes: int, per_node: int = 4, linked: bool = False, lease: Lease | None = None
) -> Topology:
    sites = tuple(
        Site(
            name=f"s{row}",
            engine="simulated",
            pools=(NodePool(chip="h100-sxm", nodes=count, chips_per_node=per_node),),
        )
        for row, count in enumerate(nodes)
    )
    pairs = pairwise(site.name for site in sites) if linked else ()
    links = tuple(Link(between=pair, bandwidth=1e9) for pair in pairs)
    pool = Pool(name="test", sites=sites, links=links, lease=lease or Lease())
    return topology(pool, resolve_chips(pool))


def jobs(*rows: tuple[float, float, int], **more: object) -> Trace:
    submit, duration, chips = zip(*rows, strict=True)
    return build("t", submit, duration, chips, **more)  # type: ignore[arg-type]


def replayed(
    trace: Trace,
    top: Topology,
    conditions: Conditions | None = None,
    policy: Policy | None = None,
    **more: object,
) -> Replay:
    given = conditions or Conditions()
    broken = breakages(given, top, 0, 1e6)
    found = Replay(top, policy or Policy(), trace, given, broken, **more)  # type: ignore[arg-type]
    found.run()
    return found


def told(replay: Replay) -> Figures:
    return figures(replay, "p", 0, 0.0)


def test_one_waits_for_the_other() -> None:
    found = replayed(jobs((0, 100, 4), (10, 50, 4)), columns(1))
    assert found.record.started.tolist() == [0, 100]
    assert found.record.ended.tolist() == [100, 150]
    figured = told(found)
    assert figured.wait.mean == 45
    assert figured.completion.mean == 120
    assert figured.slowdown.mean == pytest.approx((1 + 140 / 50) / 2)
    assert figured.utilisation == pytest.approx(1.0)
    assert figured.goodput == pytest.approx(1.0)
    assert (figured.succeeded, figured.unended, figured.longest_queue) == (2, 0, 1)


def test_what_no_site_can_hold_is_refused_and_told() -> None:
    found = replayed(jobs((0, 10, 4), (0, 10, 40)), columns(1))
    assert list(found.record.refused) == [1]
    assert "40" in found.record.refused[1]
    assert told(found).refused == 1


def test_times_of_the_engine_and_of_saving_are_added() -> None:
    given = Conditions(setup=5, checkpoint=Checkpoints(every=100, cost=10))
    found = replayed(jobs((0, 1000, 4)), columns(1), given)
    assert found.record.ended[0] == pytest.approx(5 + 1000 * 1.1)
    assert told(found).goodput == pytest.approx(1000 / 1105, rel=1e-3)


def test_a_job_works_as_fast_on_another_kind_as_the_planner_says_for_its_model() -> None:
    pools = tuple(NodePool(chip=kind, chips_per_node=8) for kind in ("h100-sxm", "a100-sxm-80gb"))
    pool = Pool(name="two", sites=(Site(name="both", engine="simulated", pools=pools),))
    top = topology(pool, resolve_chips(pool))
    took = {}
    for model in ("", "llama-3-8b", "deepseek-v3"):
        words = {"kind": ["a100-sxm-80gb|h100-sxm"] * 2, "model": [model] * 2}
        found = replayed(jobs((0, 1000, 8), (0, 1000, 8), words=words), top)
        record, rates = found.record, dict(top.speeds)
        if model:
            rates = dict(found.control.world.rates.of(found.requests.of(0)[0]))
        ratio = rates["h100-sxm"] / rates["a100-sxm-80gb"]
        assert sorted(record.ended) == pytest.approx([1000 / ratio, 1000])
        took[model] = record.ended.min()
    assert took["deepseek-v3"] != pytest.approx(took["llama-3-8b"], rel=0.01)


def test_a_job_over_two_sites_moves_to_faster_chips_as_a_whole() -> None:
    kinds = {"fast": ("h100-sxm", 8), "one": ("a100-sxm-80gb", 4), "two": ("a100-sxm-80gb", 4)}
    sites = tuple(
        Site(name=name, engine="simulated", pools=(NodePool(chip=kind, chips_per_node=chips),))
        for name, (kind, chips) in kinds.items()
    )
    links = tuple(Link(between=pair, bandwidth=1e9) for pair in combinations(kinds, 2))
    pool = Pool(name="three", sites=sites, links=links)
    words = {"kind": ["h100-sxm", "a100-sxm-80gb|h100-sxm"]}
    trace = jobs((0, 600, 8), (10, 20_000, 8), numbers={"sites": [1, 2]}, words=words)
    given = Conditions(checkpoint=Checkpoints(every=300))
    policy = Policy(migration=True)
    found = replayed(trace, topology(pool, resolve_chips(pool)), given, policy)
    assert (found.record.attempts[1], found.record.events["migrated"]) == (2, 1)
    assert found.topology.names[found.record.site[1]] == "fast"
    assert found.record.ended[1] < 15_000


@pytest.mark.parametrize(("saving", "near"), [(Checkpoints(every=10), True), (None, False)])
def test_who_was_stopped_would_go_on_where_its_checkpoint_lies(
    saving: Checkpoints | None, near: bool
) -> None:
    rows = [(0.0, 500.0, 4), (0.0, 900.0, 4), (100.0, 300.0, 4)]
    trace = jobs(*rows, numbers={"priority": [0, 1, 9]})
    found = Replay(columns(1, 1), Policy(preemption=True), trace, Conditions(checkpoint=saving))
    found.run(until=200)
    line = found.control.world.line
    assert line is not None
    (stopped,) = line.row
    assert found.record.started[2] == 100  # chips that a stop frees are given at once
    where = [run.share.site for run in found.control.world.jobs[stopped].runs.values()]
    assert line.shapes[line.job(line.row[stopped]).shape].data == (tuple(where) if near else ())


def test_a_model_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match=r"model: got 'lama-3-8b'; .*did you mean 'llama-3-8b'"):
        replayed(jobs((0, 10, 4), words={"model": ["lama-3-8b"]}), columns(1))


def test_jobs_of_one_name_are_alike_for_estimates() -> None:
    rows = [(100.0 * n, 10.0 if n % 2 else 90.0, 4) for n in range(10)]
    words = {"app": ["short" if n % 2 else "a long/one" for n in range(10)]}
    found = replayed(jobs(*rows, words=words), columns(1))
    expected = found.control.world.history.expected
    names = {found.requests.of(row)[0].name: row for row in range(10)}
    assert set(names) == {"short", "a-long-one"}
    for name, seconds in {"short": 10.0, "a-long-one": 90.0}.items():
        spec = found.requests.of(names[name])[0]
        assert expected(spec, "", 1.0).seconds == pytest.approx(seconds)


def test_what_waits_is_estimated_anew_as_such_jobs_take_another_time() -> None:
    rows = [(0.0, 100.0, 4)] * 40
    trace = jobs(*rows, numbers={"estimate": [1000.0] * 40})

    def lengths(until: float) -> set[float]:
        found = Replay(columns(1), Policy(), trace, Conditions())
        found.run(until=until)
        line = found.control.world.line
        assert line is not None
        return {line.shapes[line.keys[row][0]].length for row in line.row.values()}

    assert lengths(350) == {rounded(1000.0)}
    assert lengths(1050) == {rounded(100.0)}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(), ""),
        (Policy(order="shortest"), "who is done the soonest first"),
        (Policy(order="attained"), "who has had the least first; it has had 0.0 chip-hours"),
        (Policy(patience=60), "it has waited longer than 60 s: before all others"),
    ],
)
def test_why_tells_by_what_a_job_has_its_place(policy: Policy, words: str) -> None:
    found = Replay(columns(1), policy, jobs((0, 900, 4), (10, 500, 4)), Conditions())
    found.run(until=100)
    control = found.control
    assert in_order_by(control.world, policy, control.world.jobs["1"], 100.0) == words


def test_a_broken_node_costs_the_work_since_the_last_checkpoint() -> None:
    fault = Mishap(at=250, kind="node", site="s0", row=0, **{"for": 1000.0})
    given = Conditions(restart=7, checkpoint=Checkpoints(every=100), faults=(fault,))
    found = replayed(jobs((0, 400, 4)), columns(1, 1), given)
    record = found.record
    first = found.topology.names[record.site[0]]
    assert record.attempts[0] == (2 if first == "s1" else 1)
    if first == "s1":  # it began at s0, was struck, and went on elsewhere
        assert record.lost[0] == 50 * 4
        # 200 s were kept; the retry waits a second, starting again takes seven.
        assert record.ended[0] == pytest.approx(250 + 1 + 7 + 200, abs=0.1)


def test_without_checkpoints_all_is_done_again() -> None:
    fault = Mishap(at=50, kind="block", site="s0", row=0, **{"for": 10.0})
    found = replayed(jobs((0, 100, 4)), columns(1), Conditions(faults=(fault,)))
    assert found.record.lost[0] == 50 * 4
    assert found.record.ended[0] >= 160
    assert not found.machines.out.any()


def test_a_lost_share_costs_what_it_did_since_its_last_exchange_and_the_others_go_on() -> None:
    fault = Mishap(at=130, kind="node", site="s0", row=0, **{"for": 1e5})
    given = Conditions(restart=20, exchange=50, faults=(fault,))
    trace = jobs((0, 400, 8), numbers={"sites": [2.0]})
    found = replayed(trace, columns(1, 1, 1, linked=True), given)
    record = found.record
    assert record.attempts[0] == 2
    assert record.lost[0] == pytest.approx(30 * 4)  # 130 s: two exchanges, and 30 s alone
    # Half of the job stood still for 1 + 20 s, and half of 30 s was done again.
    assert record.ended[0] == pytest.approx(400 + (21 + 30) / 2, abs=0.1)


def test_broken_chips_are_not_given_until_they_are_mended() -> None:
    fault = Mishap(at=0, kind="chip", site="s0", row=0, **{"for": 500.0})
    found = replayed(jobs((10, 20, 4), (10, 20, 3)), columns(1), Conditions(faults=(fault,)))
    assert found.record.started.tolist() == [500, 10]


def test_a_slow_node_slows_the_whole_gang() -> None:
    given = Conditions(stragglers=Stragglers(nodes=1.0, slow=1.5))
    assert replayed(jobs((0, 100, 8)), columns(2), given).record.ended[0] == pytest.approx(150)


def test_a_lost_site_is_noticed_when_its_lease_is_over() -> None:
    fault = Mishap(at=100, kind="site", site="s0", **{"for": 10_000.0})
    trace = jobs((0, 1000, 4), (0, 1000, 4))
    found = replayed(trace, columns(1, 1), Conditions(faults=(fault,)))
    assert found.record.attempts.sum() == 3
    lease = found.topology.pool.lease
    # The other site is held until 1,000 s; then the lost job begins again from nothing.
    assert sorted(found.record.ended) == pytest.approx([1000, 2000], abs=0.1)
    assert found.record.events["site_lost"] == 1
    assert lease.duration + lease.grace < 900


def test_a_site_that_is_back_before_its_lease_is_over_tells_what_died() -> None:
    fault = Mishap(at=100, kind="site", site="s0", **{"for": 20.0})
    found = replayed(jobs((0, 300, 4)), columns(1), Conditions(faults=(fault,)))
    assert found.record.events["site_lost"] == 0
    assert found.record.ended[0] == pytest.approx(120 + 1 + 300, abs=0.1)
    assert found.record.lost[0] == 400


@pytest.mark.parametrize(("lost_at", "lost"), [(None, 0.0), (70.0, 25.0), (95.0, 15.0)])
def test_training_with_little_communication_goes_on_over_a_link_that_is_down(
    lost_at: float | None, lost: float
) -> None:
    """It last exchanged at 45 s; 80 s: the link is back."""
    faults = [Mishap(at=50, kind="link", between=("s0", "s1"), **{"for": 30.0})]
    if lost_at is not None:
        faults.append(Mishap(at=lost_at, kind="node", site="s0", row=0, **{"for": 1e5}))
    trace = jobs((0, 100, 8), numbers={"sites": [2]})
    given = Conditions(exchange=45.0 if lost_at != 95.0 else 80.0, faults=tuple(faults))
    found = replayed(trace, columns(1, 1, 1, linked=True), given)
    if lost_at is None:
        assert found.record.ended[0] == 100
    else:  # half of the chips did so much alone, and it is done again
        assert found.record.lost[0] == pytest.approx(lost * 4)


def test_a_job_over_a_link_that_is_down_stands_still() -> None:
    fault = Mishap(at=50, kind="link", between=("s0", "s1"), **{"for": 30.0})
    trace = jobs((0, 100, 8), numbers={"sites": [2]})
    found = replayed(trace, columns(1, 1, linked=True), Conditions(faults=(fault,)))
    assert found.record.ended[0] == pytest.approx(130, abs=0.1)
    assert found.record.events["gang_ready"] == 1


def test_a_period_delays_decisions_and_nothing_else() -> None:
    found = replayed(jobs((0, 100, 4), (10, 50, 4)), columns(1), period=60.0)
    assert found.record.started.tolist() == [0, 120]
    assert found.record.ended.tolist() == [100, 170]


def busy(count: int = 90) -> tuple[Trace, Topology]:
    chance = np.random.default_rng(4)
    submit = np.sort(chance.integers(0, 3000, count)).astype(float) * 10
    duration = chance.integers(10, 900, count) * 10 + 5.0
    chips = chance.choice([1, 2, 4, 8], count)
    return build("busy", submit, duration, chips), columns(4, 3, 2, lease=SELDOM)


def test_the_same_seed_gives_the_same_story() -> None:
    trace, top = busy()
    given = Conditions(failures=(Wear(kind="node", every=20 * HOUR, repair=HOUR),))
    one, two = (replayed(trace, top, given) for _ in range(2))
    assert np.array_equal(one.record.ended, two.record.ended)
    assert dataclasses.replace(told(one), cpu=0.0) == dataclasses.replace(told(two), cpu=0.0)
    assert one.record.faults["node"] > 5


def test_the_replay_and_the_whole_twin_tell_the_same_story() -> None:
    """Agents, reports and orders cost tenths of a second; whom they serve and where is the same."""
    trace, top = busy()
    quick = replayed(trace, top)
    store, start = MemoryStore(), 0.0
    times = EngineTimes(setup=0.0, stop=0.0, checkpoint=None)
    twin = Twin(top, Policy(), store, Electricity(top, start, hours=1, on=False), start, times)
    arrivals = (
        Arrival(float(trace.submit[row]), str(row), spec(quick, row), float(trace.duration[row]))
        for row in range(len(trace))
    )
    twin.run(arrivals, iter(()), 1e6)
    started = np.array([twin.meter.started[str(row)] for row in range(len(trace))])
    assert not twin.watch.violations
    assert np.abs(started - quick.record.started).max() < 5.0
    sites = [
        next(iter(state.runs.values())).share.site
        for row in range(len(trace))
        if (state := store.job(str(row))) is not None
    ]
    assert sites == [top.names[row] for row in quick.record.site]


def spec(replay: Replay, row: int) -> Job:
    return replay.requests.of(row)[0]


def test_two_policies_meet_the_same_jobs_and_the_same_failures() -> None:
    trace, top = busy(60)
    given = Conditions(failures=(Wear(kind="node", every=20 * HOUR, repair=HOUR),))
    policies = [("a", Policy()), ("b", Policy(queues=(Queue(name="default", priority=1),)))]
    found = study(top.pool, trace, policies, given, seeds=(1, 2, 3))
    difference = found.difference(found.outcomes[1], lambda f: f.wait.mean)
    assert (difference.mean, difference.half) == (0.0, 0.0)
    assert found.outcomes[0].estimate(lambda f: f.wait.mean).half > 0


def test_confidence_is_that_of_students_t() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)


def test_jain_is_one_where_all_are_equal_and_falls_where_they_are_not() -> None:
    assert jain([2, 2, 2]) == pytest.approx(1.0)
    assert jain([1, 0, 0]) == pytest.approx(1 / 3)
    assert jain([]) == 1.0
