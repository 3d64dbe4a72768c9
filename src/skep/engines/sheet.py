"""What a supervisor needs to know of its run: plain data, so that it starts within a blink."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from skep.runenv import RunEnv

# The torchrun names, in the order in which rank_environ gives their values.
RANK_NAMES = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One run, resolved for this machine. ``share`` is the rank of its share in the job.

    ``skep`` holds the ``SKEP_*`` values known at prepare; ``exchange``: reserve an address for
    peers, if they can dial it (``inbound``); ``fenced``: stop when the site's lease runs out;
    ``bundle`` "" for none.
    """

    run: str
    job: str
    attempt: int
    share: int
    command: str
    setup: str
    host: str
    processes: int
    nodes: int
    exchange: bool
    fenced: bool
    grace: float
    time_limit: float | None
    bundle: str
    digest: str
    checkpoint: str
    inbound: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    skep: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Sheet:
        return Sheet(**json.loads(text))

    def about(self) -> dict[str, object]:
        """What each record of the journal says of the run."""
        return {"run": self.run, "job": self.job, "attempt": self.attempt, "share": self.share}

    def site_environ(
        self, listen: str = "", peers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The environment of the setup, and what all processes of the run share."""
        known = RunEnv(**self.skep, listen=listen, peers=peers or {})
        return {**self.env, **known.to_environ()}

    def rank_environ(self, rank: int, master_port: int) -> dict[str, str]:
        """The torchrun names of process ``rank`` of this site."""
        local = max(1, self.processes // self.nodes)
        counts = (rank, self.processes, rank % local, local, rank // local)
        values = (self.host, str(master_port), *map(str, counts))
        return dict(zip(RANK_NAMES, values, strict=True))
