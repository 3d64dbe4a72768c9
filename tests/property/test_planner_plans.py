"""What must hold of plans whatever the numbers: rounds, goodput, bills, matches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skep.data import catalogue
from skep.planner.bill import Prices, bill, draw
from skep.planner.goodput import Failing, best_interval, goodput, share
from skep.planner.match import MOST, least, smooth
from skep.planner.sites import Exchange, enough, round_of
from skep.planner.training import together

CHIPS = [c for c in catalogue.chips().values() if c.busy_power]
sizes = st.floats(1e6, 2e12)
sites = st.integers(2, 300)
steps = st.floats(0.01, 600)
rates = st.floats(1e6, 1e13)
trips = st.floats(0, 0.5)
ways = st.builds(Exchange, st.integers(1, 1000), st.floats(0.5, 32), st.sampled_from([0.0, 1.0]))


@given(sizes, sites, steps, rates, trips, ways, st.floats(1, 100))
def test_a_faster_link_never_costs_time(size, n, step, rate, rtt, how, times) -> None:  # type: ignore[no-untyped-def]
    slow, fast = (round_of(size, n, step, r, rtt, how) for r in (rate, rate * times))
    assert 0 < slow.utilisation <= fast.utilisation <= 1
    assert fast.exchange <= slow.exchange


@given(sizes, sites, steps, trips, ways)
def test_the_knee_is_enough(size, n, step, rtt, how) -> None:  # type: ignore[no-untyped-def]
    knee = enough(size, n, step, rtt, how)
    if 1.0 < knee < 1e18:
        assert round_of(size, n, step, knee * 1.001, rtt, how).utilisation >= 0.9499


@given(st.integers(1, 2_000_000), st.floats(1.0, 10.0), st.integers(1, 300))
def test_more_chips_never_fail_less(chips, times, islands) -> None:  # type: ignore[no-untyped-def]
    few, many = goodput(chips), goodput(int(chips * times) + 1)
    assert 0 <= many.share <= few.share <= 1
    assert goodput(chips, islands=islands).share >= few.share - 1e-12


@given(st.floats(1.0, 1e8), st.floats(1.0, 600.0), st.floats(0.5, 2.0))
def test_no_interval_is_better_than_the_best(between, pause, factor) -> None:  # type: ignore[no-untyped-def]
    of = Failing(checkpoint=pause)
    best = best_interval(pause, between)
    if between > 20 * pause:
        assert share(best, of, between) >= share(best * factor, of, between) - 2e-3


@given(st.sampled_from(CHIPS), st.floats(0, 1), st.floats(0, 1), st.floats(1, 1e7))
def test_draw_lies_between_idle_and_work(chip, busy, other, seconds) -> None:  # type: ignore[no-untyped-def]
    low, high = sorted((busy, other))
    first, second = draw(chip, low), draw(chip, high)
    assert first is not None
    assert second is not None
    assert chip.idle_power <= first <= second <= max(chip.busy_power, chip.idle_power)
    found = bill(chip, 8, seconds, busy, Prices(1.2, 0.1, 400.0))
    assert found.joules is not None
    assert found.joules >= 8 * chip.idle_power * seconds


@given(st.floats(0.1, 1e5), st.integers(1, 64), st.floats(0.2, 1.0), st.floats(1, 1e6))
def test_the_least_number_is_enough_and_hardly_more(wanted, unit, power, near) -> None:  # type: ignore[no-untyped-def]
    found = least(lambda n: float(n**power), wanted, unit, near=near)
    if found is not None:
        assert found % unit == 0
        assert found**power >= wanted
        less = [n for n in smooth(MOST // unit) if n < found // unit]
        assert not less or (less[-1] * unit) ** power < wanted


@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_errors_add_up_to_more_than_either(one, other) -> None:  # type: ignore[no-untyped-def]
    assert together(one, other) <= min(one, other) * (1 + 1e-9)
    assert together(1 / one, 1 / other) >= max(1 / one, 1 / other) * (1 - 1e-9)
