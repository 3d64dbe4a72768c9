"""What sites say to each other in a round, as values, and as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

import torch

from skep.train.codec import EXACT, codec, from_bytes, to_bytes
from skep.train.frames import Kind, Message
from skep.train.gauge import Moments
from skep.train.member import Member
from skep.train.outer import Key, Outer, OuterState, sealed
from skep.train.shelf import Shelf, Want, ranges_from, shelf_from


@dataclass(frozen=True, slots=True)
class Call:
    """A leader asks for contributions on top of the anchor with digest ``base``.

    ``group``: sites for which the one that is called is the gateway, to be called by it; ``within``
    so many seconds the leader waits for them. ``by``: the leader, where a gateway passes it on.
    """

    base: str
    final: bool = False
    group: tuple[str, ...] = ()
    within: float = 0.0
    by: str = ""

    def to_message(self) -> Message:
        return Message(Kind.CALL, asdict(self) | {"group": list(self.group)})


def call_from(message: Message) -> Call:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not a call."""
    f = message.fields
    within = float(f["within"])
    if not 0 <= within < 1e9:
        raise ValueError(f"a call within {within} s")
    return Call(str(f["base"]), bool(f["final"]), sites_from(f["group"]), within, str(f["by"]))


def sites_from(names: Any) -> tuple[str, ...]:
    """Names of sites. Raises ``TypeError`` when these are none."""
    if not isinstance(names, list):
        raise TypeError(f"sites {names!r}")
    return tuple(str(name) for name in names)


@dataclass(slots=True)
class Part:
    """One site's contribution: its local progress since what was last merged of it, and what the
    codec dropped of earlier contributions.

    ``number`` counts the contributions of a run from 1, ``after`` is the number of the one last
    merged when this was made: it is merged only where that still holds, hence exactly once.
    ``seconds`` is how long the progress took, ``beside`` how many tokens of others were merged
    meanwhile, in ``missed`` rounds. ``arrived`` is what the leader sees of ``progress``, once it
    was encoded; None: all of it.
    """

    progress: torch.Tensor
    run: str
    number: int
    after: int
    tokens: int
    seconds: float
    beside: int = 0
    missed: int = 0
    want: Want | None = None  # samples in it and wanted; with the first fragment's only
    arrived: torch.Tensor | None = None
    final: bool = False  # for the last round; not sent
    codec: str = EXACT
    sites: int = 1  # that stand behind it: an average of several counts as one (``bundle``)

    def to_message(self, name: str) -> Message:
        """Encodes, and keeps what the other side will decode in ``arrived``."""
        payload = codec(name).encode(self.progress)
        self.codec = name
        if name != EXACT:
            self.arrived = codec(name).decode(payload, self.progress.numel())
        fields = {
            "run": self.run,
            "number": self.number,
            "after": self.after,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "beside": self.beside,
            "missed": self.missed,
            "samples": samples_of(self.want),
            "codec": name,
        }
        return Message(Kind.PART, fields, payload)


def part_from(message: Message, length: int) -> Part:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not a contribution."""
    f = message.fields
    progress = codec(str(f["codec"])).decode(message.payload, length)
    tokens, seconds = int(f["tokens"]), float(f["seconds"])
    beside, missed = int(f["beside"]), int(f["missed"])
    if min(tokens, beside, missed) < 0 or not 0 <= seconds < 1e9:
        raise ValueError(f"{tokens} tokens in {seconds} s, beside {beside} in {missed} rounds")
    numbers = (int(f["number"]), int(f["after"]))
    run = str(f["run"])
    want = want_from(run, f["samples"])
    return Part(progress, run, *numbers, tokens, seconds, beside, missed, want)


def samples_of(want: Want | None) -> list[Any] | None:
    """For a message."""
    return None if want is None else [list(want.used), want.ahead, want.total]


def want_from(run: str, told: Any) -> Want | None:
    """Raises ``ValueError`` or ``TypeError`` when it is not what ``samples_of`` makes."""
    if told is None:
        return None
    used, ahead, total = told
    return Want(run, ranges_from(used), int(ahead), int(total))


def fits(part: Part, site: str, state: OuterState) -> bool:
    """Whether the part continues what ``state`` has already merged of its site."""
    run, number = state.merged.get(site, ("", 0))
    return part.after == (number if run == part.run else 0)


@dataclass(frozen=True, slots=True)
class Result:
    """A closed round: the average as encoded bytes, and how every site is to apply it."""

    base: str
    digest: str
    outer: Outer
    tokens: int
    merged: Mapping[str, tuple[str, int]]
    final: bool
    codec: str
    payload: bytes
    members: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)  # sites kept out, and why
    moments: tuple[float, ...] = ()  # what the contributions have in common (``gauge``)
    shelf: Shelf | None = None  # None: as before

    def record(self, state: OuterState, took: float, since: float) -> dict[str, Any]:
        """For the progress file: a round that led to ``state``; times in seconds."""
        return {
            "round": state.round,
            "participants": len(self.merged),
            "sites": sorted(self.merged),
            "tokens": self.tokens,
            "global_tokens": state.tokens,
            "took_s": round(took, 3),
            "since_last_s": round(since, 3),
            "lr": self.outer.lr,
            "momentum": self.outer.momentum,
            "codec": self.codec,
            "final": self.final,
            "digest": state.digest,
        }

    def to_message(self) -> Message:
        fields = {
            "base": self.base,
            "digest": self.digest,
            "lr": self.outer.lr,
            "momentum": self.outer.momentum,
            "tokens": self.tokens,
            "merged": {site: list(pair) for site, pair in self.merged.items()},
            "final": self.final,
            "codec": self.codec,
            "members": list(self.members),
            "refused": dict(self.refused),
            "moments": list(self.moments),
            "shelf": self.shelf.fields() if self.shelf is not None else None,
            "group": [],  # whom it is to be passed on to
        }
        return Message(Kind.RESULT, fields, self.payload)


def result_from(message: Message) -> Result:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` when it is not a result."""
    f = message.fields
    return Result(
        base=str(f["base"]),
        digest=str(f["digest"]),
        outer=Outer(float(f["lr"]), float(f["momentum"])),
        tokens=int(f["tokens"]),
        merged=_merged(f["merged"]),
        final=bool(f["final"]),
        codec=str(f["codec"]),
        payload=message.payload,
        members=tuple(str(seat) for seat in f["members"]),
        refused={str(site): str(why) for site, why in dict(f["refused"]).items()},
        moments=moments_from(f["moments"]),
        shelf=shelf_from(f["shelf"]),
    )


def moments_from(values: list[Any]) -> tuple[float, ...]:
    """Raises ``ValueError`` or ``TypeError`` when these are no moments of a round."""
    found = tuple(float(value) for value in values)
    if found and (len(found) != len(Moments._fields) or not all(map(isfinite, found))):
        raise ValueError(f"moments {found}")
    return found


def _merged(pairs: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {str(site): (str(run), int(number)) for site, (run, number) in pairs.items()}


def state_message(state: OuterState) -> Message:
    """The whole outer state, bit for bit."""
    return Message(Kind.STATE, state_fields(state), state_payload(state))


def state_fields(state: OuterState) -> dict[str, Any]:
    """All but the vectors, for a header."""
    return {
        "round": state.round,
        "tokens": state.tokens,
        "origin": state.origin,
        "merged": {site: list(pair) for site, pair in state.merged.items()},
        "digest": state.digest,
        "members": list(state.members),
        "shelf": state.shelf.fields() if state.shelf is not None else None,
        "length": state.anchor.numel(),
        "still": not bool(state.momentum.any()),
    }


def state_payload(state: OuterState) -> bytes:
    """Anchor, then momentum unless it is zero, as raw fp32."""
    moving = bool(state.momentum.any())
    return to_bytes(state.anchor) + (to_bytes(state.momentum) if moving else b"")


def state_from(fields: dict[str, Any], payload: bytes | memoryview, length: int) -> OuterState:
    """Raises ``ValueError`` when the bytes are not a state of ``length`` with that digest."""
    if int(fields["length"]) != length:
        raise ValueError(f"a state of {fields['length']} parameters; this model has {length}")
    view = memoryview(payload)
    momentum = torch.zeros(length) if fields["still"] else from_bytes(view[4 * length :], length)
    state = sealed(
        from_bytes(view[: 4 * length], length),
        momentum,
        round=int(fields["round"]),
        tokens=int(fields["tokens"]),
        origin=str(fields["origin"]),
        merged=_merged(fields["merged"]),
        members=[str(seat) for seat in fields["members"]],
        shelf=shelf_from(fields["shelf"]),
    )
    if state.digest != fields["digest"]:
        raise ValueError("a state whose digest does not match its bytes")
    return state


@dataclass(slots=True)
class Local:
    """What the training loop reports about its own site, sent to the others in each beat."""

    pending: int = 0  # tokens trained, not yet in the anchor
    rate: float = 0.0  # tokens per second
    step_s: float = 0.0  # seconds per local step
    steps: int = 0  # local steps so far
    tokens_per_step: float = 0.0
    sent: int = 0  # wire bytes
    finishing: bool = False
    hungry: bool = False  # it waits for samples


def newer(held: Local, come: Local) -> Local:
    """The report that was made later: one beside news waits for data before it, others overtake.

    Bytes only grow, and a run that has ended its training does not begin again.
    """
    if come.sent < held.sent:
        return held
    return replace(come, finishing=come.finishing or held.finishing)


@dataclass(slots=True)
class View:
    """What this site knows of a connected peer."""

    member: Member
    key: Key | None = None  # from its newest beat
    holds: str = ""  # digest of the state that it has, or will have once it read what was sent
    local: Local = field(default_factory=Local)
    ahead_since: float | None = None


def beat(
    keys: Mapping[int, Key],
    pending: Sequence[int],
    local: Local,
    sites: Mapping[str, str | None],
    sees: Mapping[str, float | None],
    afresh: bool = True,
) -> Message:
    """``keys`` and ``pending`` by fragment; ``sites``: where this site's peers may be dialled;
    ``sees``: those with a connection of their own, and its rate (bytes/s; 0: not measured). Of both
    what has changed (None: it does not hold any more), or, ``afresh``, all."""
    fields: dict[str, Any] = {
        "keys": {str(index): list(key) for index, key in keys.items()},
        "pending": list(pending),
        "rate": round(local.rate, 3),
        "per_step": local.tokens_per_step,
        "sent": local.sent,
        "finishing": local.finishing,
        "hungry": local.hungry,
        "sites": dict(sites),
        "sees": dict(sees),
        "afresh": afresh,
    }
    return Message(Kind.BEAT, fields)


def read_beat(message: Message, index: int) -> tuple[Key | None, Local]:
    """The key of fragment ``index`` (None: as told before) and the report.

    Raises ``ValueError``, ``KeyError``, ``IndexError`` or ``TypeError`` when it is not a beat.
    """
    f = message.fields
    found = dict(f["keys"]).get(str(index))
    local = Local(
        pending=int(f["pending"][index]),
        rate=float(f["rate"]),
        tokens_per_step=float(f["per_step"]),
        sent=int(f["sent"]),
        finishing=bool(f["finishing"]),
        hungry=bool(f["hungry"]),
    )
    if found is None:
        return None, local
    tokens, number, origin, digest, begun, sound = found
    flags = (int(bool(begun)), int(bool(sound)))
    return Key(int(tokens), int(number), str(origin), str(digest), *flags), local
