"""The background thread: sockets and rounds run here, the training loop only polls and reports."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from skep.errors import InputError
from skep.runenv import parse_address
from skep.train.admission import Admission, Link
from skep.train.choice import DELAY_SHARE, Chosen
from skep.train.ending import Ending
from skep.train.fragments import Fragments
from skep.train.frames import Kind, Message
from skep.train.listening import beside
from skep.train.member import Member
from skep.train.mesh import FLUSH_S, Mesh
from skep.train.outer import OuterState
from skep.train.parts import Call, Local, Part
from skep.train.settings import Settings
from skep.train.tls import identity

TICK_S = 0.05
_WILDCARDS = ("0.0.0.0", "::", "*")


class Exchange:
    """The thread-safe face of one site's part in the exchange."""

    def __init__(
        self,
        chosen: Settings,
        states: Sequence[OuterState],
        signature: str,
        tell: Callable[[str], None],
        rail: tuple[int, int] = (0, 1),
    ) -> None:
        """``rail``: which rank of this site this is, of how many that exchange."""
        self._settings, self._tell = chosen, tell
        self._listen, self._socket = chosen.listen, None
        if chosen.listen and rail[0]:
            self._socket, self._listen = beside(chosen.listen, rail[0])
        listen = self._listen
        dialable = listen if listen and parse_address(listen)[0] not in _WILDCARDS else ""
        who = (chosen.site, chosen.rank, chosen.run)
        self.me = Member(*who, signature, dialable, chosen.seat, *rail)
        self._admission = Admission(gated=self.me.rails > 1)
        self._rails: dict[str, list[str]] = {}  # where the ranks of each site listen
        self._own_rails: list[str] = []
        limit = 8 * max(state.anchor.numel() for state in states) + (1 << 20)
        self._rounds = Fragments(self.me, states, chosen.options, time.monotonic())
        self._rounds.nudged = 0.0 if self.me.rail else None
        how = (chosen.token, chosen.proxy, limit, self, chosen.streams)
        self._mesh = Mesh(self.me, *how)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._news = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="skep-exchange", daemon=True)

    # -- from the training loop -------------------------------------------------------------

    def start(self) -> None:
        """Listen and dial. Raises ``InputError`` when it cannot listen there, or not encrypt."""
        if self._settings.plain:
            self._tell(f"links are not encrypted: {self._settings.plain}")
        else:
            self._mesh.encrypt(identity())
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise InputError("listen", self._listen, str(self._failure))

    @property
    def states(self) -> tuple[OuterState, ...]:
        """The newest state of each fragment."""
        return self._rounds.states

    @property
    def wanted(self) -> dict[int, Call]:
        return self._rounds.wanted

    @property
    def chosen(self) -> Chosen | None:
        """Codec and interval, with their reasons; None before the first tick."""
        return self._rounds.chosen

    @property
    def gain(self) -> float | None:
        """Rounds alone of the largest site that a common round is worth (``gauge``)."""
        return self._rounds.gauge.speed_up

    @property
    def times(self) -> float:
        """Tokens of all sites that average with this one over its own; 1 while alone."""
        return self._rounds.times

    @property
    def patience_s(self) -> float:
        """Seconds for which fragments of one snapshot that have come wait for the others."""
        return DELAY_SHARE * self.chosen.interval_s if self.chosen is not None else 0.0

    @property
    def finished(self) -> bool:
        return self._rounds.finished

    def over(self, ending: Ending) -> bool:
        """Whether this site, which has ended, has waited long enough for the last round."""
        last_s = self.chosen.interval_s + self.chosen.last_s if self.chosen is not None else 0.0
        together = self._rounds.all_end()
        return ending.over(time.monotonic(), together, self._mesh.receiving(moving=True), last_s)

    @property
    def sites(self) -> list[str]:
        """The peers that are connected now."""
        return sorted(self._rounds.views)

    @property
    def level(self) -> bool:
        """Whether this site is up to date and knows the same of all connected peers."""
        return self._rounds.level() and not self._rounds.behind()

    @property
    def behind(self) -> bool:
        return self._rounds.behind()

    def last_reports(self) -> list[Local]:
        """The last report of each site that ever was connected."""
        return list(self._rounds.reports.values())

    def peer_reports(self) -> list[Local]:
        """The newest report of each connected peer."""
        return [view.local for view in list(self._rounds.views.values())]

    def peer_rates(self) -> dict[str, float]:
        """Tokens per second of each connected peer, as it reports."""
        return {site: view.local.rate for site, view in list(self._rounds.views.items())}

    @property
    def sent(self) -> int:
        return self._mesh.traffic.sent

    @property
    def received_bytes(self) -> int:
        return self._mesh.traffic.received

    @property
    def lanes(self) -> dict[str, int]:
        """How many connections carry the data to each site."""
        return self._mesh.lanes()

    @property
    def relayed(self) -> int:
        """Bytes passed on between other sites."""
        return self._mesh.relayed

    @property
    def forwarded(self) -> int:
        """Bytes passed on between sites that reach each other by way of this one."""
        return self._mesh.around.tunnels.passed

    @property
    def ways(self) -> dict[str, str]:
        """The sites that are reached by way of another, and by which."""
        return self._mesh.around.ways()

    def report(self, local: Local, pending: Sequence[int]) -> None:
        """Tell the others, with the next beat, how this site is doing."""
        soon = local.finishing and not self._rounds.local.finishing
        self._rounds.report(local, pending)
        if soon:
            self._soon(lambda now: self._rounds.announce(now))

    def refused(self) -> list[int]:
        """Fragments of which this site's contribution was kept out: it goes back to the anchor."""
        return self._rounds.refused()

    def contribute(self, parts: Mapping[int, Part]) -> None:
        """Answer ``wanted``; all at once, as encoding competes with who still reads the others."""
        for index, part in parts.items():
            self._rounds.answers(index, part)
        self._offer(list(parts.items()))

    def _offer(self, parts: list[tuple[int, Part]]) -> None:
        def work(now: float) -> None:
            self._rounds.offered(*parts[0], now)
            self._offer(parts[1:])  # the first is under way while the next is encoded

        if parts:
            self._soon(work)

    def absorb(self, parts: Mapping[int, Part]) -> None:
        """Alone, at the end: the anchors become this site's own parameters."""
        self._done(lambda now: self._rounds.absorb(parts, now))

    def ready(self, expected: set[str]) -> bool:
        """Whether all expected peers are here and level, or training is under way."""
        here, begun = set(self.sites), any(state.round > 0 for state in self.states)
        if not here or not (begun or expected <= here):
            return False
        return not self.behind if begun else self.level

    # -- with several ranks that exchange: what they tell each other ------------------------

    @property
    def called_last(self) -> float:
        """When the last call of the first fragment was seen."""
        return self._rounds.rounds[0].called_last

    def nudge(self, now: float) -> None:
        """Rank 0 of this site has seen its rounds called: those here go with them."""
        self._rounds.nudged = now

    @property
    def listening(self) -> str:
        """Where this rail may be dialled: ``:port`` where the host is not known, "" nowhere."""
        return self.me.listen or (f":{parse_address(self._listen)[1]}" if self._listen else "")

    @property
    def changes(self) -> int:
        """Grows with whatever the other ranks have to hear of."""
        return self._admission.changes

    @property
    def links(self) -> frozenset[Link]:
        """Who is connected on this rail."""
        return self._admission.links()

    def admit(self, whole: Iterable[Link]) -> None:
        """Only these take part from here on: all ranks are connected to them."""
        runs = list(whole)
        self._soon(lambda now: self._admit(runs, now))

    @property
    def rails(self) -> dict[str, list[str]]:
        """By site where its ranks may be dialled, as their first rank told this one."""
        return {
            site: [self._at(site, address) for address in told]
            for site, told in list(self._rails.items())
        }

    def tell_rails(self, addresses: list[str]) -> None:
        """Where the ranks of this site listen, for those that connect with the first of them."""

        def work(_: float) -> None:
            self._own_rails = addresses
            for site in self._admission.linked:
                self._send_rails(site)

        self._soon(work)

    def learn(self, addresses: Mapping[str, str]) -> None:
        """Where this rail of other sites may be dialled."""

        def work(_: float) -> None:
            for site, address in addresses.items():
                self._mesh.moved(site, address)

        self._soon(work)

    def only_these(self) -> None:
        """The sites that are connected now are all that there are: their majority counts."""
        self._done(lambda _: self._rounds.only_these())

    def wait(self, seconds: float) -> None:
        """Sleep until something has happened, or for ``seconds``."""
        self._news.wait(seconds)
        self._news.clear()

    def drain_rounds(self) -> list[dict[str, Any]]:
        """The records of the rounds applied since the last time."""
        return self._rounds.drain()

    def stop(self) -> None:
        """Leave: what was queued is delivered, then the thread ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            sent = -1
            while self._thread.is_alive() and sent < self.sent:  # as long as something moves
                sent = self.sent
                self._thread.join(2 * FLUSH_S + 5.0)

    # -- in the thread ----------------------------------------------------------------------

    def _soon(self, work: Callable[[float], object]) -> None:
        def call() -> None:
            work(time.monotonic())
            self._flush()

        self._loop.call_soon_threadsafe(call)

    def _done(self, work: Callable[[float], object]) -> None:
        """As ``_soon``, and wait for it."""
        done = threading.Event()

        def call(now: float) -> None:
            work(now)
            done.set()

        self._soon(call)
        done.wait(10.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._ready.set()
            self._loop.close()

    async def _main(self) -> None:
        self._stopping = asyncio.Event()
        try:
            chosen = self._settings
            where = self._socket or self._listen
            await self._mesh.start(where, dict(chosen.peers), chosen.relay)
        except OSError as error:
            self._failure = error
            return
        self._ready.set()
        while not self._stopping.is_set():
            self._rounds.receiving = self._mesh.receiving()
            self._rounds.rates = self._mesh.rates()
            self._rounds.sees = self._mesh.around.direct()
            self._rounds.tick(time.monotonic())
            self._flush()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        await self._mesh.stop()

    def _flush(self) -> None:
        outbox, self._rounds.outbox = self._rounds.outbox, []
        for site, message in outbox:
            self._mesh.send(site, message)
        events, self._rounds.events = self._rounds.events, []
        for text in events:
            self.event(text)
        self._news.set()

    # -- what the mesh reports --------------------------------------------------------------

    def joined(self, member: Member) -> None:
        if self._own_rails:
            self._send_rails(member.site)
        if self._admission.joined(member):
            self._rounds.joined(member, time.monotonic())
            self._flush()

    def left(self, member: Member, on_purpose: bool) -> None:
        if self._admission.left(member):
            self._rounds.left(member.site, time.monotonic(), on_purpose)
            self._flush()
        elif on_purpose:
            self._rounds.ended(member)

    def received(self, site: str, message: Message) -> None:
        if message.kind is Kind.RAILS:
            self._rails[site] = [str(address) for address in message.fields["at"]]
            self._admission.changes += 1
            return
        if message.kind is Kind.BEAT:
            for name, address in dict(message.fields["sites"]).items():
                if address is not None:
                    self._mesh.learn(str(name), str(address))
            sees, afresh = dict(message.fields["sees"]), bool(message.fields["afresh"])
            self._mesh.around.routes.hear(site, sees, afresh)
        if self._admission.lets(site, message):
            self._rounds.received(site, message, time.monotonic())
            self._flush()

    def _admit(self, whole: list[Link], now: float) -> None:
        out, fresh = self._admission.admit(whole)
        for site in out:
            self._rounds.left(site, now)
        for member, kept in fresh:
            self._rounds.joined(member, now)
            for message in kept:
                with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
                    self._rounds.received(member.site, message, now)

    def _send_rails(self, site: str) -> None:
        self._mesh.send(site, Message(Kind.RAILS, {"at": self._own_rails}))

    def _at(self, site: str, address: str) -> str:
        """Without a host: at that where the first rank is dialled, nowhere if it is not."""
        if not address.startswith(":"):
            return address
        host = self._mesh.address_of(site).rpartition(":")[0]
        return host + address if host else ""

    def event(self, text: str) -> None:
        self._tell(text)
