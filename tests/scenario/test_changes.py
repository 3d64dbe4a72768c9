"""What is taken from running jobs, over hours, through the product's own cycles in the twin."""

from __future__ import annotations

from pathlib import Path

from skep.model.event import Event, Migrated, Placed, Preempted
from skep.sim.faults import breaks
from skep.sim.loading import load_scenario, twin_of
from skep.sim.twin import Twin
from skep.sim.watch import whole_log
from skep.sim.workload import workload

POOL = """
name: two
sites:
  - {name: fast, pools: [{chip: h100-sxm, chips_per_node: 8}]}
  - {name: slow, pools: [{chip: a100-sxm-80gb, nodes: 2, chips_per_node: 8}]}
lease: {duration: 600s, grace: 60s, heartbeat: 20s}
"""
HEAD = """
name: changes
duration: 16h
start: 2026-06-21
pool: pool.yaml
engine: {setup: 3s, stop: 2s, checkpoint: 1m}
"""


def played(folder: Path, text: str) -> tuple[Twin, list[Event]]:
    """The twin after its run, its invariants checked, and the log."""
    path = folder / "scenario.yaml"
    (folder / "pool.yaml").write_text(POOL)
    path.write_text(HEAD + text)
    scenario = load_scenario(path)
    twin = twin_of(scenario)
    jobs = workload(scenario.jobs, scenario.arrivals, scenario.seed, scenario.duration)
    faults = breaks(scenario.faults, scenario.failures, twin.topology.names, 1, scenario.duration)
    twin.run(jobs, faults, scenario.duration)
    assert twin.control is not None
    twin.watch.check_all(twin.control, twin.acknowledged, twin.agenda.now)
    return twin, list(whole_log(twin.store))


def kinds(log: list[Event], job: str) -> list[str]:
    """Chip kinds on which the job was placed, in turn."""
    placed = [e for e in log if isinstance(e, Placed) and e.job.startswith(job)]
    return [e.runs[0].share.chip for e in placed]


def test_a_long_job_moves_to_faster_chips_once_they_are_free(tmp_path: Path) -> None:
    twin, log = played(
        tmp_path,
        """
policy: {migration: true}
jobs:
  - {at: 0s, duration: 20m, job: {name: first, run: work, chips: "h100-sxm:8", duration: 20m}}
  - at: 1m
    duration: 10h
    job: {name: moves, run: work, chips: ["h100-sxm:8", "a100-sxm-80gb:8"], duration: 10h,
          checkpoint_every: 10m}
""",
    )
    (move,) = [e for e in log if isinstance(e, Migrated)]
    assert "h100-sxm is" in move.reason
    assert "times as fast" in move.reason
    assert kinds(log, "moves") == ["a100-sxm-80gb", "h100-sxm"]
    assert twin.control is not None
    assert twin.control.world.jobs[move.job].phase == "succeeded"


def test_an_urgent_job_takes_what_loses_the_least_and_gives_it_back(tmp_path: Path) -> None:
    twin, log = played(
        tmp_path,
        """
policy: {preemption: true}
jobs:
  - {at: 0s, duration: 5h, job: {name: old, run: work, chips: "a100-sxm-80gb:8", duration: 5h}}
  - {at: 2h, duration: 5h, job: {name: new, run: work, chips: "a100-sxm-80gb:8", duration: 5h}}
  - at: 3h
    duration: 30m
    job: {name: urgent, run: work, chips: "a100-sxm-80gb:8", priority: 9, duration: 30m}
""",
    )
    (stopped,) = [e for e in log if isinstance(e, Preempted)]
    assert stopped.job.startswith("new")
    assert twin.control is not None
    assert all(job.phase == "succeeded" for job in twin.control.world.jobs.values())


def test_before_maintenance_a_site_is_empty_and_its_job_goes_on_elsewhere(tmp_path: Path) -> None:
    twin, log = played(
        tmp_path,
        """
policy:
  maintenance: [{site: fast, start: 2026-06-21T03:00:00Z, end: 2026-06-21T05:00:00Z}]
jobs:
  - at: 0s
    duration: 4h
    job: {name: late, run: work, chips: ["h100-sxm:8", "a100-sxm-80gb:8"], duration: 1h}
  - at: 150m
    duration: 8h
    job: {name: long, run: work, chips: ["h100-sxm:8", "a100-sxm-80gb:8"], duration: 8h}
""",
    )
    assert twin.control is not None
    assert all(job.phase == "succeeded" for job in twin.control.world.jobs.values())
    assert kinds(log, "late") == ["h100-sxm", "a100-sxm-80gb"]  # it took longer than it said
    assert kinds(log, "long") == ["a100-sxm-80gb"]  # nothing is placed that would reach into it


def test_who_has_had_less_goes_first_and_the_long_ones_end_too(tmp_path: Path) -> None:
    twin, log = played(
        tmp_path,
        """
policy: {order: attained, preemption: true, levels: [4], patience: 4h}
jobs:
  - at: 0s
    duration: 2h
    job: {name: long, run: work, chips: "h100-sxm:8", duration: 2h, checkpoint_every: 10m}
  - {at: 45m, duration: 20m, job: {name: short, run: work, chips: "h100-sxm:8"}}
  - {at: 50m, duration: 20m, job: {name: next, run: work, chips: "h100-sxm:8"}}
""",
    )
    (stopped,) = [e for e in log if isinstance(e, Preempted)]
    assert stopped.job.startswith("long")
    assert (stopped.cause, "has had less" in stopped.reason) == ("attained", True)
    assert twin.control is not None
    jobs = sorted(twin.control.world.jobs.values(), key=lambda job: job.ended_at or 0.0)
    assert [job.spec.name for job in jobs] == ["short", "next", "long"]
    assert all(job.phase == "succeeded" for job in jobs)


def test_an_elastic_job_starts_anew_with_chips_that_came_free_where_it_is(tmp_path: Path) -> None:
    twin, log = played(
        tmp_path,
        """
jobs:
  - {at: 0s, duration: 30m, job: {name: first, run: work, chips: "h100-sxm:3", duration: 30m}}
  - at: 1m
    duration: 10h
    job: {name: grows, run: work, chips: h100-sxm, elastic: {min: 2, max: 8}, duration: 10h,
          checkpoint_every: 10m}
""",
    )
    (move,) = [e for e in log if isinstance(e, Migrated)]
    assert "starts anew with 8 chips instead of 5 where it is" in move.reason
    placed = [e for e in log if isinstance(e, Placed) and e.job == move.job]
    assert [[g.share.chips for g in e.runs] for e in placed] == [[5], [8]]
    assert twin.control is not None
    assert twin.control.world.jobs[move.job].phase == "succeeded"


def test_an_elastic_job_at_one_site_makes_do_with_fewer_chips_for_one_that_waits(
    tmp_path: Path,
) -> None:
    twin, log = played(
        tmp_path,
        """
jobs:
  - at: 0s
    duration: 6h
    job: {name: elastic, run: work, chips: h100-sxm, elastic: {min: 2, max: 8}, duration: 6h,
          checkpoint_every: 10m}
  - {at: 1h, duration: 2h, job: {name: waits, run: work, chips: "h100-sxm:5", duration: 2h}}
""",
    )
    (stopped,) = [e for e in log if isinstance(e, Preempted)]
    assert (stopped.job.startswith("elastic"), stopped.cause) == (True, "elastic")
    placed = [e for e in log if isinstance(e, Placed)]
    assert [[g.share.chips for g in e.runs] for e in placed] == [[8], [5], [3], [8]]
    assert twin.control is not None
    jobs = twin.control.world.jobs.values()
    assert all(job.phase == "succeeded" for job in jobs)
