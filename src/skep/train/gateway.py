"""A gateway's part of a round: it gathers the contributions of its group for the leader.

What it holds is lost with it and costs nothing else: nobody forgets its own progress before it has
seen it merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from skep.train.bundle import Bundle, averaged, standing_for
from skep.train.codec import EXACT, codec, kept, last_codec
from skep.train.frames import Message
from skep.train.gather import Gathering
from skep.train.gauge import moments
from skep.train.outer import OuterState
from skep.train.parts import Call, Part

SOONER = 0.5  # of the leader's limit, after which a gateway waits for nobody any more


@dataclass(slots=True)
class Gateway(Gathering):
    """The group of one site in rounds that another one leads."""

    leader: str = ""  # for whom; empty: nobody
    base: str = ""
    members: set[str] = field(default_factory=set)  # of the group, without this site
    within: float = 0.0
    lost: set[str] = field(default_factory=set)
    owed: torch.Tensor | None = None  # what encoding the averages has dropped so far
    _brought: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    _then_owed: torch.Tensor | None = None  # once that is merged

    def open(self, leader: str, call: Call, here: set[str], me: str, now: float) -> set[str]:
        """Open a call for a group of which ``here`` are connected; the members to be called."""
        if (leader, call.base) != (self.leader, self.base) or self.called is None:
            self.parts.clear()
        self.leader, self.base, self.within = leader, call.base, call.within
        self.members, self.lost = set(call.group) & here, set(call.group) - here
        return self.ask(now, self.members | {me}, call.final) - {me}

    def forget(self, site: str) -> None:
        """A site has left."""
        if site in self.members and site not in self.parts:
            self.lost.add(site)
        self.excuse(site)
        self.members.discard(site)
        if site == self.leader:
            self.end()

    def end(self) -> None:
        """It is nobody's gateway any more."""
        self.leader, self.called = "", None
        self.members.clear()
        self.parts.clear()
        self.awaited.clear()

    def closes(self, now: float) -> bool:
        """Whether what is there is to be passed on now."""
        if self.called is None:
            return False
        there = self.parts.keys() - self.awaited.keys()
        limit = min(self.patience_s, SOONER * self.within)
        return self.expected <= there or now - self.called >= limit

    def close(self, state: OuterState, name: str) -> Message | None:
        """What goes to the leader, encoded by codec ``name``; None where that is nothing."""
        parts, self.parts, self.called = dict(self.parts), {}, None
        good, refused = self.sifted(parts, state)
        lost = self.lost | (parts.keys() - good.keys() - refused.keys())
        if not good:
            nothing = standing_for(torch.zeros(0), {})
            bundle = Bundle(self.base, nothing, {}, refused, tuple(sorted(lost)))
            return bundle.to_message(name, b"") if refused or lost else None
        whole = averaged(good)
        common = () if name == "sparse" else tuple(moments(good))
        bundle = Bundle(self.base, whole, good, refused, tuple(sorted(lost)), common)
        return bundle.to_message(name, self._encoded(whole, good, name))

    def _encoded(self, whole: Part, parts: Mapping[str, Part], name: str) -> bytes:
        share = kept(name)
        owed = None if self.final and share < 1.0 else self.owed
        vector = whole.progress if owed is None else whole.progress + owed
        payload = codec(name).encode(vector, len(parts))
        self._brought = {site: (part.run, part.number) for site, part in parts.items()}
        self._then_owed = None
        if name != EXACT:
            self._then_owed = share * (vector - codec(name).decode(payload, vector.numel()))
        return payload

    def codec(self, name: str) -> str:
        """That of the round, where the site's own is ``name``."""
        return last_codec(name) if self.final else name

    def adopted(self, state: OuterState) -> None:
        """The site's state is ``state`` now: what was brought is in it, or comes again."""
        if self._brought and all(state.merged.get(s) == one for s, one in self._brought.items()):
            self.owed = self._then_owed
        self._brought, self._then_owed = {}, None
        if state.digest != self.base:
            self.called = None
            self.parts.clear()
