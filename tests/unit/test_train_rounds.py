"""The protocol of rounds on a virtual network with a virtual clock: agreement and conservation.

Each site "trains" by adding 1 to its parameters per step, a token per step: with plain averaging
and equal weights it is easy to say what the anchor must be.
"""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep.train.frames import Kind, Message
from skep.train.lead import Options
from skep.train.member import Member
from skep.train.outer import PLAIN, fresh
from skep.train.replica import Replica
from skep.train.rounds import Rounds, origin_of

STEP_S, LATENCY_S = 0.1, 0.02
PLAIN_OPTIONS = Options(outer=PLAIN, codec="fp32", interval=0.5)


class Site:
    """One site: rounds, replica, and a training loop of one addition per step."""

    def __init__(self, name, rank, now, attempt=1, start=0.0):
        self.me = Member(name, rank, f"j-a{attempt}-{name}", "s")
        state = fresh(torch.full((3,), start), origin_of(self.me))
        self.rounds = Rounds(self.me, state, PLAIN_OPTIONS, now)
        self.replica = Replica(name, self.me.run, state, now)
        self.parameters = state.anchor.clone()
        self.trains, self.started, self.steps, self.awake = True, False, 0, True
        self.rounds.local.rate, self.rounds.local.step_s = 10.0, STEP_S

    def step(self, now):
        if not self.awake:
            return
        if self.rounds.state is not self.replica.state:
            self.parameters = self.replica.adopt(self.parameters, self.rounds.state)
        self.started = self.started or (self.rounds.level() and not self.rounds.behind())
        if self.trains and self.started:
            self.parameters = self.parameters + 1.0
            self.replica.pending += 1
            self.steps += 1
        self.rounds.local.pending = self.replica.pending
        wanted = self.rounds.wanted
        if wanted is not None and wanted.base == self.replica.state.digest:
            self.rounds.offered(self.replica.part(self.parameters, now), now)


class Network:
    """Sites, FIFO links with a latency, cuts."""

    def __init__(self, *names):
        self.now, self.sites, self.flying, self.cut = 0.0, {}, [], set()
        for rank, name in enumerate(names):
            self.add(name, rank)

    def add(self, name, rank, attempt=1, start=None):
        site = Site(name, rank, self.now, attempt, float(rank) if start is None else start)
        others = list(self.sites.values())
        self.sites[name] = site
        for other in others:
            self._connect(site, other)
        return site

    def _connect(self, one, other):
        if frozenset((one.me.site, other.me.site)) not in self.cut:
            one.rounds.joined(other.me)
            other.rounds.joined(one.me)

    def kill(self, name):
        del self.sites[name]
        self.flying = [f for f in self.flying if name not in f[1:3]]
        for site in self.sites.values():
            site.rounds.left(name, self.now)

    def part(self, group):
        for one in list(self.sites):
            for other in list(self.sites):
                if (one in group) and (other not in group):
                    self._cut(one, other)

    def _cut(self, one, other):
        pair = frozenset((one, other))
        if pair in self.cut:
            return
        self.cut.add(pair)
        self.flying = [f for f in self.flying if frozenset(f[1:3]) != pair]
        for a, b in ((one, other), (other, one)):
            self.sites[a].rounds.left(b, self.now)

    def heal(self):
        cut, self.cut = self.cut, set()
        for pair in cut:
            if all(name in self.sites for name in pair):
                self._connect(*(self.sites[name] for name in sorted(pair)))

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.01, 6)
            for site in list(self.sites.values()):
                self._drive(site)
            self._deliver()

    def _drive(self, site):
        if round(self.now * 100) % 10 == site.me.rank % 10:
            site.step(self.now)
        if round(self.now * 100) % 5 == 0:
            site.rounds.tick(self.now)

    def _deliver(self):
        for name, site in self.sites.items():
            for to, message in site.rounds.outbox:
                self.flying.append((self.now + LATENCY_S, name, to, message))
            site.rounds.outbox = []
        due = [f for f in self.flying if f[0] <= self.now]
        self.flying = [f for f in self.flying if f[0] > self.now]
        for _, sender, to, message in due:
            if to in self.sites and sender in self.sites and {sender, to} not in self.cut:
                self.sites[to].rounds.received(sender, message, self.now)

    def settle(self, seconds=4.0):
        """Let everybody stop training, merge what is left, and agree."""
        for site in self.sites.values():
            site.trains = False
            site.rounds.local.finishing = True
        self.run(seconds)
        for site in self.sites.values():
            if not site.rounds.views:
                site.rounds.absorb(site.replica.part(site.parameters, self.now), self.now)
            site.step(self.now)

    def digests(self):
        return {site.rounds.state.digest for site in self.sites.values()}

    def state(self):
        return next(iter(self.sites.values())).rounds.state


def test_a_cold_start_takes_the_first_sites_parameters():
    network = Network("a", "b", "c")
    network.run(0.2)
    assert {float(site.rounds.state.anchor[0]) for site in network.sites.values()} == {0.0}


def test_all_sites_go_through_the_same_rounds():
    network = Network("a", "b", "c")
    network.run(6.0)
    assert network.state().round >= 8
    network.settle()
    state = network.state()
    assert len(network.digests()) == 1
    assert state.tokens == sum(site.steps for site in network.sites.values())
    assert set(state.merged) == {"a", "b", "c"}


def test_a_leader_that_dies_in_a_round_costs_no_step():
    network = Network("a", "b", "c")
    network.run(3.0)
    while network.sites["a"].rounds._lead.called is None:  # a round is open
        network.run(0.01)
    network.kill("a")
    before = network.state().round
    steps = {name: site.steps for name, site in network.sites.items()}
    network.run(2.0)
    assert network.state().round > before
    assert all(site.steps - steps[name] >= 19 for name, site in network.sites.items())
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().tokens >= sum(site.steps for site in network.sites.values())


def test_calls_that_nobody_answered_at_the_start_do_not_block_later_rounds():
    """The second and third site meet first, and call rounds that their loops do not answer yet."""
    network = Network()
    asleep = {}
    for name, rank in (("b", 1), ("c", 2)):
        asleep[name] = network.add(name, rank)
        asleep[name].awake = False
    network.run(3.0)
    asleep["a"] = network.add("a", 0)
    network.run(1.0)
    for site in asleep.values():
        site.awake = True
    network.run(2.0)
    network.kill("a")
    before = network.state().round
    network.run(6.0)
    assert network.state().round >= before + 5


def test_a_newcomer_gets_the_state_and_never_gives_its_own():
    network = Network("a", "b")
    network.run(3.0)
    network.kill("a")
    network.run(1.0)
    tokens = network.state().tokens
    network.add("a", 0, attempt=2, start=1000.0)
    network.run(3.0)
    assert max(float(site.rounds.state.anchor[0]) for site in network.sites.values()) < 500
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().tokens > tokens
    assert network.state().merged["a"][0] == "j-a2-a"


def test_a_site_cut_off_loses_nothing():
    network = Network("a", "b", "c")
    network.run(3.0)
    network.part({"c"})
    held = network.sites["c"].rounds.state.round
    network.run(3.0)
    assert network.sites["c"].rounds.state.round <= held + 1  # its anchor does not move alone
    assert network.sites["a"].rounds.state.round > held + 2
    network.heal()
    network.run(2.0)
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().tokens == sum(site.steps for site in network.sites.values())


def test_two_sites_that_were_parted_both_keep_their_work():
    network = Network("a", "b")
    network.run(3.0)
    network.part({"b"})
    network.run(5.0)
    network.heal()
    network.run(2.0)
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().tokens == sum(site.steps for site in network.sites.values())


def test_the_anchor_of_one_who_never_met_anybody_moves_alone():
    network = Network("a")
    network.run(5.0)
    state = network.state()
    assert state.round >= 3
    assert float(state.anchor[0]) == state.tokens
    network.add("b", 1, start=77.0)
    network.run(2.0)
    network.settle()
    assert len(network.digests()) == 1
    assert network.state().origin.startswith("000000/a")


def test_a_damaged_anchor_is_fetched_anew():
    network = Network("a", "b", "c")
    network.run(3.0)
    site = network.sites["b"]
    site.rounds.state.anchor[1] += 1e-3  # a bit has flipped in memory; the digest is as it was
    network.run(2.0)
    assert any("differs" in text for text in site.rounds.events)
    network.settle()
    anchors = {tuple(s.rounds.state.anchor.tolist()) for s in network.sites.values()}
    assert len(anchors) == 1


def test_the_final_round_is_common():
    network = Network("a", "b", "c")
    network.run(3.0)
    for site in network.sites.values():
        site.trains = False
        site.rounds.local.finishing = True
    network.run(2.0)
    assert all(site.rounds.finished for site in network.sites.values())
    assert len(network.digests()) == 1
    assert network.state().tokens == sum(site.steps for site in network.sites.values())


@pytest.mark.parametrize(
    "message",
    [
        Message(Kind.HELLO, {}),
        Message(Kind.BEAT, {}),
        Message(Kind.BEAT, {"key": 3}),
        Message(Kind.PART, {"codec": "fp32"}, b"123"),
        Message(Kind.RESULT, {"base": "x"}),
        Message(Kind.STATE, {"length": 3}, b""),
        Message(Kind.CALL, {"final": 1}),
    ],
)
def test_what_is_not_of_the_protocol_is_refused(message):
    network = Network("a", "b")
    with pytest.raises((ValueError, KeyError, TypeError)):
        network.sites["a"].rounds.received("b", message, 1.0)


ACTIONS = st.sampled_from(
    ["run", "kill a", "kill b", "kill c", "start a", "start b", "start c", "part", "heal"]
)


@given(st.lists(ACTIONS, max_size=8), st.sampled_from("abc"))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_all_end_on_one_anchor(actions, alone):
    network, attempts = Network("a", "b", "c"), {"a": 1, "b": 1, "c": 1}
    network.run(1.5)
    for action in actions:
        verb, _, name = action.partition(" ")
        if verb == "kill" and name in network.sites and len(network.sites) > 1:
            network.kill(name)
        elif verb == "start" and name not in network.sites:
            attempts[name] += 1
            network.add(name, "abc".index(name), attempts[name], start=500.0)
        elif verb == "part" and alone in network.sites:
            network.part({alone})
        elif verb == "heal":
            network.heal()
        network.run(0.7)
    network.heal()
    network.run(4.0)
    network.settle(6.0)
    assert len(network.digests()) == 1
    assert float(network.state().anchor[0]) < 400  # nobody's fresh parameters got in
    assert all(site.replica.pending == 0 for site in network.sites.values())
