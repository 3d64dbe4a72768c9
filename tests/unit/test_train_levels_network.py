"""Two levels of reduction on a virtual network: nothing lost or counted twice by who dies."""

from dataclasses import replace

import pytest

from skep.train.frames import Kind
from skep.train.outer import Outer
from skep.train.parts import result_from
from tests.train_network import PLAIN_OPTIONS, Network

NAMES = "abcdefghi"
TWO = replace(PLAIN_OPTIONS, one_level=4)


def until(network, what, steps=1000):
    """Run until ``what()`` holds."""
    for _ in range(steps):
        if what():
            return
        network.run(0.01)
    raise AssertionError("it never came so far")


def merged_of(site, state):
    """Tokens of a site that has died which are in ``state``, by what it remembers itself."""
    replica = site.replica
    _, number = state.merged.get(site.me.site, ("", 0))
    known = {replica._ledger.after: 0} | {n: p.tokens for n, p in replica._sent.items()}
    return site.steps - replica.pending + known[number]


def settled(network, dead=()):
    network.settle(6.0)
    state = network.state()
    assert len(network.digests()) == 1
    assert {r.pending for site in network.sites.values() for r in site.replicas} == {0}
    alive = sum(site.steps for site in network.sites.values())
    assert state.tokens == alive + sum(merged_of(site, state) for site in dead)


def begun():
    """Nine sites with two levels, some rounds after their start."""
    network = Network(*NAMES, options=TWO)
    network.run(3.0)
    return network


def went(network, seconds=4.0):
    before = network.state().round
    steps = {name: site.steps for name, site in network.sites.items()}
    network.run(seconds)
    assert network.state().round >= before + seconds  # of one in 0.5 s
    assert all(site.steps - steps[n] >= 10 * seconds - 1 for n, site in network.sites.items())


def payload_kinds(network, until):
    """What goes over the network until then, by site and way."""
    seen, deliver = [], network._deliver

    def look():
        for name, site in network.sites.items():
            seen.extend((name, to, m) for to, m in site.fragments.outbox if m.payload)
        deliver()

    network._deliver = look
    network.run(until)
    network._deliver = deliver
    return seen


@pytest.mark.parametrize("count", [1, 3])
def test_all_go_through_the_same_rounds_and_the_leader_carries_less(count):
    network = Network(*NAMES, count=count, options=TWO)
    network.run(3.0)
    for site in network.sites.values():
        site.fragments.drain()
    seen = payload_kinds(network, 4.0)
    rounds = {n: [r["digest"] for r in s.fragments.drain()] for n, s in network.sites.items()}
    assert len(rounds["a"]) >= 6 * count
    assert {len(r) for r in rounds.values()} == {len(rounds["a"])}
    assert all(m.kind is not Kind.STATE for _, _, m in seen)  # nobody had to ask for it
    to_leader = [(one, m.kind) for one, to, m in seen if to == "a" and m.fields["fragment"] == 0]
    assert {one for one, kind in to_leader if kind is Kind.PART} == set("bc")  # its own group
    assert {one for one, kind in to_leader if kind is Kind.BUNDLE} == set("dg")
    settled(network)


def test_a_gateway_that_dies_before_it_has_brought_anything_costs_no_step():
    network = begun()
    dead = network.sites["d"]
    until(network, lambda: dead.rounds._gate.called is not None and dead.rounds._gate.parts)
    network.kill("d")
    went(network)
    settled(network, [dead])


def test_a_gateway_that_dies_after_it_has_brought_its_average():
    """Its group's contributions count; another one passes the result on."""
    network = begun()
    leader, dead = network.sites["a"].rounds, network.sites["d"]
    network.sites["i"].awake = False  # so that another group is waited for
    until(network, lambda: "d" in leader._lead.bundles)
    network.kill("d")
    network.sites["i"].awake = True
    network.run(0.5)
    assert set(network.sites["e"].fragments.drain()[-1]["sites"]) >= set("def")
    went(network)
    settled(network, [dead])


def test_a_gateway_that_dies_before_it_has_passed_the_result_on():
    network = begun()
    dead = network.sites["d"]
    flying = lambda: ((to, m.kind) for _, _, to, m in network.flying)  # noqa: E731
    until(network, lambda: ("d", Kind.RESULT) in flying())
    network.kill("d")
    seen = payload_kinds(network, 3.0)
    # its group has asked for the result, and nobody for the whole state
    assert {m.kind for _, to, m in seen if to in "ef"} == {Kind.RESULT}
    went(network)
    settled(network, [dead])


def test_a_leader_that_dies_in_a_round_of_two_levels():
    network = begun()
    dead = network.sites["a"]
    network.sites["i"].awake = False
    until(network, lambda: dead.rounds._lead.bundles)
    network.sites["i"].awake = True
    network.kill("a")
    went(network)
    settled(network, [dead])


def test_a_member_without_a_link_to_its_gateway_is_asked_by_the_leader_itself():
    network = begun()
    network.sever("d", "e")
    went(network)
    assert {len(r["sites"]) for r in network.sites["a"].fragments.drain()[-5:]} == {9}
    network.mend("d", "e")
    network.run(1.0)
    settled(network)


def test_a_site_that_was_cut_off_brings_its_progress_with_its_share():
    network = begun()
    network.part({"e", "f"})
    network.run(4.0)
    network.heal()
    network.run(3.0)
    settled(network)


def test_an_absurd_update_is_kept_out_by_the_gateway_and_told():
    network = Network(*NAMES, options=TWO)
    network.run(4.0)
    broken = network.sites["e"]
    broken.parameters = broken.parameters + 1e6
    network.run(2.0)
    assert float(network.state().anchor.max()) < 1e4
    assert any("an update of e is kept out" in text for text in network.sites["h"].told)
    assert float(broken.parameters.max()) < 1e4  # told, it went back to the anchor


def test_momentum_and_the_final_round_are_common():
    network = Network(*NAMES, count=2, options=replace(TWO, outer=Outer(1.0, 0.3), codec="int4"))
    network.run(3.0)
    for site in network.sites.values():
        site.trains, site.finishing = False, True
    network.run(3.0)
    assert all(site.fragments.finished for site in network.sites.values())
    assert len(network.digests()) == 1


def test_a_result_is_passed_on_as_it_came():
    network = begun()
    seen = [(one, to, result_from(m)) for one, to, m in payload_kinds(network, 1.0)
            if m.kind is Kind.RESULT]  # fmt: skip
    assert {one for one, _, _ in seen} == set("adg")
    by_digest = {}
    for _, _, result in seen:
        by_digest.setdefault(result.digest, set()).add(result.payload)
    assert all(len(payloads) == 1 for payloads in by_digest.values())
