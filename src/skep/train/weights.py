"""How much each contribution counts: as if all who trained at the same time had been averaged.

A round that closes in time averages by tokens. One site may have missed rounds, though: it was cut
off, slow, or stopped for a while. Its progress then stands beside what the others have merged
meanwhile, and theirs in this round beside only a piece of its own. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from skep.train.parts import Part

Name = TypeVar("Name", bound=Hashable)


def shares(parts: Mapping[Name, Part]) -> dict[Name, float]:
    """By site, what its progress is multiplied by, 0 to 1.

    Own tokens over all tokens that were trained while the progress was made: its own, those of
    others that were merged meanwhile, and those of the others in this round, as far as they fall
    into that time. They add up to 1 where nobody has missed a round. Without any tokens all count
    alike.
    """
    if not any(part.tokens for part in parts.values()):
        sites = sum(part.sites for part in parts.values())
        return {site: part.sites / sites for site, part in parts.items()}
    return {site: _share(site, parts) for site in parts}


def _share(site: Name, parts: Mapping[Name, Part]) -> float:
    own = parts[site]
    others = sum(_meanwhile(own, part) for name, part in parts.items() if name != site)
    together = own.tokens + own.beside + others
    return own.tokens / together if together else 0.0


def _meanwhile(own: Part, other: Part) -> float:
    """Tokens of ``other`` that were trained in the rounds of ``own``, at an even rate."""
    return other.tokens * min((1 + own.missed) / (1 + other.missed), 1.0)
