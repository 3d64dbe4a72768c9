"""Plans from a made-up performance model (a fake, for its arithmetic): sites, failures, matches."""

from __future__ import annotations

import math

import pytest

from skep.data import catalogue
from skep.errors import InputError
from skep.files.workload import load_model
from skep.model.chip import Chip
from skep.model.measured import Measured
from skep.model.workload import Workload
from skep.planner.answer import Estimate, Ranking
from skep.planner.bill import Prices
from skep.planner.calibrate import Run, calibrate
from skep.planner.chip import ChipFacts, Efficiency
from skep.planner.layout import Layout
from skep.planner.learning import Correction, learnt
from skep.planner.match import band, least, ratio, side, smooth
from skep.planner.sites import Exchange
from skep.planner.sweep import sweep
from skep.planner.training import Conditions, Link, Tools, busy_share, learning, together, train
from skep.planner.unknown import fill
from skep.planner.words import amount, digits, layout_words, span, time_span, time_words

CHIPS, SYSTEMS = catalogue.chips(), catalogue.systems()
WORK = load_model("llama-3-8b").workload
H100, A950 = CHIPS["h100-sxm"], CHIPS["ascend-950dt"]


def facts(chip: Chip) -> ChipFacts:
    assert chip.memory
    assert chip.nic
    return ChipFacts(
        kind=chip.kind,
        peaks={"bf16": chip.peak_flops or 0.0},
        memory=chip.memory,
        memory_bandwidth=chip.memory_bandwidth or 0.0,
        scale_up=chip.scale_up_bandwidth or 0.0,
        domain=chip.scale_up_size or 1,
        scale_out=chip.nic / 8,
        efficiency=Efficiency(gemm=0.5, step=0.0),
    )


def estimate(work: Workload, on: ChipFacts, at: Layout) -> Estimate:
    """Fake: products at their share of the peak, gradients over the NIC, a constant."""
    e = on.efficiency
    flops = work.tokens_per_step * work.flops_per_token() / at.chips
    parts = {
        "products": flops / (on.peaks["bf16"] * e.gemm),
        "gradients": 4.0 * work.parameters / (on.scale_out * e.scale_out),
        "overhead": e.step,
    }
    step = sum(parts.values())
    memory = {"weights": 16.0 * work.parameters / at.chips}
    total = sum(memory.values())
    return Estimate(
        layout=at, chip=on.kind, chips=at.chips, status="calibrated", step=step, low=0.9 * step,
        high=1.2 * step, parts=parts, memory=memory, memory_total=total, memory_limit=on.memory,
        tokens_per_s=work.tokens_per_step / step, mfu=flops / step / on.peaks["bf16"], energy=0.0,
    )  # fmt: skip


def search(work: Workload, on: ChipFacts, chips: int) -> Ranking:
    found = estimate(work, on, Layout(dp=chips))
    if not found.fits:
        raise InputError("--on", f"{chips}x{on.kind}", "too small")
    return Ranking(found, (), 1, 1)


TOOLS = Tools(facts, search, search, estimate)


def plan(chip: Chip = H100, chips: int = 512, **more: object):  # type: ignore[no-untyped-def]
    return train(WORK, chip, chips, CHIPS.values(), Conditions(**more), TOOLS)  # type: ignore[arg-type]


class TestTraining:
    def test_the_whole_training_has_its_failures(self) -> None:
        found = plan()
        assert found.seconds == pytest.approx(15e12 / found.real_rate)
        assert found.real_rate < found.rate
        assert found.speed_range[0] < found.rate < found.speed_range[1]

    def test_energy_is_at_least_the_work(self) -> None:
        found = plan(prices=Prices(1.0, 0.05, 300.0))
        least_joules = 15e12 * WORK.flops_per_token() / 989e12 * 0.68 * 1275 * 0.5
        assert found.bill.joules is not None
        assert found.bill.joules > least_joules
        assert found.bill.usd == pytest.approx(found.bill.joules / 3.6e6 * 0.05)

    def test_sites_share_the_batch_and_wait_for_the_link(self) -> None:
        def over(rate: float):  # type: ignore[no-untyped-def]
            return plan(sites=4, link=Link(rate), exchange=Exchange(20, 8.0))

        slow, fast = over(1e8), over(1e12)
        assert slow.best.layout.chips == 128
        assert slow.rate < fast.rate
        assert fast.round is not None
        assert fast.round.utilisation > 0.9
        assert fast.goodput.share > plan().goodput.share

    @pytest.mark.parametrize(("chips", "sites"), [(510, 4), (513, 3)])
    def test_what_sites_cannot_share(self, chips: int, sites: int) -> None:
        with pytest.raises(InputError, match="sites can share alike"):
            plan(chips=chips, sites=sites, link=Link(1e9))

    def test_gaps_widen_the_band(self) -> None:
        known, guessed = plan(), plan(A950)
        assert guessed.filled.gaps
        assert guessed.high / guessed.step > known.high / known.step
        assert guessed.low / guessed.step < known.low / known.step

    def test_a_correction_moves_the_step(self) -> None:
        found = train(
            WORK, H100, 512, CHIPS.values(), Conditions(), TOOLS, lambda _, __: Correction(2.0, 1)
        )
        assert found.step == pytest.approx(2 * plan().step)
        assert found.mfu == pytest.approx(plan().mfu / 2)

    def test_runs_of_this_model_and_of_others_teach(self) -> None:
        plain = plan(chips=64)

        def taught(name: str, flops: float) -> float:
            run = Measured(
                job="j", name=name, run=name, site="s", chip="h100-sxm", chips=64, steps=99,
                step=1.5 * plain.step * flops, tokens=float(WORK.tokens_per_step),
                flops=flops * WORK.flops_per_token() * WORK.tokens_per_step / 64,
            )  # fmt: skip
            correct = learning([run], WORK, TOOLS, learnt)
            found = train(WORK, H100, 64, CHIPS.values(), Conditions(), TOOLS, correct)
            return found.step / plain.step

        assert taught(WORK.name, 1.0) == pytest.approx(1.5 ** (7 / 8))
        assert taught("another", 3.0) == pytest.approx(1.5 ** (1 / 2))

    def test_sums(self) -> None:
        assert busy_share({"products": 3.0, "bubble": 1.0}) == 0.75
        assert together(1.2, 1.0) == pytest.approx(1.2)
        assert together(0.8, 0.8) == pytest.approx(math.exp(-math.sqrt(2) * math.log(1.25)))


class TestMatch:
    def test_the_least_number(self) -> None:
        assert least(lambda n: n * 1.0, 1000.0, 8) == 1000
        assert least(lambda n: 0.0 if n < 64 else n, 10.0, 8) == 64
        assert least(lambda _: 1.0, 2.0, 8, most=1024) is None
        assert smooth(12) == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
        for near in (1, 90, 5000, 1e9):
            assert least(lambda n: n * 1.0, 1000.0, 8, near=near) == 1000

    def test_sides_and_bands(self) -> None:
        strong, weak = (fill(c, CHIPS.values()) for c in (H100, CHIPS["ascend-910c"]))
        target = side(strong, 8, (10.0, 9.0, 12.0), "calibrated", "", Prices(), SYSTEMS)
        other = side(weak, 768, (10.0, 5.0, 15.0), "few rows", "", Prices(), SYSTEMS)
        assert not other.gaps  # whole systems have a price
        assert other.cabinets == 32
        assert other.price == pytest.approx((16.4e6, 16.4e6))
        fewer, more = band(target, [other])
        assert fewer < 1 < more
        assert more > 1.5
        assert ratio(None, 1.0) is ratio(1.0, 0.0) is None

    def test_the_sweep_goes_to_a_million(self) -> None:
        points = sweep(WORK, H100, plan().best, 1.0, Conditions(), TOOLS)
        assert points[-1].chips == 1_000_000
        assert [p.whole for p in points] == sorted(p.whole for p in points)
        assert points[-1].one_job < points[-1].many_sites < points[-1].whole
        assert points[-1].facility > points[0].facility  # type: ignore[operator]


class TestCalibration:
    def runs(self, factor: float, count: int) -> list[Run]:
        fast = facts(H100)
        true = ChipFacts(
            **{f: getattr(fast, f) for f in fast.__slots__ if f != "efficiency"},
            efficiency=Efficiency(gemm=0.5 * factor, step=0.0),
        )
        sizes = [WORK.model_copy(update={"global_batch": 256 * (n + 1)}) for n in range(count)]
        return [Run(w, Layout(dp=64), estimate(w, true, Layout(dp=64)).step) for w in sizes]

    def test_it_finds_the_factor(self) -> None:
        found = calibrate(self.runs(1.4, 8), facts(H100), estimate)
        assert found.factors["products"] == pytest.approx(1.4, rel=0.05)
        before, after = (max(abs(r - 1) for r in some) for some in (found.before, found.after))
        assert after < 0.02 < before
        assert max(abs(r - 1) for r in found.left_out) < 0.03

    def test_good_constants_stay(self) -> None:
        found = calibrate(self.runs(1.0, 3), facts(H100), estimate)
        assert found.factors["products"] == pytest.approx(1.0, abs=1e-3)


class TestWords:
    def test_digits(self) -> None:
        assert [digits(v) for v in (0, 0.01234, 1.23, 12.34, 1234.5, 1.2e6)] == [
            "0", "0.0123", "1.23", "12.3", "1,230", "1,200,000",
        ]  # fmt: skip

    def test_amounts(self) -> None:
        assert amount(1.36e6, "tokens/s") == "1.36 M tokens/s"
        assert amount(17.44e6, "W") == "17.4 MW"
        assert amount(0.5, "J") == "0.5 J"
        assert amount(999_900, "W") == "1 MW"
        assert span(2.2e6, 3.1e6, "USD") == "2.2 to 3.1 M USD"
        assert span(0.2e6, 3.1e6, "USD") == "200 k USD to 3.1 M USD"

    def test_times(self) -> None:
        assert [time_words(s) for s in (0.0123, 4.2, 300, 9000, 864000)] == [
            "12.3 ms", "4.2 s", "5 min", "2.5 h", "10 days",
        ]  # fmt: skip

    def test_ranges_of_time(self) -> None:
        assert time_span(155_000, 228_000) == "1.79 to 2.64 days"
        assert time_span(0.005, 0.0071) == "5 to 7.1 ms"

    def test_layouts(self) -> None:
        text = layout_words(Layout(tp=8, pp=4, dp=2, virtual=3, recompute="full", zero=3))
        assert text == "tp 8, pp 4 x 3 virtual, dp 2, micro-batch 1, ZeRO-3, all layers recomputed"
