"""Two sites that do not see each other reach each other by way of a third. Real sockets."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import address, free_port

from skep.train import peer, routes
from skep.train.routes import Routes, Way


def nowhere():
    """An address that refuses."""
    return f"127.0.0.1:{free_port()}"


def three(party, **how):
    """``c`` dials both and cannot be dialled, ``a`` and ``b`` are refused by each other."""
    a = party.site("a", peers={"b": nowhere()}, **how)
    b = party.site("b", peers={"a": nowhere()}, **how)
    return a, b, third(party, a, b, **how)


def third(party, a, b, **how):
    return party.site("c", peers={"a": address(a), "b": address(b)}, listen=False, **how)


def all_see_all(*sites):
    names = sorted(site.me.site for site in sites)
    return all(sorted([*site.sites, site.me.site]) == names for site in sites)


@pytest.mark.parametrize("how", [{}, {"plain": "to see that it works without TLS as well"}])
def test_sites_that_refuse_each_other_are_connected_by_way_of_one_that_sees_both(party, how):
    a, b, c = three(party, **how)
    party.wait(lambda: all_see_all(a, b, c))
    assert (a.ways, b.ways, c.ways) == ({"b": "c"}, {"a": "c"}, {})
    party.wait(lambda: c.forwarded > 2000)
    assert a.forwarded == b.forwarded == 0
    assert "a to b by way of c: the direct link is down" in party.texts("a")
    assert "b to a by way of c: the direct link is down" in party.texts("b")
    assert "passes on between a and b: the direct link is down" in party.texts("c")


def test_the_site_between_goes_and_another_one_comes(party):
    a, b, c = three(party)
    party.wait(lambda: all_see_all(a, b, c))
    c.stop()
    party.wait(lambda: a.sites == b.sites == [])
    d = party.site("d", peers={"a": address(a), "b": address(b)}, listen=False)
    party.wait(lambda: all_see_all(a, b, d))
    assert a.ways == {"b": "d"}


def test_a_large_state_goes_through_and_nobody_is_lost_meanwhile(party):
    length = 1_000_000
    a, b, c = three(party, length=length)
    party.wait(lambda: all_see_all(a, b, c))
    asked = b._rounds.rounds[0]
    b._soon(lambda _: asked._fetch("a"))
    party.wait(lambda: c.forwarded > 4 * length)
    party.wait(lambda: not b.behind)
    assert all_see_all(a, b, c)
    assert not any(" left: " in text for _, text in party.events)


def test_the_direct_link_is_taken_again_when_it_is_back(party, monkeypatch):
    monkeypatch.setattr(routes, "DOWN_AGAIN_S", 0.5)
    a, b, c = three(party)
    party.wait(lambda: all_see_all(a, b, c) and a.ways == {"b": "c"})
    a.learn({"b": address(b)})
    party.wait(lambda: a.ways == b.ways == {} and all_see_all(a, b, c))
    assert "b is reached directly again" in party.texts("a")


def test_a_slow_link_is_left_for_a_way_around(party, monkeypatch):
    monkeypatch.setattr(peer, "FRESH_S", 0.0)
    looks = Routes.look

    def slow(self, now, direct, around):
        found = looks(self, now, direct, around)
        return {"b": Way("c", "as told")} if self.me == "a" and {"b", "c"} <= set(direct) else found

    b = party.site("b")
    a = party.site("a", peers={"b": address(b)})
    c = third(party, a, b)
    party.wait(lambda: all_see_all(a, b, c))
    monkeypatch.setattr(Routes, "look", slow)
    party.wait(lambda: (a.ways, b.ways) == ({"b": "c"}, {"a": "c"}))
    assert all_see_all(a, b, c)
    assert not any(text.startswith(("a left", "b left")) for _, text in party.events)


def test_sites_train_by_way_of_a_third_and_end_on_one_model(make):
    sites = make("a", "b", "c")
    blind = {"a": f"b={nowhere()}", "b": f"a={nowhere()}"}
    for name in "abc":
        env = {"SKEP_PEERS": blind[name]} if name in blind else {"SKEP_LISTEN": ""}
        sites.start(name, 120.0, env=env, until=sites.bell, join={"fragments": 2})
    sites.await_rounds("a", 3)
    while not any("by way of c" in line["text"] for line in sites.progress("a", "event")):
        sites.await_rounds("a", len(sites.progress("a", "round")) + 1)
    for name in "abc":
        sites.await_rounds(name, len(sites.progress(name, "round")) + 4)
    sites.ring()
    results = sites.results()
    assert len({result["digest"] for result in results}) == 1
    assert all(result["vector"] == results[0]["vector"] for result in results)
    assert results[0]["global_tokens"] == sum(result["tokens"] for result in results)
    assert results[2]["bytes_forwarded"] > results[0]["bytes_forwarded"] == 0
    for name in "abc":
        assert sites.progress(name, "round")[-1]["participants"] == 3
        told = [line["text"] for line in sites.progress(name, "event")]
        assert all(text.endswith("finished") for text in told if " left: " in text)
