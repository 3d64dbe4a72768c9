"""Scenario files, and what is made of them: pools, workloads, faults."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import jsonschema
import pytest

from skep.errors import InputError
from skep.files.pool import catalogue, check_pool
from skep.files.schema import rendered, schema_text
from skep.files.yaml import parse_mapping
from skep.sim.faults import breaks
from skep.sim.loading import load_scenario, pool_of, twin_of
from skep.sim.pools import generated_pool
from skep.sim.scenario import Arrivals, Failures, Fault, Generated, GivenJob
from skep.sim.schema import scenario_schema, write_schema
from skep.sim.workload import workload

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENARIOS = sorted(EXAMPLES.glob("scenario-*.yaml"))
HEAD = "name: x\nduration: 1h\n"
POOL = "pool: {sites: 2, chips: [{kind: h100-sxm, chips: 64}]}\n"
JOB = "jobs: [{duration: 5m, job: {name: j, run: work, chips: 8}}]\n"


def arrivals(**changes: object) -> Arrivals:
    return Arrivals.model_validate(
        {"name": "g", "per_hour": 60, "chips": {8: 3, 16: 1}, "duration": {"median": 600}} | changes
    )


class TestFile:
    def test_there_are_examples(self) -> None:
        assert [path.stem for path in SCENARIOS] == ["scenario-million", "scenario-small"]

    @pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
    def test_each_example_is_read_and_fits_the_schema(self, path: Path) -> None:
        check_pool(pool_of(load_scenario(path)))
        data = parse_mapping(path.read_text(), str(path))
        jsonschema.Draft202012Validator(scenario_schema()).validate(data)

    def test_the_shipped_schema_is_current(self, tmp_path: Path) -> None:
        jsonschema.Draft202012Validator.check_schema(scenario_schema())
        assert schema_text("scenario") == rendered(scenario_schema()), (
            "run python -m skep.sim.schema"
        )
        assert write_schema(tmp_path).read_text() == schema_text("scenario")

    def test_jobs_take_short_forms(self, tmp_path: Path) -> None:
        path = tmp_path / "s.yaml"
        job = "jobs: [{duration: 1, job: {name: j, run: r, chips: 'h100-sxm:16', span: 2}}]\n"
        path.write_text(HEAD + POOL + job)
        spec = load_scenario(path).jobs[0].job
        assert (spec.chips[0].kind, spec.chips[0].count, spec.span.min) == ("h100-sxm", 16, 2)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (HEAD + POOL, "scenario with jobs or arrivals"),
            (HEAD + POOL + JOB + "colour: red\n", "colour: got 'red'; no such field"),
            (HEAD + JOB, "pool: got nothing"),
            (HEAD + POOL + JOB + "faults: [{at: 1h, kind: fire}]", "faults[0].kind: got 'fire'"),
            (HEAD + POOL + JOB.replace("5m", "soon"), "jobs[0].duration: got 'soon'"),
            (HEAD + POOL + JOB.replace("chips: 8", "chips: 0"), "jobs[0].job.chips"),
            (HEAD + POOL + JOB.replace("chips: 8", "span: 0"), "jobs[0].job.span"),
            ("name: x\nduration: 0\n" + POOL + JOB, "duration: got 0"),
        ],
    )
    def test_a_mistake_is_one_line_that_names_the_field(
        self, text: str, said: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "s.yaml"
        path.write_text(text)
        with pytest.raises(InputError) as raised:
            load_scenario(path)
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("pool", "said"),
        [
            ("{sites: 2, chips: [{kind: h101, chips: 64}]}", "pool.chips[0].kind: got 'h101'"),
            ("{sites: 2, chips: [{kind: h100-sxm, chips: 63}]}", "a multiple of 8"),
            ("{sites: 9, chips: [{kind: h100-sxm, chips: 64}]}", "pool.chips[0].sites: got 9"),
            ("{sites: 4, chips: [{kind: h100-sxm, chips: 64, sites: 3}]}", "pool.sites: got 4"),
        ],
    )
    def test_a_pool_that_cannot_be_made(self, pool: str, said: str, tmp_path: Path) -> None:
        path = tmp_path / "s.yaml"
        path.write_text(HEAD + f"pool: {pool}\n" + JOB)
        with pytest.raises(InputError) as raised:
            pool_of(load_scenario(path))
        assert said in str(raised.value)

    def test_a_fault_at_a_site_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "s.yaml"
        fault = "faults: [{at: 1m, kind: site_lost, site: ulanqap-1}]\n"
        path.write_text(HEAD + POOL + JOB + fault)
        with pytest.raises(InputError, match="did you mean 'ulanqab-1'"):
            twin_of(load_scenario(path))


class TestPool:
    SPEC = Generated.model_validate(
        {
            "sites": 30,
            "chips": [
                {"kind": "h100-sxm", "chips": 10_000},
                {"kind": "ascend-910c", "chips": 800, "sites": 5, "powered": 0.5},
            ],
            "seed": 4,
        }
    )

    def test_it_has_exactly_what_was_asked_for(self) -> None:
        pool = generated_pool(self.SPEC, catalogue(), "x")
        check_pool(pool)
        assert len(pool.sites) == 30
        held = {kind: [] for kind in ("h100-sxm", "ascend-910c")}
        for site in pool.sites:
            for nodes in site.pools:
                held[nodes.chip].append(nodes.chips)
        assert (len(held["h100-sxm"]), sum(held["h100-sxm"])) == (30, 10_000)
        assert (len(held["ascend-910c"]), sum(held["ascend-910c"])) == (5, 800)
        assert len({site.place.country for site in pool.sites if site.place}) > 5

    def test_the_same_seed_gives_the_same_pool(self) -> None:
        made = [generated_pool(self.SPEC, catalogue(), "x") for _ in range(2)]
        other = self.SPEC.model_copy(update={"seed": 5})
        assert made[0] == made[1] != generated_pool(other, catalogue(), "x")

    def test_caps_feed_the_powered_part_and_no_more(self) -> None:
        chips = catalogue()
        for site in generated_pool(self.SPEC, chips, "x").sites:
            assert site.power is not None
            powered = {"h100-sxm": 1.0, "ascend-910c": 0.5}
            full = some = 0.0
            for nodes in site.pools:
                chip = chips[nodes.chip]
                busy = chip.busy_power - chip.idle_power
                full += nodes.chips * chip.busy_power * 1.2
                some += nodes.chips * (chip.idle_power + powered[nodes.chip] * busy) * 1.2
            assert some <= site.power.cap * 0.98
            assert len(site.pools) == 1 or full > site.power.cap


class TestWorkload:
    def test_times_rise_and_ids_differ(self) -> None:
        given = GivenJob.model_validate(
            {"at": 100.0, "duration": 5.0, "job": {"name": "one", "run": "x"}}
        )
        found = list(workload((given, given), (arrivals(), arrivals(name="h")), 1, 7200.0))
        assert all(a.at <= b.at for a, b in pairwise(found))
        assert len({a.id for a in found}) == len(found)
        assert [a.id for a in found if a.spec.name == "one"] == ["one-0000", "one-0001"]

    def test_rate_sizes_and_durations_are_as_asked(self) -> None:
        spread = {"median": 600, "sigma": 0.5, "least": 60, "most": 1200}
        found = list(workload((), (arrivals(per_hour=1000, duration=spread),), 3, 36_000.0))
        assert len(found) == pytest.approx(10_000, rel=0.05)
        sizes = [a.spec.chips[0].count for a in found]
        assert sizes.count(8) / len(sizes) == pytest.approx(0.75, abs=0.03)
        assert min(a.duration for a in found) >= 60
        assert max(a.duration for a in found) == 1200
        assert sorted(a.duration for a in found)[5000] == pytest.approx(600, rel=0.05)

    def test_the_same_seed_gives_the_same_jobs(self) -> None:
        first, again, other = (list(workload((), (arrivals(),), s, 7200.0)) for s in (1, 1, 2))
        assert first == again != other

    def test_jobs_keep_their_other_fields_and_alternatives(self) -> None:
        spec = {"name": "t", "run": "x", "retries": 9}
        found = next(workload((), (arrivals(kinds=("h100-sxm", "h20"), job=spec),), 1, 7200.0))
        assert [r.kind for r in found.spec.chips] == ["h100-sxm", "h20"]
        assert (found.spec.retries, found.spec.name) == (9, "g")


class TestFaults:
    def test_listed_and_random_ones_in_order(self) -> None:
        listed = [
            Fault.model_validate({"at": 500.0, "kind": "control_killed", "for": 5.0}),
            Fault.model_validate({"at": 90.0, "kind": "site_cut", "site": "b"}),
        ]
        random = Failures(every=1000.0, repair=60.0)
        found = list(breaks(listed, [random], ["a", "b", "c"], 1, 20_000.0))
        assert all(a.at <= b.at for a, b in pairwise(found))
        assert len(found) - 2 == pytest.approx(60, abs=25)
        assert [b.site for b in found if b.kind == "control_killed"] == [""]
        assert {b.site for b in found if b.kind == "site_lost"} == {"a", "b", "c"}

    def test_the_same_seed_gives_the_same_faults(self) -> None:
        def made(seed: int) -> list[object]:
            return list(islice(breaks([], [Failures(every=100.0)], ["a", "b"], seed, 1e5), 50))

        assert made(1) == made(1) != made(2)
