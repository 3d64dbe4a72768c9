"""Sites of skep.train on a virtual network with a virtual clock, without sockets or threads.

Each site "trains" by adding 1 to its parameters per step, a token per step: with plain averaging
and equal weights it is easy to say what the anchor must be.
"""

import torch

from skep.train.fragments import Fragments, cuts, digest_of, one_origin
from skep.train.lead import Options
from skep.train.member import Member, origin_of
from skep.train.outer import PLAIN, fresh
from skep.train.parts import Local
from skep.train.replica import Replica

STEP_S, LATENCY_S = 0.1, 0.02
PLAIN_OPTIONS = Options(outer=PLAIN, codec="fp32", interval=0.5)
LENGTH = 3


class Site:
    """One site: fragments, replicas, and a training loop of one addition per step."""

    def __init__(self, name, rank, now, attempt=1, start=0.0, count=1, options=PLAIN_OPTIONS):
        self.me = Member(name, rank, f"j-a{attempt}-{name}", "s")
        self.ranges = cuts(LENGTH, count)
        self.parameters = torch.full((LENGTH,), start)
        states = [fresh(self.parameters[slice(*own)], origin_of(self.me)) for own in self.ranges]
        self.fragments = Fragments(self.me, states, options, now)
        self.replicas = [Replica(name, self.me.run, state, now) for state in states]
        self.trains, self.started, self.steps, self.awake = True, False, 0, True
        self.finishing, self.told = False, []
        self._report()

    @property
    def rounds(self):
        """Of the first fragment."""
        return self.fragments.rounds[0]

    @property
    def replica(self):
        return self.replicas[0]

    def _report(self):
        local = Local(rate=10.0, step_s=STEP_S, steps=self.steps, finishing=self.finishing)
        self.fragments.report(local, [replica.pending for replica in self.replicas])

    def step(self, now):
        if not self.awake:
            return
        self._adopt()
        ready = self.fragments.level() and not self.fragments.behind()
        self.started = self.started or ready
        if self.trains and self.started:
            self.parameters = self.parameters + 1.0
            self.steps += 1
            for replica in self.replicas:
                replica.pending += 1
        self._report()
        for index, wanted in self.fragments.wanted.items():
            if wanted.base == self.replicas[index].state.digest:
                self.fragments.offered(index, self.part(index, now), now)

    def _adopt(self):
        for own, state, replica in self._each():
            if state is not replica.state and one_origin(self.fragments.states):
                moved = replica.adopt(self.parameters[slice(*own)], state)
                self.parameters[slice(*own)] = moved

    def part(self, index, now):
        return self.replicas[index].part(self.parameters[slice(*self.ranges[index])], now)

    def absorb(self, now):
        every = range(len(self.ranges))
        self.fragments.absorb({index: self.part(index, now) for index in every}, now)

    def _each(self):
        return zip(self.ranges, self.fragments.states, self.replicas, strict=True)

    def anchors(self):
        return torch.cat([state.anchor for state in self.fragments.states])


class Network:
    """Sites, FIFO links with a latency, cuts."""

    def __init__(self, *names, count=1, options=PLAIN_OPTIONS):
        self.now, self.sites, self.flying, self.cut = 0.0, {}, [], set()
        self.count, self.options = count, options
        for rank, name in enumerate(names):
            self.add(name, rank)

    def add(self, name, rank, attempt=1, start=None):
        first = float(rank) if start is None else start
        site = Site(name, rank, self.now, attempt, first, self.count, self.options)
        others = list(self.sites.values())
        self.sites[name] = site
        for other in others:
            self._connect(site, other)
        return site

    def _connect(self, one, other):
        if frozenset((one.me.site, other.me.site)) not in self.cut:
            one.fragments.joined(other.me, self.now)
            other.fragments.joined(one.me, self.now)

    def kill(self, name):
        del self.sites[name]
        self.flying = [f for f in self.flying if name not in f[1:3]]
        for site in self.sites.values():
            site.fragments.left(name, self.now)

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
            self.sites[a].fragments.left(b, self.now)

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
            site.fragments.tick(self.now)

    def _deliver(self):
        for name, site in self.sites.items():
            for to, message in site.fragments.outbox:
                self.flying.append((self.now + LATENCY_S, name, to, message))
            site.fragments.outbox = []
            site.told += site.fragments.events
            site.fragments.events = []
        due = [f for f in self.flying if f[0] <= self.now]
        self.flying = [f for f in self.flying if f[0] > self.now]
        for _, sender, to, message in due:
            if to in self.sites and sender in self.sites and {sender, to} not in self.cut:
                self.sites[to].fragments.received(sender, message, self.now)

    def settle(self, seconds=4.0):
        """Let everybody stop training, merge what is left, and agree."""
        for site in self.sites.values():
            site.trains = False
            site.finishing = True
        self.run(seconds)
        for site in self.sites.values():
            if not site.fragments.views:
                site.absorb(self.now)
            site.step(self.now)

    def digests(self):
        return {digest_of(site.fragments.states) for site in self.sites.values()}

    def state(self):
        return next(iter(self.sites.values())).rounds.state
