"""The background thread: sockets and rounds run here, the training loop only polls and reports."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skep.errors import InputError
from skep.runenv import parse_address
from skep.train.choice import DELAY_SHARE, Chosen
from skep.train.fragments import Fragments
from skep.train.frames import Kind, Message
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
    ) -> None:
        self._settings, self._tell = chosen, tell
        listen = chosen.listen
        dialable = listen if listen and parse_address(listen)[0] not in _WILDCARDS else ""
        self.me = Member(chosen.site, chosen.rank, chosen.run, signature, dialable, chosen.seat)
        limit = 8 * max(state.anchor.numel() for state in states) + (1 << 20)
        self._rounds = Fragments(self.me, states, chosen.options, time.monotonic())
        self._mesh = Mesh(self.me, chosen.token, chosen.proxy, limit, self)
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
            raise InputError("listen", self._settings.listen, str(self._failure))

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
    def patience_s(self) -> float:
        """Seconds for which fragments of one snapshot that have come wait for the others."""
        return DELAY_SHARE * self.chosen.interval_s if self.chosen is not None else 0.0

    @property
    def finished(self) -> bool:
        return self._rounds.finished

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

    @property
    def level_or_running(self) -> bool:
        """Whether training may begin: nobody has to be waited for or fetched from."""
        begun = any(state.round > 0 for state in self.states)
        return not self._rounds.behind() if begun else self.level

    def last_reports(self) -> list[Local]:
        """The last report of each site that ever was connected."""
        return list(self._rounds.reports.values())

    def peer_reports(self) -> list[Local]:
        """The newest report of each connected peer."""
        return [view.local for view in list(self._rounds.views.values())]

    @property
    def sent(self) -> int:
        return self._mesh.traffic.sent

    @property
    def received_bytes(self) -> int:
        return self._mesh.traffic.received

    def report(self, local: Local, pending: Sequence[int]) -> None:
        """Tell the others, with the next beat, how this site is doing."""
        soon = local.finishing and not self._rounds.local.finishing
        self._rounds.report(local, pending)
        if soon:
            self._soon(lambda now: self._rounds.announce(now))

    def refused(self) -> list[int]:
        """Fragments of which this site's contribution was kept out: it goes back to the anchor."""
        return self._rounds.refused()

    def contribute(self, index: int, part: Part) -> None:
        """Answer ``wanted`` for one fragment."""
        rounds = self._rounds.rounds[index]
        wanted, rounds.wanted = rounds.wanted, None
        part.final = wanted is not None and wanted.final
        self._soon(lambda now: self._rounds.offered(index, part, now))

    def absorb(self, parts: Mapping[int, Part]) -> None:
        """Alone, at the end: the anchors become this site's own parameters."""
        done = threading.Event()

        def work(now: float) -> None:
            self._rounds.absorb(parts, now)
            done.set()

        self._soon(work)
        done.wait(10.0)

    def await_peers(self, deadline: float) -> str | None:
        """Until all peers are here and level, or training is under way; who is missing after
        ``deadline``, with commas, None if that did not matter."""
        expected = set(self._settings.peers)
        while time.monotonic() < deadline or self.behind:
            here = set(self.sites)
            complete = bool(here) and expected <= here
            running = bool(here) and any(state.round > 0 for state in self.states)
            if (complete or running) and self.level_or_running:
                return None
            self.wait(0.1)
        return ", ".join(sorted(expected - set(self.sites)))

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
            self._thread.join(2 * FLUSH_S + 5.0)

    # -- in the thread ----------------------------------------------------------------------

    def _soon(self, work: Callable[[float], object]) -> None:
        def call() -> None:
            work(time.monotonic())
            self._flush()

        self._loop.call_soon_threadsafe(call)

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
            await self._mesh.start(chosen.listen, dict(chosen.peers), chosen.relay)
        except OSError as error:
            self._failure = error
            return
        self._ready.set()
        while not self._stopping.is_set():
            self._rounds.receiving = self._mesh.receiving()
            self._rounds.rates = self._mesh.rates()
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
        self._rounds.joined(member, time.monotonic())
        self._flush()

    def left(self, member: Member, on_purpose: bool) -> None:
        self._rounds.left(member.site, time.monotonic(), on_purpose)
        self._flush()

    def received(self, site: str, message: Message) -> None:
        if message.kind is Kind.BEAT:
            for name, address in dict(message.fields["sites"]).items():
                self._mesh.learn(str(name), str(address))
        self._rounds.received(site, message, time.monotonic())
        self._flush()

    def event(self, text: str) -> None:
        self._tell(text)
