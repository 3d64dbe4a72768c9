"""What a gateway brings to the leader: one average, and whose contributions are in it.

Only those are averaged that have missed no round. Shares in a round (``weights``) depend on tokens
alone for them, and come out the same if their group counts as one contribution of all its tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from skep.train.codec import codec
from skep.train.frames import Kind, Message
from skep.train.outer import OuterState, sum_of
from skep.train.parts import Part, fits, moments_from, samples_of, want_from
from skep.train.shelf import allowed
from skep.train.weights import shares


@dataclass(frozen=True, slots=True)
class Bundle:
    """Contributions of a group, on top of the anchor with digest ``base``.

    ``whole`` is their average as one contribution; ``entries`` are they, without their progress.
    ``lost``: sites of the group of which nothing will come.
    """

    base: str
    whole: Part
    entries: Mapping[str, Part]
    refused: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    moments: tuple[float, ...] = ()

    def to_message(self, name: str, payload: bytes) -> Message:
        """``payload``: the average, encoded by codec ``name``."""
        fields = {
            "base": self.base,
            "codec": name,
            "entries": {site: _entry(part) for site, part in self.entries.items()},
            "refused": dict(self.refused),
            "lost": list(self.lost),
            "moments": list(self.moments),
        }
        return Message(Kind.BUNDLE, fields, payload)

    def trouble(self, state: OuterState, group: Collection[str]) -> str:
        """Why it must not be merged into ``state``; "" where it may."""
        named = {*self.entries, *self.refused, *self.lost}
        strange = sorted(named - set(group))
        if strange:
            return f"{strange[0]} is not of its group"
        for site, part in sorted(self.entries.items()):
            if not fits(part, site, state):
                return f"contribution {part.number} of {site} does not follow the one merged last"
            if part.want is not None and not allowed(state.shelf, site, part.want):
                return f"{site} trained on samples that are not its own"
        return ""


def averaged(parts: Mapping[str, Part]) -> Part:
    """One contribution that counts as much as all of these together, which missed no round."""
    share = shares(parts)
    average = sum_of({site: part.progress * share[site] for site, part in parts.items()})
    return standing_for(average, parts)


def standing_for(average: torch.Tensor, parts: Mapping[str, Part]) -> Part:
    """``average`` in place of ``parts``: with the tokens of all, as old as the oldest."""
    tokens = sum(part.tokens for part in parts.values())
    seconds = max((part.seconds for part in parts.values()), default=0.0)
    return Part(average, "", 0, 0, tokens, seconds, sites=len(parts))


def bundle_from(message: Message, length: int) -> Bundle:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not a bundle."""
    f = message.fields
    entries = {str(site): _entry_from(told) for site, told in dict(f["entries"]).items()}
    average = torch.zeros(length)
    if entries:
        average = codec(str(f["codec"])).decode(message.payload, length)
    return Bundle(
        base=str(f["base"]),
        whole=standing_for(average, entries),
        entries=entries,
        refused={str(site): str(why) for site, why in dict(f["refused"]).items()},
        lost=tuple(str(site) for site in f["lost"]),
        moments=moments_from(f["moments"]),
    )


def _entry(part: Part) -> list[Any]:
    numbers = [part.run, part.number, part.after, part.tokens, part.seconds]
    return [*numbers, samples_of(part.want)]


def _entry_from(told: Any) -> Part:
    run, number, after, tokens, seconds, samples = told
    part = Part(torch.empty(0), str(run), int(number), int(after), int(tokens), float(seconds))
    if part.tokens < 0 or not 0 <= part.seconds < 1e9:
        raise ValueError(f"{part.tokens} tokens in {part.seconds} s")
    part.want = want_from(part.run, samples)
    return part
