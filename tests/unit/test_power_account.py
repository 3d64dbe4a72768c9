"""Accounts of small cases that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skep.power.account import Draw, Energy, run_energy, total
from skep.power.series import SupplySeries

START = 1_767_225_600.0
HOUR = 3600.0


def series(**given: object) -> SupplySeries:
    columns = {"sun": np.zeros(24), "wind": np.zeros(24)} | given
    return SupplySeries(start=START, **columns)  # type: ignore[arg-type]


def test_a_run_that_crosses_an_hour_gets_the_mix_of_each() -> None:
    sun = np.zeros(24)
    sun[1] = 50.0  # W, against a draw of 100
    run = Draw("a", START + HOUR / 2, START + 3 * HOUR / 2, 100.0)
    account = run_energy([run], 0.0, series(sun=sun), START, START + 24 * HOUR)
    assert account.runs["a"].joules == 100 * HOUR
    assert account.runs["a"].own_joules == 50 * HOUR / 2
    assert account.runs["a"].renewable_share == 0.25


def test_runs_share_the_sun_in_proportion_to_their_draw() -> None:
    supply = series(sun=np.full(24, 100.0), renewable_share=0.5)
    runs = [Draw("a", START, float("inf"), 100.0), Draw("b", START, float("inf"), 200.0)]
    account = run_energy(runs, 100.0, supply, START, START + HOUR)
    a, b, idle = account.runs["a"], account.runs["b"], account.idle
    assert (a.own_joules, b.own_joules, idle.own_joules) == (25 * HOUR, 50 * HOUR, 25 * HOUR)
    assert a.grid_renewable_joules == pytest.approx(37.5 * HOUR)
    assert {e.renewable_share for e in (a, b, idle)} == {0.625}


def test_carbon_and_cost_are_of_the_grid_part() -> None:
    supply = series(wind=np.full(24, 500.0), carbon=np.full(24, 600.0), price=np.full(24, 50.0))
    energy = run_energy([Draw("a", START, START + HOUR, 1000.0)], 0.0, supply, START, START + HOUR)
    run = energy.runs["a"]
    assert run.carbon_kg == pytest.approx(0.3)  # 0.5 kWh from the grid at 600 g
    assert run.location_carbon_kg == pytest.approx(0.6)
    assert run.usd == pytest.approx(0.5e-3 * 50)


def test_what_is_not_known_stays_unknown() -> None:
    energy = run_energy([Draw("a", START, START + 1, 1.0)], 0.0, series(), START, START + 1)
    run = energy.runs["a"]
    assert run.carbon_kg is run.location_carbon_kg is run.usd is None
    assert total([Energy(), run]).usd is None


def test_held_chips_are_charged_to_the_run_and_not_to_idle() -> None:
    run = Draw("a", START, START + 10, watts=30.0, held=10.0)
    account = run_energy([run], 100.0, series(), START, START + 20)
    assert account.runs["a"].joules == pytest.approx(400.0)
    assert account.meter.joules == pytest.approx(100 * 20 + 30 * 10)
    assert account.idle.joules == pytest.approx(account.meter.joules - 400.0)


def test_two_draws_of_one_run_add_up() -> None:
    runs = [Draw("a", START, START + 10, 5.0), Draw("a", START + 20, START + 30, 7.0)]
    account = run_energy(runs, 0.0, series(), START, START + 100)
    assert account.runs["a"].joules == pytest.approx(120.0)


@pytest.mark.parametrize("end", [START, START - 5])
def test_an_empty_window_has_no_energy(end: float) -> None:
    account = run_energy([Draw("a", START - 9, START + 9, 5.0)], 10.0, series(), START, end)
    assert account.runs == {}
    assert account.meter.joules == account.idle.joules == 0.0


def test_a_run_outside_the_window_is_not_in_the_account() -> None:
    runs = [Draw("a", START - 10, START, 5.0), Draw("b", START + 50, START + 60, 5.0)]
    assert run_energy(runs, 0.0, series(), START, START + 50).runs == {}
