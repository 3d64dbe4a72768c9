"""Placement: chips × pool × site for each run of a job."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from skep.model.evolve import record

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]


@record
class Share:
    """One run's part of a placement: ``chips`` of ``chip`` at ``site``, over ``nodes`` nodes.

    ``rank`` is the site's rank in the job (0 ..), stable over attempts of the same share.
    ``power`` is what the share adds to the site's draw at the meter, in W, at worst.
    ``in_blocks`` is (block of the pool, chips) for each of its blocks. ``avoid`` are nodes that
    failed the job: the site keeps the run off them where it can give the chips without.
    """

    site: str
    pool: Annotated[int, Field(ge=0, description="index into the site's pools")]
    chip: str
    chips: Count
    nodes: Count
    blocks: Count = 1
    rank: Index = 0
    power: Annotated[float, Field(ge=0)] = 0.0
    in_blocks: tuple[tuple[int, int], ...] = ()
    avoid: tuple[str, ...] = ()


@record
class Claim:
    """Chips kept for a job while those who hold them end: nobody else gets them until ``until``."""

    shares: tuple[Share, ...]
    until: float
    victims: tuple[str, ...] = ()
