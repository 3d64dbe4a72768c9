"""Goodput, gaps, bills, sites: formulas against their limits and published figures."""

from __future__ import annotations

import math

import pytest

from skep.data import catalogue
from skep.errors import InputError
from skep.files.fleet import parse_fleet, parse_fleets
from skep.planner.bill import Prices, bill, draw
from skep.planner.goodput import Failing, best_interval, goodput, share
from skep.planner.sites import Exchange, enough, loss_penalty, round_of
from skep.planner.unknown import fill

CHIPS, SYSTEMS = catalogue.chips(), catalogue.systems()


class TestGoodput:
    def test_mean_time_between_failures_at_scale(self) -> None:
        # Llama 3 had 419 in 54 days on 16,384 chips: one in 3.1 h
        assert Failing().between(16384) / 3600 == pytest.approx(54 * 24 / 419, rel=0.01)

    def test_the_interval_is_the_best(self) -> None:
        of = Failing()
        for chips in (1024, 16384, 100_000):
            between = of.between(chips)
            best = best_interval(of.checkpoint, between)
            near = [share(best * f, of, between) for f in (0.8, 1.25)]
            assert share(best, of, between) >= max(near)

    def test_more_chips_fail_more(self) -> None:
        found = [goodput(2**n).share for n in range(3, 21)]
        assert found == sorted(found, reverse=True)
        assert found[0] > 0.99
        assert found[-1] < 0.1

    def test_islands_fail_alone(self) -> None:
        assert goodput(1_000_000, islands=64).share > 0.85
        assert goodput(1_000_000).share < 0.05

    def test_no_failures_and_no_pause_lose_nothing(self) -> None:
        of = Failing(per_node_day=1e-12, checkpoint=1e-9)
        assert goodput(8, of).share == pytest.approx(1.0, abs=1e-3)

    def test_spares_grow_with_the_chips(self) -> None:
        assert 0 < goodput(1024).spares < goodput(16384).spares < 0.05 * 16384


class TestUnknown:
    def test_a_full_chip_stays_as_it_is(self) -> None:
        chip = CHIPS["h100-sxm"]
        found = fill(chip, CHIPS.values())
        assert found.chip == found.low == found.high == chip
        assert not found.gaps

    def test_gaps_have_a_range_and_are_told(self) -> None:
        found = fill(CHIPS["ascend-950dt"], CHIPS.values())
        assert found.low.busy_power < found.chip.busy_power < found.high.busy_power
        assert any(gap.startswith("power of the system: ") for gap in found.gaps)
        assert found.chip.peak_flops == CHIPS["ascend-950dt"].peak_flops

    def test_a_peak_follows_from_narrower_formats(self) -> None:
        assert fill(CHIPS["ascend-960"], CHIPS.values()).chip.peak_flops == 1e15

    @pytest.mark.parametrize("kind", ["mlu690", "p800"])
    def test_without_memory_nothing_is_said(self, kind: str) -> None:
        with pytest.raises(InputError, match="published"):
            fill(CHIPS[kind], CHIPS.values())


class TestBill:
    def test_draw_between_idle_and_work(self) -> None:
        chip = CHIPS["h100-sxm"]
        assert draw(chip, 0.0) == chip.idle_power
        assert draw(chip, 1.0) == pytest.approx(0.68 * 1275)
        assert draw(CHIPS["ascend-950dt"], 1.0) is None

    def test_energy_cost_and_carbon(self) -> None:
        found = bill(CHIPS["h100-sxm"], 1000, 3600.0, 1.0, Prices(1.2, 0.06, 400.0))
        assert found.power.facility == pytest.approx(1000 * 867 * 1.2)
        assert found.joules == pytest.approx(1000 * 867 * 1.2 * 3600)
        assert found.usd == pytest.approx(1040.4 * 0.06)
        assert found.carbon_kg == pytest.approx(1040.4 * 0.4)
        assert found.hardware == (20e6, 27e6)

    def test_unknown_stays_unknown(self) -> None:
        found = bill(CHIPS["ascend-950dt"], 8, 1.0, 1.0, Prices())
        assert found.joules is found.usd is found.hardware is None
        assert bill(CHIPS["h100-sxm"], 8, 1.0, 1.0, Prices()).usd is None


class TestSites:
    @pytest.mark.parametrize(("exchange", "reported"), [(103, 0.96), (382, 0.856), (469, 0.83)])
    def test_the_utilisation_of_intellect_1(self, exchange: float, reported: float) -> None:
        bandwidth = 2 * 7 / 8 * 10e9 * 8 / exchange  # such that the ring of 8 takes that long
        found = round_of(10e9, 8, 22.8, bandwidth, 0.0, Exchange(100, 8))
        assert found.utilisation == pytest.approx(reported, abs=0.005)

    def test_the_knee_is_where_it_says(self) -> None:
        how = Exchange(50, 4)
        knee = enough(70e9, 4, 20.0, 0.05, how)
        assert round_of(70e9, 4, 20.0, knee, 0.05, how).utilisation == pytest.approx(0.95)
        assert enough(70e9, 1, 20.0, 0.05, how) == 0.0
        assert math.isinf(enough(1e6, 4, 1e-6, 1.0, how))

    def test_the_penalty_meets_its_two_sources(self) -> None:
        for interval, told in ((25, 0.028), (50, 0.047), (100, 0.063), (200, 0.074), (500, 0.094)):
            assert loss_penalty(51e6, 2, interval) == pytest.approx(told, abs=0.005)
        assert loss_penalty(1e9, 2, 100) == pytest.approx(0.004, abs=0.001)
        assert loss_penalty(405e9, 4, 100) < 1e-4
        assert loss_penalty(51e6, 1, 100) == 0.0


class TestFleets:
    def test_forms(self) -> None:
        assert parse_fleet("16,384xh100-sxm", CHIPS, SYSTEMS, "--on").count == 16384
        assert str(parse_fleet("8 x h20", CHIPS, SYSTEMS, "--on")) == "8 x h20"
        system = parse_fleet("cloudmatrix-384", CHIPS, SYSTEMS, "--on")
        assert (system.chip.kind, system.count) == ("ascend-910c", 384)
        assert parse_fleet("4xdgx-h100", CHIPS, SYSTEMS, "--on").count == 32
        two = parse_fleets("256xascend-910c+h20", CHIPS, SYSTEMS, "--with", counted=False)
        assert [f.count for f in two] == [256, None]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("h100-sxm", "COUNTxKIND"),
            ("-8xh100-sxm", "1 to 10,000,000"),
            ("0xh100-sxm", "1 to 10,000,000"),
            ("8xh100-smx", "did you mean 'h100-sxm'?"),
            ("cloudmatrix-348", "did you mean 'cloudmatrix-384'?"),
            ("xai-colossus-2", "not published"),
            ("", "got ''"),
        ],
    )
    def test_bad_fleets(self, text: str, says: str) -> None:
        with pytest.raises(InputError) as told:
            parse_fleet(text, CHIPS, SYSTEMS, "--on")
        assert says in str(told.value)
