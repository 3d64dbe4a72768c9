from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skep.control.topology import Topology, topology
from skep.errors import InputError
from skep.files.pool import resolve_chips
from skep.model.site import Link, NodePool, Pool, Site
from skep.sim.conditions import Conditions, Mishap, Wear, load_conditions
from skep.sim.wear import breakages

YEAR = 365 * 86400.0


def columns() -> Topology:
    pools = (NodePool(chip="h100-sxm", nodes=50, chips_per_node=8, nodes_per_block=8),)
    other = (NodePool(chip="ascend-910c", nodes=20, chips_per_node=16),)
    pool = Pool(
        sites=(Site(name="a", pools=pools), Site(name="b", pools=(*pools, *other))),
        links=(Link(between=("a", "b"), bandwidth=1e9),),
    )
    return topology(pool, resolve_chips(pool))


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_failures_come_as_often_as_said(shape: float) -> None:
    wear = Wear(kind="node", every=YEAR / 20, shape=shape)
    found = breakages(Conditions(failures=(wear,)), columns(), seed=1, until=4 * YEAR)
    # 120 nodes, each 20 times a year, for 4 years; a renewal process that begins with new things.
    assert len(found) == pytest.approx(120 * 20 * 4, rel=0.06)
    assert list(found) == sorted(found)
    assert {b.place for b in found} == {0, 1, 2}
    assert max(b.row for b in found if b.place == 2) == 19


def test_only_chips_of_the_kind_fail() -> None:
    wear = Wear(kind="chip", every=YEAR / 10, chip="ascend-910c")
    found = breakages(Conditions(failures=(wear,)), columns(), seed=1, until=YEAR / 10)
    assert {b.place for b in found} == {2}
    assert len(found) == pytest.approx(320, rel=0.2)


def test_the_seed_decides() -> None:
    wear = Conditions(failures=(Wear(kind="block", every=YEAR / 100),))
    first, again, other = (breakages(wear, columns(), seed, YEAR / 10) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) == pytest.approx((7 + 7 + 1) * 10, rel=0.4)


def test_repairs_take_the_mean_time_said() -> None:
    wear = Wear(kind="node", every=YEAR / 200, repair=1000.0)
    found = breakages(Conditions(failures=(wear,)), columns(), 3, YEAR)
    assert np.mean([b.lasts for b in found]) == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Mishap(at=0, kind="node", site="c"), ["faults[0].site", "'c'"]),
        (Mishap(at=0, kind="node", site="a", pool=1), ["faults[0].pool", "0 to 0"]),
        (Mishap(at=0, kind="block", site="a", row=7), ["faults[0].row", "0 to 6"]),
        (Mishap(at=0, kind="link", between=("a", "c")), ["faults[0].between", "link"]),
    ],
)
def test_a_list_that_does_not_fit_the_pool_is_told(fault: Mishap, words: list[str]) -> None:
    with pytest.raises(InputError) as told:
        breakages(Conditions(faults=(fault,)), columns(), 0, YEAR)
    for word in words:
        assert word in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("failures: [{kind: rack, every: 1d}]", ["failures[0].kind", "'rack'", "block"]),
        ("failures: [{kind: node, every: 0s}]", ["failures[0].every", "'0s'"]),
        ("checkpoint: {cost: 1s}", ["checkpoint.every", "required"]),
        ("stragglers: {nodes: 2, slow: 1.2}", ["stragglers.nodes", "2"]),
        ("faults: [{at: 0s, kind: link}]", ["faults[0]", "between"]),
        ("setups: 3s", ["setups", "setup"]),
    ],
)
def test_bad_conditions_are_told_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        load_conditions(path)
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)
