"""Whole scenarios: the examples, run by the product's own control plane and agents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skep.cli.main import main
from skep.model.event import Deferred, Placed, Retried
from skep.sim.faults import breaks
from skep.sim.loading import load_scenario, simulate, twin_of
from skep.sim.report import SimulationReport, summarize
from skep.sim.scenario import Scenario
from skep.sim.twin import Twin
from skep.sim.watch import whole_log
from skep.sim.workload import workload

EXAMPLES = Path(__file__).parents[2] / "examples"
WALL = {"wall", "cycle_wall"}  # differ from run to run


def played(scenario: Scenario) -> tuple[Twin, SimulationReport]:
    """The twin after its run, everything checked; for questions that the report does not answer."""
    twin = twin_of(scenario)
    jobs = workload(scenario.jobs, scenario.arrivals, scenario.seed, scenario.duration)
    names, seed = twin.topology.names, scenario.seed
    faults = breaks(scenario.faults, scenario.failures, names, seed, scenario.duration)
    twin.run(jobs, faults, scenario.duration)
    assert twin.control is not None
    twin.watch.check_all(twin.control, twin.acknowledged, twin.agenda.now)
    return twin, summarize(twin, scenario.name, seed, 1.0)


@pytest.fixture(scope="module")
def small() -> Scenario:
    return load_scenario(EXAMPLES / "scenario-small.yaml")


def test_the_small_one_survives_its_faults(small: Scenario) -> None:
    twin, report = played(small)
    assert report.violations == ()
    assert report.power_violations == 0
    assert report.faults == {
        "site_lost": 1,
        "site_cut": 1,
        "agent_killed": 1,
        "control_killed": 1,
        "run_killed": 1,
    }
    assert (report.failed, report.unended, report.refused) == (1, 0, 0)
    assert report.succeeded == report.submitted - 1
    assert report.runs_lost >= 2
    assert twin.control is not None
    jobs = {job.spec.name: job for job in twin.control.world.jobs.values()}
    assert "command not found" in jobs["typo"].reason
    assert jobs["typo"].attempt == 1
    together = jobs["together"]
    assert {run.share.site for run in together.runs.values()} >= {"ulanqab", "lulea", "sweetwater"}
    assert together.attempt > 1  # a share was lost and placed again
    assert all(not site.engine.runs for site in twin.sites.values())


def test_the_same_seed_gives_the_same_story(small: Scenario) -> None:
    stories = [simulate(small, seed).to_json() for seed in (5, 5, 6)]
    first, again, other = ({k: v for k, v in s.items() if k not in WALL} for s in stories)
    assert first == again
    assert first != other


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(EXAMPLES / "scenario-small.yaml")
    assert main(["simulate", path, "--seed", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["scenario"], told["seed"], told["violations"]) == ("small", 2, [])
    assert main(["simulate", path]) == 0
    text = capsys.readouterr().out
    assert "broken promises   0" in text
    assert "over a power cap  0 times" in text


def test_a_million_chips_at_300_sites() -> None:
    """One job takes all 1,000,000; one takes 131,072; sites are lost; caps bind."""
    scenario = load_scenario(EXAMPLES / "scenario-million.yaml")
    twin, report = played(scenario)
    assert report.violations == ()
    assert (report.sites, report.chips) == (300, 1_040_000)
    assert report.faults["site_lost"] > 1
    assert report.runs_lost > 0
    assert report.submitted > 500
    assert report.refused == report.never_started == 0
    assert report.failed == report.cancelled == 0
    assert report.succeeded > 0.95 * report.submitted  # the others are long and still run

    log = whole_log(twin.store)
    first = {e.job: e for e in reversed(log) if isinstance(e, Placed)}
    everything = first["everything-0000"]
    assert len({grant.share.site for grant in everything.runs}) == 300
    assert sum(grant.share.chips for grant in everything.runs) == 1_000_000
    frontier = first["frontier-0001"]
    assert sum(grant.share.chips for grant in frontier.runs) == 131_072
    assert 4 <= len(frontier.runs) <= 32
    # A site was lost under the job that took everything: its share alone was placed again.
    repaired = [e for e in log if isinstance(e, Placed) and e.job == everything.job and e.repair]
    assert [len(e.runs) for e in repaired] == [1]
    assert any(isinstance(e, Retried) and e.job == everything.job for e in log)
    assert twin.control is not None
    assert twin.control.world.jobs[everything.job].phase == "succeeded"
    # A cap refused chips that were free.
    reasons = {text for e in log if isinstance(e, Deferred) for text in e.refusals}
    assert any("power" in text for text in reasons), sorted(reasons)[:20]
