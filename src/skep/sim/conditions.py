"""What a replayed trace meets: times of engines, checkpoints, slow nodes, things that break."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from skep.files.problems import check, printable
from skep.files.yaml import MIB, parse_mapping, read_text
from skep.model.base import Name, Seconds, Spec

BreakKind = Literal["chip", "node", "block", "site", "link"]


class Checkpoints(Spec):
    """A job saves after each ``every`` of work, which takes ``cost``; what it did since is lost."""

    every: Seconds = Field(gt=0)
    cost: Seconds = 0.0


class Stragglers(Spec):
    """Part ``nodes`` of all nodes, drawn by the seed, works ``slow`` times slower; so do gangs
    that have one."""

    nodes: float = Field(ge=0, le=1)
    slow: float = Field(ge=1)


class Wear(Spec):
    """Things of one kind that fail at random: each after times with mean ``every``.

    Times follow a Weibull distribution of ``shape``, counted from the start of the simulation (1:
    exponential, failures without memory; below 1: the young fail more often). Repairs are
    exponential.
    """

    kind: BreakKind
    every: Seconds = Field(gt=0, description="mean time between failures of one such thing")
    repair: Seconds = Field(default=3600.0, gt=0, description="mean time until it is back")
    shape: float = Field(default=1.0, gt=0.1, le=10)
    chip: Name | None = Field(default=None, description="only in pools of this chip kind")


class Mishap(Spec):
    """One failure at a stated time. What is not said is drawn by the seed."""

    at: Seconds
    kind: BreakKind
    lasts: Seconds = Field(default=3600.0, alias="for")
    site: Name | None = None
    pool: int = Field(default=0, ge=0, description="index into the site's pools")
    row: int | None = Field(default=None, ge=0, description="which chip, node or block of the pool")
    between: tuple[Name, Name] | None = Field(default=None, description="the sites of a link")

    @model_validator(mode="after")
    def _link(self) -> Mishap:
        if self.kind == "link" and self.between is None:
            raise ValueError("allowed: a link with `between: [site, site]`")
        return self


class Conditions(Spec):
    """The conditions file: all of it may be left out."""

    setup: Seconds = Field(default=0.0, description="from the decision until a run starts")
    stop: Seconds = Field(default=0.0, description="from a stop until the run has ended")
    restart: Seconds = Field(default=0.0, description="what each start after the first takes more")
    checkpoint: Checkpoints | None = Field(
        default=None, description="without: what was interrupted begins again"
    )
    exchange: Seconds = Field(
        default=0.0,
        description="what a share works between two exchanges with those at other sites: lost with"
        " it while they go on; over a link that is down each goes on alone. 0: the sites of a job"
        " work in step, and wait for a link",
    )
    stragglers: Stragglers = Stragglers(nodes=0.0, slow=1.0)
    failures: tuple[Wear, ...] = ()
    faults: tuple[Mishap, ...] = ()

    @property
    def random(self) -> bool:
        """Whether anything depends on the seed."""
        drawn = any(f.kind != "link" and (f.site is None or f.row is None) for f in self.faults)
        return bool(self.failures) or drawn or self.stragglers.nodes > 0

    @property
    def by_node(self) -> bool:
        """Whether it matters on which nodes a run is."""
        breaks = {f.kind for f in self.failures} | {f.kind for f in self.faults}
        return self.stragglers.nodes > 0 or bool(breaks & {"chip", "node", "block"})


def load_conditions(path: Path) -> Conditions:
    """The conditions in the file at ``path``. Raises ``InputError``."""
    data = parse_mapping(read_text(path, MIB), str(path))
    return check(Conditions, data, source=printable(str(path)))
