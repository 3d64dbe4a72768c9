"""Who takes part: a site's identity in the exchange, its proof, and fencing between attempts."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import asdict, dataclass
from typing import Any

_TEXTS = ("site", "run", "signature", "listen", "seat", "link")
_NUMBERS = ("rank", "rail", "rails", "lane")
_ATTEMPT = re.compile(r"-a(\d+)-")


@dataclass(frozen=True, slots=True)
class Member:
    """What a site says about itself when it connects."""

    site: str
    rank: int
    run: str
    signature: str  # of the model's shapes: other shapes cannot be averaged
    listen: str = ""  # where it may be dialled; empty: nowhere
    seat: str = ""  # its place in the job, which a run elsewhere may take over; empty: the site
    rail: int = 0  # which of its ranks this is, of ``rails`` that exchange
    rails: int = 1
    link: str = ""  # chosen by who dials: the connection that this one belongs to
    lane: int = 0  # its number among those that carry data only; 0: the connection itself

    @property
    def order(self) -> tuple[int, str]:
        """Sites are ordered by rank, then name: the first one leads."""
        return (self.rank, self.site)

    @property
    def seat_name(self) -> str:
        """Who counts as one member, wherever it runs."""
        return self.seat or self.site

    def to_fields(self) -> dict[str, Any]:
        return asdict(self)


def member_from(fields: dict[str, Any]) -> Member:
    """A member from the fields of a HELLO. Raises ``ValueError`` when they are not such."""
    try:
        values = {name: fields[name] for name in _TEXTS + _NUMBERS}
    except KeyError as error:
        raise ValueError(f"a greeting without {error}") from error
    if not all(isinstance(values[name], str) and len(values[name]) <= 256 for name in _TEXTS):
        raise ValueError("a greeting with a wrong field")
    if not all(type(values[name]) is int for name in _NUMBERS):
        raise ValueError("a greeting with a wrong rank")
    return Member(**values)


def origin_of(me: Member) -> str:
    """The name of fresh parameters: begins with the rank, so that the first site's win."""
    return f"{me.rank:06d}/{me.site}/{me.run}"


def attempt(run: str) -> int:
    """The attempt in a run id such as ``job-a3-site``; 0 where there is none."""
    found = _ATTEMPT.findall(run)
    return int(found[-1]) if found else 0


def supersedes(new: str, old: str) -> bool:
    """Whether run ``new`` of a site may take the place of its run ``old`` (or is the same run)."""
    return new == old or attempt(new) > attempt(old)


def unlike(member: Member, me: Member) -> str:
    """Why the two cannot train together; "" where they can."""
    if member.rails != me.rails:
        return (
            f"{member.site} shards its model over {member.rails} ranks and {me.site} over "
            f"{me.rails}: allowed: as many at all sites (a model that is not sharded counts as one)"
        )
    if member.rail != me.rail:
        return f"rank {member.rail} of {member.site} met rank {me.rail} of {me.site}"
    if member.signature != me.signature:
        return f"{member.site} trains a model of other shapes"
    return ""


def proof(token: bytes, role: str, binding: str, challenge: str, answer: str, greeting: str) -> str:
    """HMAC-SHA256 (hex) by which the holder of the token shows that it has it, without sending it.

    ``challenge`` is the other side's nonce, ``answer`` the own one, ``greeting`` what is claimed,
    ``binding`` the fingerprint of the server's certificate as this side sees it, "" without TLS.
    """
    text = "\n".join(("skep-train-2", role, binding, challenge, answer, greeting))
    return hmac.new(token, text.encode(), hashlib.sha256).hexdigest()


def session_key(token: bytes, server_nonce: str, client_nonce: str, direction: str) -> bytes:
    """Without TLS: the key that tags the frames of one direction of a connection (32 bytes)."""
    text = "\n".join(("skep-train-2 session", direction, server_nonce, client_nonce))
    return hmac.new(token, text.encode(), hashlib.sha256).digest()


def room_of(key: str) -> str:
    """The name (hex) by which a relay finds the key; the key does not follow from it."""
    return hashlib.sha256(f"skep-train-2 room {key}".encode()).hexdigest()[:32]


def alias_of(key: str, site: str) -> str:
    """What a relay calls a site (hex): it learns no names."""
    return hmac.new(key.encode(), f"skep-train-2 alias {site}".encode(), "sha256").hexdigest()[:32]


def pass_for(key: str, kind: str, nonce: str, site: str, to: str, rail: int = 0) -> str:
    """HMAC-SHA256 (hex): ``site`` holds the key of a relay that challenged it with ``nonce``."""
    text = "\n".join(("skep-train-2 pass", kind, nonce, site, to, str(rail)))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def same(one: str, other: object) -> bool:
    """Compare two proofs in constant time."""
    return isinstance(other, str) and hmac.compare_digest(one.encode(), other.encode())
