"""Links between sites that are cut one by one: one history while there is a way between any two."""

from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.lead import Options
from skep.train.outer import PLAIN
from skep.train.routes import DOWN_S
from tests.train_network import Network

CALM_S = DOWN_S + 3.0


def rounds(network):
    """By site the rounds since the last time: who took part and the digest that came out."""
    return {
        name: [(tuple(record["sites"]), record["digest"]) for record in site.fragments.drain()]
        for name, site in network.sites.items()
    }


def test_a_cut_link_costs_nobody_a_round_while_a_third_site_sees_both():
    network = Network(*"abc", routed=True)
    network.run(3.0)
    network.sever("a", "b")
    network.run(CALM_S)
    rounds(network)
    network.run(6.0)
    found = rounds(network)
    assert len(found["a"]) >= 8
    assert found["a"] == found["b"] == found["c"]
    assert {sites for sites, _ in found["a"]} == {("a", "b", "c")}
    network.mend("a", "b")
    network.run(1.0)
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().tokens == sum(site.steps for site in network.sites.values())


def test_the_site_between_dies_and_another_one_takes_its_place():
    network = Network(*"abcd", count=2, routed=True)
    network.run(3.0)
    network.sever("a", "b")
    network.run(CALM_S)
    assert set(network.ways.values()) == {"c"}
    network.kill("c")
    network.run(CALM_S)
    assert set(network.ways.values()) == {"d"}
    rounds(network)
    network.run(4.0)
    assert {sites for own in rounds(network).values() for sites, _ in own} == {("a", "b", "d")}
    network.settle(6.0)
    assert len(network.digests()) == 1


def test_two_groups_without_a_site_between_stay_apart_and_one_of_them_goes_on():
    network = Network(*"abcde", count=2, routed=True)
    network.run(3.0)
    network.part(set("de"))
    network.run(CALM_S)
    before = {name: site.rounds.state.round for name, site in network.sites.items()}
    network.run(5.0)
    moved = {name: site.rounds.state.round - before[name] for name, site in network.sites.items()}
    assert network.ways == {}
    assert all(moved[name] >= 3 for name in "abc")
    assert all(moved[name] == 0 for name in "de")


def test_two_histories_with_one_anchor_and_other_contributions_do_not_pass_for_one():
    """Where all sites learn the same, rounds of other contributions may come to one anchor."""
    how = Options(outer=PLAIN, codec="fp32", interval=DOWN_S)
    network = Network(*"abcde", count=3, options=how, routed=True)
    network.run(3.0)
    for pair, pause in (("ce", 1.3), ("ac", 1.0), ("ab", 0.3), ("ae", 3.0), ("be", 3.0)):
        network.sever(*pair)
        network.run(pause)
    network.heal()
    network.run(4.0)
    network.settle(6.0)
    accounts = {str(sorted(s.rounds.state.merged.items())) for s in network.sites.values()}
    assert len(network.digests()) == len(accounts) == 1
    for site in network.sites.values():
        assert [replica.pending for replica in site.replicas] == [0, 0, 0]


SITES = "abcde"
PAIRS = st.tuples(st.sampled_from(SITES), st.sampled_from(SITES)).filter(lambda p: p[0] != p[1])
CHANGES = st.lists(st.tuples(st.sampled_from(["sever", "sever", "mend"]), PAIRS), max_size=8)
PAUSES = st.sampled_from([0.3, 1.0, 3.0])


@given(st.integers(3, 5), st.sampled_from([1, 3]), CHANGES, PAUSES)
@settings(max_examples=20)
def test_whichever_links_are_cut_all_end_on_one_model_with_an_exact_account(
    size, count, changes, pause
):
    """Rounds take as long as it takes to find a way, as they do where links are slow."""
    how = Options(outer=PLAIN, codec="fp32", interval=DOWN_S)
    network = Network(*SITES[:size], count=count, options=how, routed=True)
    network.run(3.0)
    for verb, pair in changes:
        if set(pair) <= network.sites.keys():
            getattr(network, verb)(*pair)
        network.run(pause)
    network.run(CALM_S)
    before = {name: site.rounds.state.round for name, site in network.sites.items()}
    network.run(3 * DOWN_S)
    moved = {n for n, site in network.sites.items() if site.rounds.state.round > before[n] + 1}
    apart = [(one, other) for one in moved for other in moved if not network.reach(one, other)]
    assert apart == []  # no two histories go on at once
    network.heal()
    network.run(4.0)
    network.settle(6.0)
    assert len(network.digests()) == 1
    assert network.state().tokens == sum(site.steps for site in network.sites.values())
    pending = {replica.pending for site in network.sites.values() for replica in site.replicas}
    assert pending == {0}


KILLS = st.lists(
    st.tuples(st.sampled_from(["sever", "sever", "mend", "kill", "add"]), PAIRS), max_size=10
)


@given(st.integers(3, 5), st.sampled_from([1, 3]), KILLS)
@settings(max_examples=20)
def test_whatever_is_cut_and_killed_all_end_on_one_model_that_was_trained(size, count, changes):
    network, attempts = Network(*SITES[:size], count=count, routed=True), dict.fromkeys(SITES, 1)
    network.run(1.5)
    for verb, (one, other) in changes:
        if verb in ("sever", "mend"):
            if {one, other} <= set(SITES[:size]):
                getattr(network, verb)(one, other)
        elif verb == "kill" and one in network.sites and network.others_know(one):
            network.kill(one)
        elif verb == "add" and one in SITES[:size] and one not in network.sites:
            attempts[one] += 1
            network.add(one, SITES.index(one), attempts[one], start=500.0)
        network.run(0.7)
    network.heal()
    network.run(5.0)
    network.settle(6.0)
    assert len(network.digests()) == 1
    assert float(network.state().anchor.max()) < 490.0  # nobody's fresh parameters got in
    pending = {replica.pending for site in network.sites.values() for replica in site.replicas}
    assert pending == {0}
