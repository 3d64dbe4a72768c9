"""Trainings over parts that are not alike: shares, links, caps, which sites to take."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import InputError
from skep.planner.bill import Prices
from skep.planner.links import Links, joined
from skep.planner.mixture import Mixture, mixture
from skep.planner.parts import Part, batch_near, count
from skep.planner.sites import Exchange
from skep.planner.training import Conditions, Link
from tests.unit.test_planner_training import CHIPS, TOOLS, WORK

H100, H20, A910 = CHIPS["h100-sxm"], CHIPS["h20"], CHIPS["ascend-910b2"]
FREE = Prices(1.1)


def links(rates: dict[tuple[str, str], float], rtt: float = 0.03) -> Links:
    return {frozenset(pair): Link(rate, rtt) for pair, rate in rates.items()}


def full(sites: list[str], rate: float) -> Links:
    return links(dict.fromkeys(itertools.combinations(sites, 2), rate))


def mix(*parts: Part, over: Links, interval: int = 100, everything: bool = False) -> Mixture:
    under = Conditions(exchange=Exchange(interval))
    return mixture(WORK, parts, over, CHIPS.values(), under, TOOLS, None, everything)


STRONG, WEAK = Part("a", H100, 512, FREE), Part("b", A910, 512, FREE)


def test_shares_go_by_speed_and_add_up() -> None:
    found = mix(STRONG, WEAK, over=full(["a", "b"], 1e12))
    strong, weak = found.shares
    assert strong.training.work.global_batch > 1.5 * weak.training.work.global_batch
    assert sum(s.training.work.global_batch for s in found.shares) == found.work.global_batch
    assert sum(s.rate for s in found.shares) == pytest.approx(found.rate)
    assert max(s.waits for s in found.shares) < 0.15
    assert min(s.waits for s in found.shares) == pytest.approx(0.0)
    assert found.low < found.rate < found.high
    assert found.real_rate < found.rate


def test_two_kinds_are_faster_than_one_and_slower_than_both_without_a_link_between() -> None:
    alone = [mix(part, over={}).rate for part in (STRONG, WEAK)]
    together = mix(STRONG, WEAK, over=full(["a", "b"], 1e12)).rate
    assert max(alone) < together < sum(alone) * 1.01


def test_a_site_is_left_out_where_its_link_costs_more_than_its_chips_bring() -> None:
    slow = links({("a", "b"): 1e6})
    found = mix(STRONG, WEAK, over=slow)
    assert [share.part.site for share in found.shares] == ["a"]
    assert found.left[0].part.site == "b"
    assert "slower with it" in found.left[0].why
    both = mix(STRONG, WEAK, over=slow, everything=True)
    assert both.rate < found.rate


def test_a_site_without_a_link_is_left_out() -> None:
    found = mix(STRONG, WEAK, over={})
    assert [share.part.site for share in found.shares] == ["a"]
    assert found.left[0].why == "no link to the others"


def test_a_part_that_cannot_hold_the_model_is_left_out() -> None:
    found = mix(STRONG, Part("b", H20, 1, FREE), over=full(["a", "b"], 1e12))
    assert "too small" in found.left[0].why
    with pytest.raises(InputError, match="no part can train"):
        mix(Part("b", H20, 1, FREE), over={})


def test_kinds_at_one_place_exchange_over_their_own_network() -> None:
    here = [Part("here", chip, 512, FREE) for chip in (H100, A910)]
    found = mix(*here, over={})
    assert found.round is not None
    assert found.round.utilisation > 0.99
    every_step = mix(*here, over={}, interval=1)
    assert every_step.round is not None
    assert every_step.round.utilisation < found.round.utilisation
    assert every_step.round.loss_penalty == 0
    assert every_step.goodput.share <= found.goodput.share  # now all stop together


def test_each_site_pays_its_own_price() -> None:
    parts = [Part("a", H100, 512, Prices(1.1, 0.1)), Part("b", H100, 512, Prices(1.1, 0.05))]
    found = mix(*parts, over=full(["a", "b"], 1e12))
    dear, cheap = (share.bill.usd for share in found.shares)
    assert dear is not None
    assert cheap is not None
    assert dear == pytest.approx(2 * cheap, rel=1e-6)


def test_a_power_cap_leaves_chips_idle() -> None:
    capped = Part("a", H100, 512, Prices(1.0), cap=300 * H100.busy_power)
    assert capped.usable == 300
    assert count(capped) == 256
    assert mix(capped, over={}).chips == 256
    dark = Part("a", H100, 512, Prices(1.0), cap=1.0)
    with pytest.raises(InputError, match="lets no chip work"):
        mix(dark, over={})


def test_many_sites_take_those_with_links_that_are_wide_enough() -> None:
    names = [f"s{n}" for n in range(12)]
    parts = [Part(name, H100, 64, FREE) for name in names]
    rates = {(a, b): 1e6 if "s11" in (a, b) else 1e12 for a, b in itertools.combinations(names, 2)}
    found = mix(*parts, over=links(rates))
    assert {share.part.site for share in found.shares} == set(names[:11])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 6),
    st.lists(st.sampled_from([1e8, 1e9, 1e10, 1e11]), min_size=15, max_size=15),
)
def test_the_ring_is_the_widest(n: int, rates: list[float]) -> None:
    names = [f"s{i}" for i in range(n)]
    given = links(dict(zip(itertools.combinations(names, 2), rates, strict=False)))
    found = joined(names, given)
    assert found is not None
    assert found[1] == 1.0

    def narrowest(order: tuple[str, ...]) -> float:
        return min(
            given[frozenset(p)].bandwidth for p in zip(order, (*order[1:], order[0]), strict=True)
        )

    assert found[0].bandwidth == max(narrowest(order) for order in itertools.permutations(names))


def test_the_fastest_site_alone_is_the_one_that_is_so_with_the_whole_batch() -> None:
    kinds = (("h100-sxm", 64), ("ascend-910b2", 1000), ("ascend-910b2", 1000), ("ascend-910c", 256))
    names = [f"s{n}" for n in range(len(kinds))]
    parts = [Part(name, CHIPS[kind], n, FREE) for name, (kind, n) in zip(names, kinds, strict=True)]
    best = max(mix(part, over={}).real_rate for part in parts)
    assert mix(*parts, over=full(names, 1e8)).real_rate == pytest.approx(best)


KINDS = st.sampled_from(("h100-sxm", "h20", "ascend-910b2", "ascend-910c", "a100-sxm-80gb"))
SITES = st.lists(st.tuples(KINDS, st.sampled_from((64, 96, 256, 1000))), min_size=1, max_size=4)
ROUNDING = 0.85  # shares are whole sequences that layouts divide


@settings(max_examples=25, deadline=None)
@given(SITES, st.sampled_from((1e8, 1e9, 1e10, 1e11)), st.floats(1.0, 50.0))
def test_faster_links_and_more_sites_are_never_worse_but_for_rounding(
    sites: list[tuple[str, int]], rate: float, times: float
) -> None:
    names = [f"s{n}" for n in range(len(sites))]
    parts = [Part(name, CHIPS[kind], n, FREE) for name, (kind, n) in zip(names, sites, strict=True)]
    slow, fast = (mix(*parts, over=full(names, r)) for r in (rate, rate * times))
    assert fast.real_rate >= ROUNDING * slow.real_rate
    fewer = mix(*parts[: max(1, len(parts) - 1)], over=full(names, rate))
    assert slow.real_rate >= ROUNDING * fewer.real_rate
    for found in (slow, fast):
        assert found.rate <= sum(one.training.rate for one in found.shares) * (1 + 1e-9)
        assert {s.part.site for s in found.shares} | {x.part.site for x in found.left} == set(names)


def test_without_a_ring_a_tree_takes_twice_as_long() -> None:
    star = links({("a", "b"): 1e9, ("a", "c"): 2e9, ("a", "d"): 4e9})
    found = joined(["a", "b", "c", "d"], star)
    assert found is not None
    assert (found[0].bandwidth, found[1]) == (1e9, 2.0)
    assert joined(["b", "c"], star) is None
    assert joined(["a"], star) is None


@settings(max_examples=200)
@given(st.floats(1, 5000), st.floats(1, 64), st.integers(1, 20000))
def test_batches_are_near_what_is_wanted(wanted: float, parts: float, chips: int) -> None:
    found = batch_near(wanted, parts, chips)
    assert found >= 1
    assert abs(found - wanted) <= max(1.0, wanted)
