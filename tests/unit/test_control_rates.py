"""What a chip is worth to a job: by what the job trains, and in what its queue is charged."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from skep.control.electricity import Electricity
from skep.control.rates import JobRates, usual_rates
from skep.control.service import Control
from skep.control.topology import topology
from skep.data import catalogue
from skep.files.workload import load_model
from skep.model.chip import Chip
from skep.model.job import ChipRequest, Job, Worth
from skep.model.message import Report
from skep.model.policy import Policy, Queue
from skep.model.site import NodePool, Pool, Site
from skep.planner.rates import SUSTAINED
from skep.store.memory import MemoryStore

CHIPS = catalogue.chips()
KINDS = ("h100-sxm", "a100-sxm-80gb")
EIGHT_BITS = load_model("deepseek-v3").workload


def job(**more: Any) -> Job:
    return Job(**{"name": "a", "run": "b", **more})


def ratio(rates: dict[str, float]) -> float:
    return rates["h100-sxm"] / rates["a100-sxm-80gb"]


def test_without_a_model_a_dense_one_in_16_bits_is_meant() -> None:
    usual = usual_rates({kind: CHIPS[kind] for kind in KINDS})
    assert JobRates(CHIPS, KINDS).of(job()) == ()
    assert 2.0 < ratio(usual) < 3.2  # the peaks: 3.17


def test_what_a_job_trains_says_what_chips_are_worth_to_it() -> None:
    rates = JobRates(CHIPS, KINDS)
    dense = dict(rates.of(job(model=load_model("llama-3-70b").workload)))
    eight = dict(rates.of(job(model=EIGHT_BITS)))
    assert set(dense) == set(KINDS)
    assert ratio(eight) > 1.3 * ratio(dense)  # only one of them has fp8


def test_kinds_that_a_job_names_are_known_too() -> None:
    worth = Worth(kind="b200-sxm", count=4)
    asked = job(model=EIGHT_BITS, chips=(ChipRequest(count=4, as_good_as=worth),))
    assert set(dict(JobRates(CHIPS, KINDS).of(asked))) == {*KINDS, "b200-sxm"}


def test_what_little_is_known_of_a_chip_is_enough() -> None:
    chips = {
        "held": Chip(kind="held", peak_flops=9e12, held_to=2e9),
        "bare": Chip(kind="bare", peak_flops=4e12),
        "dark": Chip(kind="dark"),
    }
    assert usual_rates(chips) == {"held": 2e9, "bare": SUSTAINED * 4e12}


def control() -> Control:
    pools = tuple(NodePool(chip=kind, nodes=8, chips_per_node=8) for kind in KINDS)
    place = topology(Pool(sites=(Site(name="oslo", pools=pools),)), CHIPS)
    policy = Policy(queues=(Queue(name="default"), Queue(name="b")), fair_share=True)
    made = Control(place, policy, MemoryStore(), Electricity(place, 0.0, on=False), 0.0)
    made.report("oslo", Report(agent="a", number=1, runs=(), known=-1), {}, 0.0)
    return made


def test_a_queue_is_charged_what_its_chips_are_worth_to_its_jobs() -> None:
    made = control()
    asked = (ChipRequest(kind="a100-sxm-80gb", count=32),)
    made.submit(job(chips=asked), "", "plain", 0.0)
    made.submit(job(chips=asked, queue="b", model=EIGHT_BITS), "", "eight", 0.0)
    made.cycle(0.0)
    held = made.world.held_worth
    assert made.world.held == {"default": 32, "b": 32}
    assert held["default"] == pytest.approx(32 / ratio(usual_rates(CHIPS)))
    assert held["b"] < held["default"] / 1.3
    used = made.world.usage.used(1e9)
    assert used == pytest.approx(dict(held))


def test_as_good_as_counts_by_what_the_job_trains() -> None:
    made = control()
    worth = ChipRequest(count=8, as_good_as=Worth(kind="h100-sxm", count=8), kinds=(KINDS[1],))
    made.submit(job(chips=(worth,)), "", "plain", 0.0)
    made.submit(job(chips=(worth,), model=EIGHT_BITS), "", "eight", 0.0)
    made.cycle(0.0)
    plain, eight = (made.world.jobs[name].live()[0].share.chips for name in ("plain", "eight"))
    usual = usual_rates({kind: CHIPS[kind] for kind in KINDS})
    trained = dict(JobRates(CHIPS, KINDS).of(job(model=EIGHT_BITS)))
    assert plain == math.ceil(8 * ratio(usual))
    assert eight == math.ceil(8 * ratio(trained))
    assert eight > plain


def test_the_share_of_the_peak_taken_where_no_more_is_known_is_the_catalogue_s_middle() -> None:
    known = {kind: chip for kind, chip in CHIPS.items() if chip.peak_flops and chip.memory}
    shares = [usual_rates(known)[kind] / (chip.peak_flops or 1.0) for kind, chip in known.items()]
    assert statistics.median(shares) == pytest.approx(SUSTAINED, abs=0.02)
