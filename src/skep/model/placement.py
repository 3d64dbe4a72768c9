"""Placement: chips × pool × site for each run of a job."""

from __future__ import annotations

from pydantic import Field

from skep.model.base import Spec


class Share(Spec):
    """One run's part of a placement: ``chips`` of ``chip`` at ``site``, over ``nodes`` nodes.

    ``rank`` is the site's rank in the job (0 ..), stable over attempts of the same share.
    ``power`` is what the share adds to the site's draw at the meter, in W, at worst.
    ``in_blocks`` is (block of the pool, chips) for each of its blocks.
    """

    site: str
    pool: int = Field(ge=0, description="index into the site's pools")
    chip: str
    chips: int = Field(ge=1)
    nodes: int = Field(ge=1)
    blocks: int = Field(default=1, ge=1)
    rank: int = Field(default=0, ge=0)
    power: float = Field(default=0.0, ge=0)
    in_blocks: tuple[tuple[int, int], ...] = ()


class Claim(Spec):
    """Chips kept for a job while those who hold them end: nobody else gets them until ``until``."""

    shares: tuple[Share, ...]
    until: float
    victims: tuple[str, ...] = ()
