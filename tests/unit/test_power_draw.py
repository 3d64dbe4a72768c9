"""Draw at the meter, headroom under a cap, and the chip table."""

from __future__ import annotations

import numpy as np
import pytest

from skep.data.catalogue import chips
from skep.model.chip import Chip
from skep.model.site import NodePool, Power, Site
from skep.power.draw import added_draw, held_draw, idle_draw, power_known, run_draw
from skep.power.headroom import headroom, window_headroom

CHIP = Chip(kind="a", idle_power=100.0, busy_power=400.0)


def test_idle_draw_counts_every_chip_and_the_facility() -> None:
    pools = (NodePool(chip="a", nodes=2, chips_per_node=4), NodePool(chip="b"))
    kinds = {"a": CHIP, "b": Chip(kind="b", idle_power=50.0, busy_power=60.0)}
    assert idle_draw(Site(name="s", pools=pools), kinds) == 850.0
    power = Power(cap=1e6, pue=1.2)
    assert idle_draw(Site(name="s", pools=pools, power=power), kinds) == pytest.approx(1020.0)


def test_a_run_draws_what_it_adds_and_what_it_holds() -> None:
    assert run_draw(CHIP, 8, 1.5) == 4800.0
    assert added_draw(CHIP, 8, 1.5) + held_draw(CHIP, 8, 1.5) == 4800.0


def test_a_chip_of_unknown_draw_counts_as_zero_and_says_so() -> None:
    unknown = Chip(kind="c")
    assert not power_known(unknown)
    assert run_draw(unknown, 8) == added_draw(unknown, 8) == 0.0


def test_headroom_keeps_a_margin_and_may_be_negative() -> None:
    free = headroom(np.array([100.0, 100.0, np.inf]), np.array([50.0, 99.0, 1e9]), margin=0.02)
    assert free.tolist() == [48.0, -1.0, np.inf]


def test_headroom_of_a_window_is_that_of_its_worst_hour() -> None:
    caps = np.array([[100.0, 60.0, 100.0], [50.0, 50.0, 50.0]])
    assert window_headroom(caps, np.array([[40.0], [10.0]])).tolist() == [20.0, 40.0]


def test_the_table_has_the_chips_that_examples_name() -> None:
    table = chips()
    assert len(table) == 52
    assert {"h100-sxm", "ascend-910c", "a100-sxm-80gb", "gb200-nvl72", "cpu-core"} <= table.keys()
    h100 = table["h100-sxm"]
    assert (h100.peak_flops, h100.memory, h100.memory_bandwidth) == (989e12, 80e9, 3.35e12)


def test_every_chip_of_the_table_is_in_a_sane_range_and_has_a_source() -> None:
    for kind, chip in chips().items():
        assert chip.kind == kind == kind.lower()
        assert chip.source
        assert chip.confidence in ("A", "B", "C")
        assert chip.peak_flops is None or 1e13 < chip.peak_flops < 1e16
        assert chip.memory is None or 1e10 < chip.memory < 1e12
        assert power_known(chip) == (chip.idle_power > 0)
        assert chip.idle_power <= chip.busy_power < 5000


def test_the_table_cannot_be_changed_by_a_caller() -> None:
    chips().clear()
    assert chips()
