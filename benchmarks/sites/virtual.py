"""Sites in one process on a virtual clock: the product's own training library, no sockets.

Each site is a thread that runs an ordinary training loop inside ``skep.train``'s own ``Run``; one
thread runs at a time, and whoever sleeps hands over to the world, so a run is the same each time.
Virtual are the clock, the chip (a step sleeps) and the network: latency, a rate per site and
direction, cuts (silent, as without a reset), kills, damaged messages. Around links that are cut go
the ways that the product's ``routes`` finds, over two links each.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ways import VirtualAround

from skep.train import exchange as exchange_module
from skep.train import run as run_module
from skep.train import supply as supply_module
from skep.train.exchange import TICK_S, Exchange
from skep.train.frames import Message
from skep.train.mesh import SILENCE_S
from skep.train.wire import Traffic, in_order

HEAD_BYTES = 200  # of a message beside its payload: head, fields, tag


class Killed(BaseException):
    """The site's processes are gone at once."""


@dataclass
class Seat:
    """One site's thread and what the world knows of it."""

    name: str
    rate: float | None = None  # bytes per second, each way; None: as fast as you like
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    thread: threading.Thread | None = None
    exchange: VirtualExchange | None = None
    dead: bool = False  # to be killed at its next breath
    over: bool = True
    failure: BaseException | None = None
    slower: float = 1.0  # times as long as usual for a step
    up_free: float = 0.0
    down_free: float = 0.0


class VirtualMesh:
    """What ``Exchange`` needs of a mesh."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name, self.traffic, self.relayed = world, name, Traffic(), 0
        self.around = VirtualAround(world, name)

    def send(self, site: str, message: Message) -> None:
        self._world.send(self._name, site, message)

    def lanes(self) -> dict[str, int]:
        return {}

    def receiving(self, moving: bool = False) -> bool:  # noqa: ARG002
        return False

    def learn(self, site: str, address: str) -> None:
        """Everybody knows everybody here."""

    def rates(self) -> dict[str, float]:
        rate = self._world.seats[self._name].rate
        others = self._world.seats if rate else {}
        return {name: float(rate or 0.0) for name in others if name != self._name}


class VirtualExchange(Exchange):
    """The product's exchange, with the world in place of sockets and thread."""

    def __init__(self, world: World, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._loop.close()
        self.world = world
        self._mesh = VirtualMesh(world, self.me.site)  # type: ignore[assignment]

    def start(self) -> None:
        self.world.enter(self)

    def stop(self) -> None:
        self.world.leave(self.me.site, self, on_purpose=True)

    def wait(self, seconds: float) -> None:
        self.world.sleep(seconds)

    def _soon(self, work: Callable[[float], object]) -> None:
        work(self.world.now)
        self._flush()

    def tick(self) -> None:
        self._rounds.rates = self._mesh.rates()
        self._mesh.around.look(self.world.now)  # type: ignore[attr-defined]
        self._rounds.sees = self._mesh.around.direct()
        self._rounds.tick(self.world.now)
        self._flush()


class World:
    """Clock, agenda, links. Times in virtual seconds."""

    def __init__(self, latency_s: float = 0.02) -> None:
        self.now, self.latency_s = 0.0, latency_s
        self.seats: dict[str, Seat] = {}
        self.cut: set[frozenset[str]] = set()
        self.ways: dict[frozenset[str], str] = {}  # by way of whom two sites are connected
        self.refused = 0  # messages that were not of the protocol
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._back = threading.Semaphore(0)
        self._current: Seat | None = None
        self._apart: set[frozenset[str]] = set()  # cut for so long that both have noticed
        self._lost: dict[tuple[str, str], int] = {}  # a connection's number; older ones are lost
        self._began: dict[frozenset[str], float] = {}  # of the cuts
        self._held: dict[tuple[str, str], list[Message]] = {}  # TCP sends it when the link is back

    # -- for the bench ----------------------------------------------------------------------

    def at(self, when: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (max(when, self.now), next(self._count), work))

    def start(self, name: str, loop: Callable[[], None], rate: float | None = None) -> None:
        """Run ``loop`` as site ``name``."""
        old = self.seats.get(name)
        seat = self.seats[name] = Seat(name, rate if rate or not old else old.rate, over=False)

        def body() -> None:
            seat.go.acquire()
            try:
                if not seat.dead:
                    loop()
            except Killed:
                pass
            except BaseException as error:
                seat.failure = error
            seat.over = True
            self._back.release()

        seat.thread = threading.Thread(target=body, name=name, daemon=True)
        seat.thread.start()
        self.at(self.now, lambda: self._resume(seat))

    def kill(self, name: str) -> None:
        """Kill -9: the others see their connections reset."""
        seat = self.seats[name]
        seat.dead = True
        if seat.exchange is not None:
            self.leave(name, seat.exchange, on_purpose=False)

    def part(self, one: str, other: str) -> None:
        """The link goes silent; both give the peer up after a while."""
        pair = frozenset((one, other))
        self.cut.add(pair)
        began = self._began[pair] = self.now
        self.at(began + SILENCE_S, lambda: self._notice(pair, began))

    def heal(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        self.cut.discard(pair)
        if pair in self._apart:
            self._apart.discard(pair)
            self.ways.pop(pair, None)
            self._connect(one, other)
        for way in list(self._held):
            if pair in self._links(*way):
                for message in self._held.pop(way, ()):
                    self.send(*way, message)

    def damage(self, one: str, other: str) -> None:
        """A frame arrives damaged: the connection is given up and dialled anew."""
        self.ways.pop(frozenset((one, other)), None)
        self._break(one, other)
        self._disconnect(one, other, on_purpose=False)
        self.at(self.now + 0.2, lambda: self._connect(one, other))

    def run(self, until: float = float("inf")) -> None:
        """Until ``until``, or until all sites have ended."""
        fake = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        make = lambda *arguments: VirtualExchange(self, *arguments)  # noqa: E731
        with (
            mock.patch.object(run_module, "time", fake),
            mock.patch.object(exchange_module, "time", fake),
            mock.patch.object(supply_module, "time", fake),
            mock.patch.object(run_module, "Exchange", make),
        ):
            while self._agenda and self._agenda[0][0] <= until:
                if all(seat.over for seat in self.seats.values()):
                    return
                self.now, _, work = heapq.heappop(self._agenda)
                work()

    def sleep(self, seconds: float) -> None:
        """For a site: hand over for so many virtual seconds."""
        seat = self._current
        assert seat is not None
        self.at(self.now + max(seconds, 0.0), lambda: self._resume(seat))
        self._back.release()
        seat.go.acquire()
        if seat.dead:
            raise Killed

    def step(self, seconds: float) -> None:
        """For a site: the time that its chip needs for a step."""
        assert self._current is not None
        self.sleep(seconds * self._current.slower)

    # -- inside -----------------------------------------------------------------------------

    def _resume(self, seat: Seat) -> None:
        if seat.over:
            return
        self._current = seat
        seat.go.release()
        self._back.acquire()
        self._current = None

    def _linked(self) -> Iterator[tuple[str, VirtualExchange]]:
        for name, seat in self.seats.items():
            if seat.exchange is not None:
                yield name, seat.exchange

    def enter(self, made: VirtualExchange) -> None:
        name = made.me.site
        others = [other for other, _ in self._linked() if other != name]
        self.seats[name].exchange = made
        for other in others:
            self._connect(name, other)
        self.at(self.now, lambda: self._tick(name, made))

    def leave(self, name: str, made: VirtualExchange, on_purpose: bool) -> None:
        seat = self.seats[name]
        if seat.exchange is not made:
            return
        # what was queued is delivered to those who are left; then they see the connection end
        gone = max(seat.up_free, self.now) if on_purpose else self.now
        others = [other for other, _ in self._linked() if other != name]
        seat.exchange = None
        for other in others:
            self._break(name, other)
        for other in others:
            around = self.ways.pop(frozenset((name, other)), None)
            if frozenset((name, other)) not in self._apart or around:
                when = gone + 2 * self.latency_s if on_purpose else self.now
                self.at(when, lambda o=other: self._left(o, made, on_purpose))
            if not on_purpose:
                self._lose(name, other)

    def _left(self, other: str, made: VirtualExchange, on_purpose: bool) -> None:
        there = self.seats[other].exchange
        if there is not None and self.seats[made.me.site].exchange is None:
            there.left(made.me, on_purpose)

    def _tick(self, name: str, made: VirtualExchange) -> None:
        if self.seats[name].exchange is made:
            made.tick()
            self.at(self.now + TICK_S, lambda: self._tick(name, made))

    def _connect(self, one: str, other: str) -> None:
        a, b = self.seats[one].exchange, self.seats[other].exchange
        pair = frozenset((one, other))
        if a is None or b is None:
            return
        if pair in self.cut:
            self._apart.add(pair)
            return
        self._join(one, other)

    def _join(self, one: str, other: str) -> None:
        a, b = self.seats[one].exchange, self.seats[other].exchange
        assert a is not None
        assert b is not None
        self._lose(one, other)
        a.joined(b.me)
        b.joined(a.me)

    def _disconnect(self, one: str, other: str, on_purpose: bool) -> None:
        self._lose(one, other)
        a, b = self.seats[one].exchange, self.seats[other].exchange
        if a is not None and b is not None:
            a.left(b.me, on_purpose)
            b.left(a.me, on_purpose)

    def _notice(self, pair: frozenset[str], began: float) -> None:
        if pair in self.cut and self._began.get(pair) == began and pair not in self._apart:
            self._apart.add(pair)
            self._disconnect(*sorted(pair), on_purpose=False)
            self._break(*pair)

    def _lose(self, one: str, other: str) -> None:
        for way in ((one, other), (other, one)):
            self._lost[way] = self._lost.get(way, 0) + 1
            self._held.pop(way, None)

    # -- ways around ------------------------------------------------------------------------

    def seen_by(self, name: str) -> list[str]:
        """The sites with which ``name`` believes to have a connection of its own."""
        others = (other for other, _ in self._linked() if other != name)
        return [other for other in others if frozenset((name, other)) not in self._apart]

    def go_around(self, one: str, other: str, via: str) -> None:
        """``one`` greets ``other`` by way of ``via``."""
        self.at(self.now + 8 * self.latency_s, lambda: self._go_around(one, other, via))

    def _go_around(self, one: str, other: str, via: str) -> None:
        pair, legs = frozenset((one, other)), [frozenset((one, via)), frozenset((via, other))]
        there = all(self.seats[name].exchange is not None for name in (one, other, via))
        blocked = any(leg in self.cut or leg in self._apart for leg in legs)
        if pair in self._apart and pair not in self.ways and there and not blocked:
            self.ways[pair] = via
            self._join(one, other)

    def _links(self, one: str, other: str) -> list[frozenset[str]]:
        """The links between two sites."""
        via = self.ways.get(frozenset((one, other)))
        if via is None:
            return [frozenset((one, other))]
        return [frozenset((one, via)), frozenset((via, other))]

    def _break(self, one: str, other: str) -> None:
        """The connection between two is gone, and what went through it."""
        for pair in list(self.ways):
            if frozenset((one, other)) in self._links(*pair):
                del self.ways[pair]
                self._disconnect(*sorted(pair), on_purpose=False)

    # -- messages ---------------------------------------------------------------------------

    def send(self, sender: str, to: str, message: Message) -> None:
        way, pair = (sender, to), frozenset((sender, to))
        if self.seats.get(to) is None or self.seats[sender].exchange is None:
            return
        if pair in self.ways:
            self._hop(way, [sender, self.ways[pair], to], self._lost.get(way, 0), message)
        elif pair not in self._apart:
            self._hop(way, [sender, to], self._lost.get(way, 0), message)

    def _hop(self, way: tuple[str, str], stops: list[str], number: int, message: Message) -> None:
        """From the first to the second of the ``stops`` that are left."""
        seat, peer = self.seats[stops[0]], self.seats[stops[1]]
        size = len(message.payload) + HEAD_BYTES
        if seat.exchange is not None:
            seat.exchange._mesh.traffic.sent += size
        when = self.now + self.latency_s
        if in_order(message):
            seat.up_free = max(seat.up_free, self.now) + size / (seat.rate or float("inf"))
            peer.down_free = max(peer.down_free, seat.up_free) + (
                0.0 if peer.rate is None or seat.rate == peer.rate else size / peer.rate
            )
            when = max(seat.up_free, peer.down_free) + self.latency_s
        self.at(when, lambda: self._arrive(way, stops, number, message))

    def _arrive(
        self, way: tuple[str, str], stops: list[str], number: int, message: Message
    ) -> None:
        """At the second of the ``stops``."""
        there = self.seats[stops[1]].exchange
        if number != self._lost.get(way, 0) or there is None:
            return
        if frozenset(stops[:2]) in self.cut:
            self._held.setdefault(way, []).append(message)
        elif len(stops) > 2:
            there._mesh.around.tunnels.passed += len(message.payload) + HEAD_BYTES
            self._hop(way, stops[1:], number, message)
        else:
            self._deliver(way, there, message)

    def _deliver(self, way: tuple[str, str], there: VirtualExchange, message: Message) -> None:
        try:
            there.received(way[0], message)
        except (ValueError, KeyError, TypeError):  # as the mesh does: given up, dialled anew
            self.refused += 1
            self.damage(*way)
