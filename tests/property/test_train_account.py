"""Links without a way around, sites that die and return: the account of tokens stays exact."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.outer import outer_step
from tests.train_network import PLAIN_OPTIONS, Network

SITES = "abcde"


class Account:
    """How every state came about, and what each run of a site had trained when it contributed."""

    def __init__(self):
        self.came = {}  # digest -> (the one before, tokens of the round, what it merged)
        self.trained = {}  # (run, fragment, number) -> steps of that run so far
        self.attempts = {}  # of each site that came back
        self.given_up = {}  # (run, fragment) -> of them on initial parameters that it left

    def step(self, state, progress, outer, tokens, merged, members=()):
        new = outer_step(state, progress, outer, tokens, merged, members)
        self.came.setdefault(new.digest, (state.digest, tokens, dict(merged)))
        return new

    @contextmanager
    def kept(self):
        with (
            patch("skep.train.rounds.outer_step", self.step),
            patch("skep.train.lead.outer_step", self.step),
        ):
            yield

    def watch(self, site):
        plain, run = site.part, site.me.run

        def part(index, now):
            made = plain(index, now)
            lost = self.given_up.get((run, index), 0)
            self.trained[run, index, made.number] = site.steps - lost
            return made

        site.part = part
        for index, replica in enumerate(site.replicas):
            replica.reset = partial(self._reset, site, index, replica.reset)

    def _reset(self, site, index, plain):
        self.given_up[site.me.run, index] = site.steps
        return plain()

    def owed_to(self, state, index):
        """Tokens that ``state`` must tell, and by run what of it was merged in its history."""
        told, last, digest = 0, {}, state.digest
        while digest in self.came:
            digest, tokens, merged = self.came[digest]
            told += tokens
            for run, number in merged.values():
                assert number <= last.get(run, number)  # never an older one after a newer one
                last.setdefault(run, number)
        delivered = {run: self.trained[run, index, number] for run, number in last.items()}
        return told, delivered


def change(network, account, verb, pair, names=SITES):
    """``kill`` brings back who is dead, with parameters that nobody must average."""
    one = pair[0]
    if verb in ("sever", "mend"):
        getattr(network, verb)(*pair)
    elif one not in network.sites:
        again = account.attempts[one] = account.attempts.get(one, 1) + 1
        account.watch(network.add(one, names.index(one), again, start=500.0))
    elif network.others_know(one):
        network.kill(one)


def lived(size, count, changes, names=SITES, options=PLAIN_OPTIONS):
    """A network after these changes, healed and settled, and the account of it."""
    account = Account()
    with account.kept():
        network = Network(*names[:size], count=count, options=options)
        for site in network.sites.values():
            account.watch(site)
        network.run(3.0)
        for verb, pair, pause in changes:
            if set(pair) <= set(names[:size]):
                change(network, account, verb, pair, names)
                network.run(pause)
        network.heal()
        network.run(4.0)
        network.settle(6.0)
    return network, account


def assert_exact(network, account):
    """All are on one model, which tells every step of the living and what the dead delivered."""
    assert len(network.digests()) == 1
    for site in network.sites.values():
        for index, state in enumerate(site.fragments.states):
            told, delivered = account.owed_to(state, index)
            assert state.tokens == told == sum(delivered.values())
            steps = site.steps - account.given_up.get((site.me.run, index), 0)
            assert (delivered.get(site.me.run, 0), site.replicas[index].pending) == (steps, 0)


PAIRS = st.tuples(st.sampled_from(SITES), st.sampled_from(SITES)).filter(lambda p: p[0] != p[1])
PAUSES = st.sampled_from([0.1, 0.3, 1.0, 3.0])
VERBS = st.sampled_from(["sever", "sever", "sever", "mend", "kill"])
CHANGES = st.lists(st.tuples(VERBS, PAIRS, PAUSES), max_size=10)


@given(st.integers(3, 5), st.integers(1, 3), CHANGES)
@settings(max_examples=20)
def test_whatever_is_cut_and_killed_the_account_is_exact(size, count, changes):
    assert_exact(*lived(size, count, changes))


MANY = "abcdefghi"
PAIR_OF_MANY = st.tuples(st.sampled_from(MANY), st.sampled_from(MANY)).filter(
    lambda p: p[0] != p[1]
)


@given(st.integers(5, 9), st.integers(1, 2), st.lists(st.tuples(VERBS, PAIR_OF_MANY, PAUSES)))
@settings(max_examples=20)
def test_with_two_levels_the_account_is_exact_as_well(size, count, changes):
    options = replace(PLAIN_OPTIONS, one_level=3)
    assert_exact(*lived(size, count, changes[:10], MANY, options))


def test_contributions_that_overlap_are_not_counted_twice():
    """Two histories have merged other contributions of one site, one of which holds the other."""
    cuts = [("sever", "ab", 3.0), ("mend", "ab", 0.3), ("sever", "ab", 1.0), ("sever", "ad", 3.0)]
    network, account = lived(4, 3, cuts)
    assert_exact(network, account)
    trained = sum(site.steps for site in network.sites.values())
    assert [state.tokens for state in network.sites["a"].fragments.states] == [trained] * 3


def assert_shelved_once(network):
    """Each sample is at one place, and those that are in the model are as many as its tokens."""
    for site in network.sites.values():
        state = site.rounds.state
        if state.shelf is not None:
            places = [state.shelf.back, *(lease.ranges for lease in state.shelf.leases.values())]
            placed = [n for ranges in places for start, stop in ranges for n in range(start, stop)]
            assert len(placed) == len(set(placed))
            assert all(number < state.shelf.cursor for number in placed)
            assert state.tokens == state.shelf.done


def dealt(size, count, changes, samples):
    """A network that goes through all samples once, whatever happens, once all are back."""
    account, network = Account(), Network(*SITES[:size], count=count, samples=samples)
    network.run(3.0)
    for verb, pair, pause in changes:
        if set(pair) <= set(SITES[:size]):
            change(network, account, verb, pair)
            network.run(pause)
            assert_shelved_once(network)
    network.heal()
    for name in sorted(set(SITES[:size]) - network.sites.keys()):
        change(network, account, "kill", name)
    for _ in range(30):
        network.run(3.0)
        assert_shelved_once(network)
        if all(site.rounds.state.tokens == samples for site in network.sites.values()):
            break
    network.settle(6.0)
    return network


@given(st.integers(3, 5), st.integers(1, 3), CHANGES, st.sampled_from([200, 600]))
@settings(max_examples=8)
def test_each_sample_is_in_the_model_once(size, count, changes, samples):
    network = dealt(size, count, changes, samples)
    assert_shelved_once(network)
    assert len(network.digests()) == 1
    shelf = network.state().shelf
    assert (network.state().tokens, shelf.cursor, shelf.done) == (samples, samples, samples)
