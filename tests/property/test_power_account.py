"""Accounts add up: over runs, over windows, and from hour to hour."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.power.account import Account, Draw, Energy, run_energy, total
from skep.power.series import SupplySeries

START = 1_767_225_600.0
HOURS = 30
END = START + HOURS * 3600.0

watts = st.floats(0, 1e8, allow_subnormal=False)
moments = st.floats(START - 7200, END + 7200)
columns = st.lists(watts, min_size=24, max_size=24).map(np.array)


@st.composite
def draws(draw: st.DrawFn) -> Draw:
    one, two = sorted((draw(moments), draw(moments)))
    ended = draw(st.booleans())
    run = draw(st.sampled_from("abc"))
    return Draw(run, one, two if ended else float("inf"), draw(watts), held=0.0)


@st.composite
def series(draw: st.DrawFn) -> SupplySeries:
    return SupplySeries(
        start=START + draw(st.sampled_from([0.0, 1800.0])),
        sun=draw(columns),
        wind=draw(columns),
        carbon=draw(st.none() | columns),
        price=draw(st.none() | columns),
        renewable_share=draw(st.floats(0, 1)),
    )


def fields(energy: Energy) -> list[float | None]:
    return [
        energy.joules,
        energy.own_joules,
        energy.grid_renewable_joules,
        energy.carbon_kg,
        energy.location_carbon_kg,
        energy.usd,
    ]


def everything(account: Account) -> Energy:
    return account.idle + total(account.runs.values())


def near(one: Energy, two: Energy, within: float = 1e-9) -> bool:
    pairs = zip(fields(one), fields(two), strict=True)
    return all(a == b if None in (a, b) else a == pytest.approx(b, rel=within) for a, b in pairs)


some = st.lists(draws(), max_size=8)


@given(some, watts, series())
def test_runs_and_idle_add_up_to_the_meter(
    runs: list[Draw], idle: float, supply: SupplySeries
) -> None:
    account = run_energy(runs, idle, supply, START, END)
    parts = everything(account)
    for ours, meter in zip(fields(parts), fields(account.meter), strict=True):
        assert (ours is None) == (meter is None)
        assert ours is None or ours == pytest.approx(meter, rel=1e-9, abs=1e-6)


@given(some, watts, series())
def test_moving_idle_draw_to_the_run_that_holds_it_leaves_the_meter(
    runs: list[Draw], idle: float, supply: SupplySeries
) -> None:
    share = idle / max(1, len(runs))
    holding = [Draw(d.run, d.start, d.end, d.watts, held=share) for d in runs]
    plain = run_energy(runs, idle, supply, START, END)
    moved = run_energy(holding, idle, supply, START, END)
    assert near(plain.meter, moved.meter)
    assert everything(moved).joules == pytest.approx(plain.meter.joules, rel=1e-9, abs=1e-6)
    assert moved.idle.joules >= -1e-6 * max(1.0, plain.meter.joules)


@given(some, watts, series(), st.floats(START, END))
def test_windows_that_follow_each_other_add_up(
    runs: list[Draw], idle: float, supply: SupplySeries, cut: float
) -> None:
    whole = run_energy(runs, idle, supply, START, END)
    first = run_energy(runs, idle, supply, START, cut)
    second = run_energy(runs, idle, supply, cut, END)
    meter = fields(first.meter + second.meter)
    for ours, expected in zip(meter, fields(whole.meter), strict=True):
        assert ours is None or ours == pytest.approx(expected, rel=1e-7, abs=1e-3)


@given(some, watts, series())
def test_no_part_is_larger_than_its_energy(
    runs: list[Draw], idle: float, supply: SupplySeries
) -> None:
    account = run_energy(runs, idle, supply, START, END)
    for energy in (*account.runs.values(), account.idle, account.meter):
        assert 0 <= energy.own_joules <= energy.joules * (1 + 1e-6) + 1e-3
        assert energy.renewable_joules <= energy.joules * (1 + 1e-6) + 1e-3
        assert 0 <= energy.renewable_share <= 1


@settings(max_examples=50)
@given(some, watts, series())
def test_the_account_is_that_of_a_plain_loop_over_seconds_of_change(
    runs: list[Draw], idle: float, supply: SupplySeries
) -> None:
    """The same sums, written as loops: an oracle."""
    account = run_energy(runs, idle, supply, START, END)
    hours = [supply.start + 3600.0 * h for h in range(-1, HOURS + 1)]
    moments = [START, END, *hours, *(d.start for d in runs), *(d.end for d in runs)]
    edges = sorted({m for m in moments if START <= m <= END})
    own = grid_green = 0.0
    per_run = dict.fromkeys("abc", 0.0)
    for left, right in itertools.pairwise(edges):
        live = [d for d in runs if d.start <= left and d.end >= right]
        draw = idle + sum(d.watts for d in live)
        row = int((left - supply.start) // 3600) % 24
        used = min(draw, float(supply.sun[row] + supply.wind[row]))
        own += used * (right - left)
        grid_green += (draw - used) * supply.renewable_share * (right - left)
        for d in live:
            per_run[d.run] += d.watts * (right - left)
    assert account.meter.own_joules == pytest.approx(own, rel=1e-9, abs=1e-3)
    assert account.meter.grid_renewable_joules == pytest.approx(grid_green, rel=1e-9, abs=1e-3)
    for run, energy in account.runs.items():
        assert energy.joules == pytest.approx(per_run[run], rel=1e-7, abs=1e-3)
