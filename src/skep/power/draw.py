"""Draw: what chips take at the meter of a site, in W, modelled from the chip table.

A chip's powers include its share of the node; the facility adds its PUE.
"""

from __future__ import annotations

from collections.abc import Mapping

from skep.model.chip import Chip
from skep.model.site import Site


def facility_factor(site: Site) -> float:
    """PUE of the site: W at the meter per W of its nodes; 1 where none is given."""
    return site.power.pue if site.power else 1.0


def idle_draw(site: Site, chips: Mapping[str, Chip]) -> float:
    """W at the meter of ``site`` with every chip idle."""
    nodes = sum(pool.chips * chips[pool.chip].idle_power for pool in site.pools)
    return facility_factor(site) * nodes


def run_draw(chip: Chip, count: int, pue: float = 1.0) -> float:
    """W at the meter of ``count`` chips at work, their idle draw included."""
    return count * max(chip.busy_power, chip.idle_power) * pue


def added_draw(chip: Chip, count: int, pue: float = 1.0) -> float:
    """W by which ``count`` chips raise the meter when they go from idle to work."""
    return count * max(0.0, chip.busy_power - chip.idle_power) * pue


def held_draw(chip: Chip, count: int, pue: float = 1.0) -> float:
    """W that ``count`` chips of a run would draw idle: part of the site's idle draw."""
    return count * chip.idle_power * pue


def power_known(chip: Chip) -> bool:
    """Whether the table has a draw for the chip; where not, its draw counts as zero."""
    return chip.busy_power > 0.0
