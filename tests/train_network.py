"""Sites of skep.train on a virtual network with a virtual clock, without sockets or threads.

Each site "trains" by adding 1 to its parameters per step, a token per step: with plain averaging
and equal weights it is easy to say what the anchor must be.
"""

from dataclasses import replace

import torch

from skep.train.fragments import Fragments, cuts, digest_of, one_origin
from skep.train.frames import Kind
from skep.train.lead import Options
from skep.train.member import Member, origin_of
from skep.train.outer import PLAIN, fresh
from skep.train.parts import Local
from skep.train.replica import Replica
from skep.train.routes import Routes
from skep.train.shelf import Want, first, minus, tidy

AHEAD = 30  # samples that a site wants to hold, where they are leased
STEP_S, LATENCY_S = 0.1, 0.02
PLAIN_OPTIONS = Options(outer=PLAIN, codec="fp32", interval=0.5)
LENGTH = 3


class Site:
    """One site: fragments, replicas, and a training loop of one addition per step."""

    def __init__(
        self, name, rank, now, attempt=1, start=0.0, count=1, options=PLAIN_OPTIONS, samples=0
    ):
        self.me = Member(name, rank, f"j-a{attempt}-{name}", "s")
        self.ranges = cuts(LENGTH, count)
        self.parameters = torch.full((LENGTH,), start)
        states = [fresh(self.parameters[slice(*own)], origin_of(self.me)) for own in self.ranges]
        self.fragments = Fragments(self.me, states, options, now)
        self.replicas = [Replica(name, self.me.run, state, now) for state in states]
        if samples:
            self.replica.want = Want(self.me.run, (), AHEAD, samples)
        self.trains, self.started, self.steps, self.awake = True, False, 0, True
        self.finishing, self.told = False, []
        self.routes = Routes(name)
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
        local.hungry = self.replica.want is not None and self.trains and not self._free()
        self.fragments.report(local, [replica.pending for replica in self.replicas])

    def step(self, now):
        if not self.awake:
            return
        self._adopt()
        ready = self.fragments.level() and not self.fragments.behind()
        self.started = self.started or ready
        if self.trains and self.started and self._take():
            self.parameters = self.parameters + 1.0
            self.steps += 1
            for replica in self.replicas:
                replica.pending += 1
        self._report()
        for index in self.fragments.refused():
            self.parameters[slice(*self.ranges[index])] = self.replicas[index].reset()
        for index, wanted in self.fragments.wanted.items():
            if wanted.base == self.replicas[index].state.digest:
                self.fragments.offered(index, self.part(index, now), now)

    def _free(self):
        """Samples that are leased to this site and not trained on yet."""
        shelf, want = self.replica.state.shelf, self.replica.want
        return minus(shelf.leased(self.me.site), want.used) if shelf is not None else ()

    def _take(self):
        """The next sample, where they are leased; whether there is one."""
        want = self.replica.want
        if want is not None:
            taken = first(self._free(), 1)
            self.replica.want = replace(want, used=tidy((*want.used, *taken)))
            return bool(taken)
        return True

    def _adopt(self):
        for own, state, replica in self._each():
            if state is not replica.state and one_origin(self.fragments.states):
                moved = replica.adopt(self.parameters[slice(*own)], state)
                self.parameters[slice(*own)] = moved

    def part(self, index, now):
        own, want = self.parameters[slice(*self.ranges[index])], self.replicas[index].want
        return self.replicas[index].part(own, now, want=want)

    def absorb(self, now):
        every = range(len(self.ranges))
        self.fragments.absorb({index: self.part(index, now) for index in every}, now)

    def _each(self):
        return zip(self.ranges, self.fragments.states, self.replicas, strict=True)

    def anchors(self):
        return torch.cat([state.anchor for state in self.fragments.states])


class Network:
    """Sites, FIFO links with a latency, cuts; with ``routed``, ways around links that are cut."""

    def __init__(self, *names, count=1, options=PLAIN_OPTIONS, routed=False, samples=0):
        """``samples``: how many there are, leased to the sites; 0: each trains as it likes."""
        self.samples = samples
        self.now, self.sites, self.flying, self.cut = 0.0, {}, [], set()
        self.count, self.options, self.routed = count, options, routed
        self.ways = {}  # pair -> the site between
        for rank, name in enumerate(names):
            self.add(name, rank)

    def add(self, name, rank, attempt=1, start=None):
        begin = float(rank) if start is None else start
        how = (self.count, self.options, self.samples)
        site = Site(name, rank, self.now, attempt, begin, *how)
        others = list(self.sites.values())
        self.sites[name] = site
        for other in others:
            if frozenset((name, other.me.site)) not in self.cut:
                self._connect(name, other.me.site)
        return site

    def _connect(self, one, other):
        for a, b in ((one, other), (other, one)):
            self.sites[a].fragments.joined(self.sites[b].me, self.now)

    def _disconnect(self, one, other):
        self._lose(one, other)
        for a, b in ((one, other), (other, one)):
            if a in self.sites:
                self.sites[a].routes.forget(b)
                self.sites[a].fragments.left(b, self.now)

    def _lose(self, one, other):
        self.flying = [f for f in self.flying if {*f[1:3]} != {one, other}]

    def kill(self, name):
        del self.sites[name]
        for other in self.sites:
            pair = frozenset((name, other))
            if pair not in self.cut or self.ways.pop(pair, None):
                self._disconnect(name, other)
        self._break(lambda pair, via: name == via)

    def part(self, group):
        for one in list(self.sites):
            for other in list(self.sites):
                if (one in group) and (other not in group):
                    self.sever(one, other)

    def sever(self, one, other):
        pair = frozenset((one, other))
        if pair in self.cut:
            return
        self.cut.add(pair)
        if pair <= self.sites.keys():
            self._disconnect(one, other)
        self._break(lambda ends, via: via in pair and pair - {via} <= ends)

    def _break(self, goes):
        for pair, via in list(self.ways.items()):
            if goes(pair, via):
                del self.ways[pair]
                self._disconnect(*sorted(pair))

    def heal(self):
        for pair in sorted(self.cut, key=sorted):
            self.mend(*sorted(pair))

    def mend(self, one, other):
        pair = frozenset((one, other))
        if pair in self.cut:
            self.cut.remove(pair)
            if pair <= self.sites.keys():
                if self.ways.pop(pair, None):
                    self._lose(one, other)
                self._connect(one, other)

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
            if self.routed:
                self._look(site)
            site.fragments.tick(self.now)

    def _direct(self, name):
        others = (other for other in self.sites if other != name)
        return {other: 0.0 for other in others if frozenset((name, other)) not in self.cut}

    def _look(self, site):
        name = site.me.site
        site.fragments.sees = direct = self._direct(name)
        around = {next(iter(pair - {name})): 0.0 for pair in self.ways if name in pair}
        for other, way in site.routes.look(self.now, direct, around).items():
            there = other in self.sites and way.via in self._direct(other)
            if there and way.via in direct:
                self.ways[frozenset((name, other))] = way.via
                self._connect(name, other)

    def _deliver(self):
        for name, site in self.sites.items():
            for to, message in site.fragments.outbox:
                links = 2 if frozenset((name, to)) in self.ways else 1
                self.flying.append((self.now + links * LATENCY_S, name, to, message))
            site.fragments.outbox = []
            site.told += site.fragments.events
            site.fragments.events = []
        due = [f for f in self.flying if f[0] <= self.now]
        self.flying = [f for f in self.flying if f[0] > self.now]
        for _, sender, to, message in due:
            if {sender, to} <= self.sites.keys() and self._connected(sender, to):
                if message.kind is Kind.BEAT:
                    fields = message.fields
                    self.sites[to].routes.hear(sender, fields["sees"], fields["afresh"])
                self.sites[to].fragments.received(sender, message, self.now)

    def others_know(self, name):
        """Where nobody else holds what was trained there is nothing to keep."""
        rest = (site for other, site in self.sites.items() if other != name)
        return any(float(site.anchors().max()) < 490.0 for site in rest)

    def reach(self, one, other):
        """Whether there is a way over any number of links."""
        found, fresh = set(), {one}
        while fresh:
            found |= fresh
            fresh = {site for name in fresh for site in self._direct(name)} - found
        return other in found

    def _connected(self, one, other):
        pair = frozenset((one, other))
        return pair not in self.cut or pair in self.ways

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
