"""Fragments: balanced, led in turn, each with rounds of its own, and fitting together."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skep.train.flat import FlatModel
from skep.train.fragments import cuts, fragments_for
from skep.train.lead import Options
from skep.train.outer import PLAIN
from tests.train_network import Network


@given(st.integers(1, 10**7), st.integers(1, 48))
def test_cuts_cover_the_model_and_are_balanced(length, count):
    ranges = cuts(length, count)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == length
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_larger_models_have_more_fragments():
    assert [fragments_for(n) for n in (10, 870_656, 10**7, 10**9, 10**12)] == [1, 4, 8, 30, 48]


def test_a_range_of_the_parameters_is_read_and_written():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
    flat = FlatModel(model)
    whole = flat.read()
    for start, stop in cuts(flat.length, 5):
        assert torch.equal(flat.read(start, stop), whole[start:stop])
        flat.write(whole[start:stop] + 1, start)
    assert torch.equal(flat.read(), whole + 1)


def test_a_transposed_parameter_is_written_too():
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
    model = torch.nn.Module()
    model.weight = parameter
    flat = FlatModel(model)
    flat.write(torch.tensor([50.0, 60.0]), 1)
    assert flat.read().tolist() == [0.0, 50.0, 60.0, 4.0, 2.0, 5.0]


def test_the_sites_lead_in_turn_and_every_fragment_has_its_rounds():
    network = Network("a", "b", "c", count=3)
    network.run(6.0)
    leaders = set()
    for site in network.sites.values():
        leaders |= {(r.index, site.me.site) for r in site.fragments.rounds if r._lead.since > 1}
    assert {"a", "b", "c"} == {site for _, site in leaders}
    rounds = [state.round for state in network.sites["a"].fragments.states]
    assert min(rounds) >= 6
    network.settle()
    assert len(network.digests()) == 1
    tokens = {state.tokens for state in network.sites["a"].fragments.states}
    assert tokens == {sum(site.steps for site in network.sites.values())}


def test_fragments_are_spread_over_the_interval_of_steps():
    options = Options(outer=PLAIN, codec="fp32", interval_steps=12)
    network = Network("a", "b", count=3, options=options)
    network.run(6.0)
    called = [
        max(site.fragments.rounds[i].called_last for site in network.sites.values())
        for i in range(3)
    ]
    gaps = sorted(abs(a - b) for a in called for b in called if a < b)
    assert gaps[0] > 0.2  # of 1.2 s


@pytest.mark.parametrize("victim", ["a", "b", "c"])
def test_one_that_dies_delays_nothing_but_its_own_share(victim):
    network = Network("a", "b", "c", count=3)
    network.run(3.0)
    network.kill(victim)
    before = [state.round for state in next(iter(network.sites.values())).fragments.states]
    steps = {name: site.steps for name, site in network.sites.items()}
    network.run(3.0)
    after = [state.round for state in next(iter(network.sites.values())).fragments.states]
    assert all(b >= a + 2 for a, b in zip(before, after, strict=True))
    assert all(site.steps - steps[name] >= 29 for name, site in network.sites.items())
    network.settle()
    assert len(network.digests()) == 1


def test_a_restarted_first_site_never_gives_a_fresh_fragment():
    """Some fragments may not have had a round yet when the first site comes back."""
    for seconds in (0.6, 0.8, 1.0, 1.2, 1.4):
        network = Network("a", "b", "c", count=3)
        network.run(seconds)
        network.kill("a")
        network.run(0.1)
        begun = any(state.round for state in network.sites["b"].fragments.states)
        network.add("a", 0, attempt=0, start=1000.0)  # its origin sorts before all others
        network.run(3.0)
        network.settle()
        assert len(network.digests()) == 1
        assert not begun or float(network.sites["b"].anchors().max()) < 500


def test_the_leader_whose_anchor_is_damaged_mends_itself():
    network = Network("a", "b", "c", count=1)
    network.run(3.0)
    network.sites["a"].rounds.state.anchor[1] += 1e-3
    network.run(5.0)
    network.settle()
    anchors = {tuple(site.anchors().tolist()) for site in network.sites.values()}
    assert len(anchors) == 1
    whole = network.sites["b"].anchors()
    # the damage did not spread; only its progress, a difference to the anchor, was less by a third
    assert abs(float(whole[0]) - float(whole[1])) < 5e-4
