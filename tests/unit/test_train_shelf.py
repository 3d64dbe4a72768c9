"""Samples are handed out once, come back when a site dies, and are done once: whatever happens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.shelf import (
    SILENT,
    Shelf,
    Want,
    allowed,
    first,
    minus,
    ranges_from,
    settle,
    shelf_from,
    size,
    tidy,
)

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6).map(
    lambda pairs: tidy((min(p), max(p)) for p in pairs)
)


def positions(ranges):
    return [p for start, stop in ranges for p in range(start, stop)]


@given(RANGES, RANGES, st.integers(0, 50))
def test_ranges_are_sets_of_positions(one, other, count):
    assert positions(minus(one, other)) == sorted(set(positions(one)) - set(positions(other)))
    assert positions(tidy((*one, *other))) == sorted({*positions(one), *positions(other)})
    assert positions(first(one, count)) == positions(one)[:count]
    assert size(one) == len(positions(one))
    assert ranges_from([list(pair) for pair in one]) == one


def test_a_lease_is_trained_merged_and_filled_up():
    shelf = settle(None, {"a": Want("r1", ahead=10, total=100), "b": Want("r1", (), 5, 100)}, 1)
    assert shelf.leased("a") == ((0, 10),)
    assert shelf.leased("b") == ((10, 15),)
    shelf = settle(shelf, {"a": Want("r1", ((0, 4),), 10, 100)}, 2)
    assert shelf.leased("a") == ((4, 10), (15, 19))
    assert shelf.done == 4
    assert shelf_from(shelf.fields()) == shelf
    assert settle(None, {"a": Want("r1")}, 1) is None


def test_what_a_dead_run_has_not_trained_comes_back():
    shelf = settle(None, {"a": Want("r1", ahead=10, total=100)}, 1)
    shelf = settle(shelf, {"a": Want("r2", ((0, 3),), 0, 100)}, 2)  # it resumed with three
    assert shelf.back == ((3, 10),)
    shelf = settle(shelf, {"b": Want("r1", ahead=8, total=100)}, 3)
    assert shelf.leased("b") == ((3, 11),)


def test_what_a_silent_site_holds_comes_back_and_it_may_not_use_it_any_more():
    shelf = settle(None, {"a": Want("r1", (), 10, 100), "b": Want("r1", (), 10, 100)}, 1)
    late = Want("r1", ((0, 10),), 10, 100)
    assert allowed(shelf, "a", late)
    shelf = settle(shelf, {"b": Want("r1", (), 20, 100)}, 2 + SILENT)
    assert shelf.leased("b") == ((0, 20),)
    assert not allowed(shelf, "a", late)


def test_a_pass_is_over_when_all_its_samples_are_done():
    shelf = settle(None, {"a": Want("r1", (), 100, 10)}, 1)
    assert not shelf.over(10)
    for number in range(2, 19):
        shelf = settle(shelf, {"a": Want("r1", shelf.leased("a"), 100, 10)}, number)
    assert shelf.over(10)
    assert shelf.done == 10
    assert not shelf.over(20)


SITES = "abc"
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["train", "merge", "die", "quiet"]),
        st.sampled_from(SITES),
        st.integers(1, 9),
    ),
    max_size=60,
)
TOTAL = 60


class Account:
    """Three sites, and every position that was merged."""

    def __init__(self):
        self.shelf, self.number, self.merged = None, 0, []
        self.runs, self.used = dict.fromkeys(SITES, 1), dict.fromkeys(SITES, ())

    def want(self, site, count):
        return Want(f"r{self.runs[site]}", self.used[site], count, TOTAL)

    def merge(self, sites, count):
        self.number += 1
        wants = {site: self.want(site, count) for site in sites}
        fit = {s: want for s, want in wants.items() if allowed(self.shelf, s, want)}
        self.shelf = settle(self.shelf, fit, self.number)
        self.merged += [p for want in fit.values() for p in positions(want.used)]
        self.used |= dict.fromkeys(sites, ())  # merged, or refused: back to the anchor

    def train(self, site, count):
        lease = self.shelf.leases.get(site) if self.shelf else None
        if lease and lease.run == f"r{self.runs[site]}":
            new = first(minus(lease.ranges, self.used[site]), count)
            self.used[site] = tidy((*self.used[site], *new))

    def act(self, what, site, count):
        if what == "train":
            self.train(site, count)
        elif what == "merge":
            self.merge([site], count)
        elif what == "quiet":
            self.number += 30
        else:
            self.runs[site], self.used[site] = self.runs[site] + 1, ()


@given(ACTS)
@settings(max_examples=100, deadline=None)
def test_each_sample_is_merged_once_and_none_is_lost(acts):
    account = Account()
    for act in acts:
        account.act(*act)
        assert len(set(account.merged)) == len(account.merged)
        assert (account.shelf or Shelf()).done == len(account.merged)
    for _ in range(200):
        account.merge(SITES, 7)
        for site in SITES:
            account.train(site, 9)
    assert sorted(account.merged) == list(range(TOTAL))
