"""Data over several connections to one peer: in order, and control is not held up by it."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import Party, address

from skep.train.channel import Traffic
from skep.train.frames import FrameError, Kind, Message
from skep.train.wire import Wire


@pytest.fixture
def party():
    made = Party()
    yield made
    for exchange in made.made:
        exchange.stop()


async def pair(server, ends):
    """Two wires that are connected with each other, ready for data."""
    host, port = server.sockets[0].getsockname()
    here = Wire(*await asyncio.open_connection(host, port), Traffic())
    while not ends:
        await asyncio.sleep(0.005)
    there = Wire(*ends.pop(), Traffic())
    there.traffic = there._channel._traffic
    for wire in (here, there):
        wire.open(1 << 24)
    return here, there


async def wires(lanes):
    ends = []
    server = await asyncio.start_server(lambda *streams: ends.append(streams), "127.0.0.1", 0)
    here, there = await pair(server, ends)
    extra = [await pair(server, ends) for _ in range(lanes)]
    for near, far in extra:
        here.add(near)
        there.add(far)
    work = [here.pump(), there.pump(), *(here.pump_lane(near) for near, _ in extra)]
    return here, there, extra, [asyncio.ensure_future(one) for one in work]


def test_data_arrives_in_order_over_all_lanes_and_calls_pass_it():
    async def scene():
        here, there, extra, tasks = await wires(3)
        sent = [Message(Kind.RESULT, {"n": n}, bytes(1 << 20)) for n in range(8)]
        for message in sent:
            here.put(message)
        here.put(Message(Kind.CALL, {"n": 0}))
        first = await asyncio.wait_for(there.receive(), 10)  # nobody reads the lanes yet
        got = []

        async def read(far):
            while len(got) < len(sent):
                got.extend(await there.receive_on(far))

        readers = [asyncio.ensure_future(read(far)) for _, far in extra]
        acknowledged = asyncio.ensure_future(here.receive())
        async with asyncio.timeout(20):
            while len(got) < len(sent):
                await asyncio.sleep(0.01)
        passed = [far.traffic.received for _, far in extra]
        for task in (*tasks, *readers, acknowledged):
            task.cancel()
        here.abort()
        there.abort()
        return first, got, sent, passed

    first, got, sent, passed = asyncio.run(scene())
    assert first == Message(Kind.CALL, {"n": 0})
    assert got == sent
    assert min(passed) > 1 << 20


def test_nothing_but_data_may_come_on_a_lane():
    async def scene():
        _, there, ((near, far),), tasks = await wires(1)
        await near.send(Message(Kind.CALL, {}))
        with pytest.raises(FrameError, match="CALL on a connection for data"):
            await asyncio.wait_for(there.receive_on(far), 10)
        for task in tasks:
            task.cancel()

    asyncio.run(scene())


def lanes_of(exchange, site):
    peer = exchange._mesh.peers.get(site)
    return len(peer.wire.lanes) if peer is not None else -1


def test_a_site_opens_the_connections_that_are_set_and_opens_them_anew(party):
    a = party.site("a")
    b = party.site("b", peers={"a": address(a)}, listen=False, streams=3)
    party.wait(lambda: lanes_of(a, "b") == lanes_of(b, "a") == 3)
    before = a._mesh.peers["b"]
    b._loop.call_soon_threadsafe(b._mesh.peers["a"].wire.lanes[1].abort)
    party.wait(lambda: a._mesh.peers.get("b") not in (None, before))
    party.wait(lambda: lanes_of(a, "b") == lanes_of(b, "a") == 3)
    c = party.site("c", peers={"a": address(a)}, listen=False)
    party.wait(lambda: "c" in a.sites)
    assert lanes_of(c, "a") == 0
    assert (b.lanes["a"], c.lanes["a"]) == (3, 1)
    assert "data to a goes over 3 connections of 3, as set" in party.texts("b")
