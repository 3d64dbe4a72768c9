"""Connections by way of a third site: who may say what, what is bounded, what ends with what."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from skep.train import tunnels
from skep.train.frames import HEAD, PLACE, Kind, Message, body_of, parse_head, parse_message
from skep.train.outgoing import OWN, Outgoing
from skep.train.tunnels import EARLY, HELD, PIECE, Name, Tunnels

OPEN = {"why": "the direct link is down"}


class Link:
    """A wire to one site: what was put on it."""

    def __init__(self):
        self.said, self.behind, self.crowded = [], [], False
        self.window = SimpleNamespace(rate=None)

    def put(self, message):
        self.said.append(message)

    def carry(self, message, gone):
        self.behind.append((message, gone))

    @property
    def carried(self):
        return sum(len(message.payload) for message, _ in self.behind)


class Site:
    """One site's tunnels, with links to others."""

    def __init__(self, name, *others):
        self.links = {other: Link() for other in others}
        self.greeted, self.told = [], []
        self.tunnels = Tunnels(name, self)

    def carrier(self, site):
        return self.links.get(site)

    def arrived(self, streams, via, why):
        self.greeted.append((streams, via, why))

    def tell(self, who, text):
        self.told.append(text)


def via(origin, to, payload=b"", lane=0, **more):
    fields = {"from": origin, "to": to, "link": "x", "lane": lane} | more
    return Message(Kind.VIA, fields, payload)


def relayed(*sites):
    """Hand on what the sites have said, until nobody says anything."""
    by_name = {site.tunnels._me: site for site in sites}
    while any(link.said or link.behind for site in sites for link in site.links.values()):
        for site in sites:
            for other, link in site.links.items():
                said, link.said = link.said, []
                behind, link.behind = link.behind, []
                for message in said:
                    by_name[other].tunnels.take(site.tunnels._me, message)
                for message, gone in behind:
                    gone()
                    by_name[other].tunnels.take(site.tunnels._me, message)


def scene(work):
    async def run():
        await work()

    asyncio.run(run())


@pytest.mark.parametrize("lane", [0, 1])
def test_bytes_go_both_ways_in_order_and_a_closed_end_closes_the_other(lane):
    async def work():
        a, b, c = Site("a", "c"), Site("b", "c"), Site("c", "a", "b")
        near = a.tunnels.open("c", Name("b", "x", lane), "it is down")
        relayed(a, b, c)
        ((far, through, why),) = b.greeted
        assert (through, why) == ("c", "it is down")
        sent = bytes(itertools.islice(itertools.cycle(range(251)), 3 * PIECE))
        near[1].write(sent)
        far[1].write(b"back")
        relayed(a, b, c)
        assert await far[0].readexactly(len(sent)) == sent
        assert await near[0].readexactly(4) == b"back"
        assert c.tunnels.passed == len(sent) + 4
        assert c.told == ["passes on between a and b: it is down"] * (lane == 0)
        near[1].close()
        relayed(a, b, c)
        assert await far[0].read() == b""
        with pytest.raises(ConnectionError):
            await far[1].drain()
        assert not any((a.tunnels._ends, b.tunnels._ends, c.tunnels._passing))

    scene(work)


@pytest.mark.parametrize(
    ("me", "sender", "message"),
    [
        ("c", "a", via("b", "d")),  # in another one's name
        ("c", "a", via("a", "c")),  # to itself by way of itself
        ("b", "a", via("a", "b")),
        ("d", "c", via("a", "b")),  # passed on a second time
        ("c", "a", Message(Kind.VIA, {})),
        ("c", "a", via("a", "b", lane="?")),
    ],
)
def test_what_may_not_come_from_a_site_is_refused(me, sender, message):
    async def work():
        site = Site(me, "a", "b", "c", "d")
        with pytest.raises((ValueError, KeyError)):
            site.tunnels.take(sender, message)
        assert not any(link.said or link.behind for link in site.links.values())

    scene(work)


def test_pieces_that_come_by_another_way_are_not_taken():
    async def work():
        b = Site("b", "c", "d")
        b.tunnels.take("c", via("a", "b", **OPEN))
        b.tunnels.take("d", via("a", "b", b"false"))
        b.tunnels.take("d", via("a", "b", end=True))
        b.tunnels.take("c", via("a", "b", b"true"))
        (streams, _, _) = b.greeted[0]
        assert await streams[0].readexactly(4) == b"true"

    scene(work)


def test_who_cannot_pass_on_says_so():
    async def work():
        a, c = Site("a", "c"), Site("c", "a")
        near = a.tunnels.open("c", Name("b", "x", 0), "it is down")
        relayed(a, c)
        assert await near[0].read() == b""
        with pytest.raises(ConnectionError):
            a.tunnels.open("d", Name("b", "x", 0), "it is down")

    scene(work)


def test_what_nobody_opened_is_answered_with_its_end():
    async def work():
        b = Site("b", "c")
        b.tunnels.take("c", via("a", "b", b"late"))
        (answer,) = b.links["c"].said
        assert answer.fields == via("b", "a", end=True).fields

    scene(work)


def test_what_waits_for_a_slow_link_is_bounded_and_told_at_both_ends(monkeypatch):
    monkeypatch.setattr(tunnels, "CARRIED", 3 * PIECE)

    async def work():
        c = Site("c", "a", "b")
        for _ in range(20):
            c.tunnels.take("a", via("a", "b", bytes(PIECE), lane=1, data=True))
        assert len(c.links["b"].behind) == 4
        assert c.tunnels.passed == 4 * PIECE
        assert c.links["a"].said[0].fields == via("b", "a", lane=1, end=True).fields
        assert c.links["b"].said[0].fields == via("a", "b", lane=1, end=True).fields
        c.links["b"].window.rate = 10.0 * PIECE  # a faster link may have more on its way
        c.tunnels.take("a", via("a", "b", bytes(PIECE), lane=1, data=True))
        assert len(c.links["b"].behind) == 5
        c.links["b"].crowded = True
        c.tunnels.take("a", via("a", "b", b"a call", lane=0))
        assert c.tunnels.passed == 5 * PIECE

    scene(work)


def test_an_end_hands_over_no_more_than_leaves():
    async def work():
        a = Site("a", "c")
        near = a.tunnels.open("c", Name("b", "x", 1), "it is down")
        a.links["c"].behind.clear()
        near[1].write(bytes(EARLY))  # as control
        near[1].write(bytes(HELD + 1))
        drained = asyncio.ensure_future(near[1].drain())
        await asyncio.sleep(0)
        assert not drained.done()
        for _, gone in a.links["c"].behind:
            gone()
        await drained

    scene(work)


def test_a_connection_that_is_lost_takes_along_what_went_through_it():
    async def work():
        a, b, c = Site("a", "c", "d"), Site("b", "c"), Site("c", "a", "b")
        near = a.tunnels.open("c", Name("b", "x", 0), "it is down")
        relayed(a, b, c)
        assert [a.tunnels.uses(other) for other in "cd"] == [True, False]
        assert [c.tunnels.uses(other) for other in "ab"] == [True, True]
        c.tunnels.lost("a")  # b hears of it
        a.tunnels.lost("c")
        relayed(b, c)
        assert await b.greeted[0][0][0].read() == await near[0].read() == b""
        assert not any(site.tunnels.uses(other) for site in (a, b, c) for other in "abc")

    scene(work)


def frames(queue):
    """What the next frames are: own, or of others."""
    while queue:
        frame = queue.next()
        if frame is not None:
            head = parse_head(frame[: HEAD.size], 1 << 20)
            yield head, frame[HEAD.size :]


def test_own_data_goes_first_and_does_not_keep_others_waiting_for_ever():
    queue, gone = Outgoing(), []
    for number in range(4):
        queue.carry(body_of(via("a", "b", bytes([number]))), lambda: gone.append(1))
    for _ in range(9):
        queue.put(Message(Kind.PART, {}, b"own"))
    assert (len(queue), queue.carried > 0) == (9, True)
    found = list(frames(queue))
    assert [head.kind is Kind.VIA for head, _ in found] == ([False] * OWN + [True]) * 3 + [True]
    places = [PLACE.unpack_from(body)[0] for _, body in found]
    assert places == list(range(13))
    carried = [
        parse_message(Kind.VIA, body[PLACE.size :]) for h, body in found if h.kind is Kind.VIA
    ]
    assert [message.payload for message in carried] == [bytes([number]) for number in range(4)]
    assert (len(gone), queue.carried, bool(queue)) == (4, 0, False)
