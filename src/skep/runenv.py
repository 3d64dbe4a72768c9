"""The run environment: what a process of a job finds in its environment variables.

Two families. The *torchrun* names (``MASTER_ADDR``, ``MASTER_PORT``, ``RANK``, ``WORLD_SIZE``,
``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``GROUP_RANK``) describe the ranks of **one site**, so that
``torch.distributed`` works inside the site as under torchrun. The ``SKEP_*`` names describe the
job over all its sites; ``skep.train`` reads them. This module is the only place that knows them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

# Names, in the order in which docs/guides/run-environment.md lists them.
JOB = "SKEP_JOB"  # job id
RUN = "SKEP_RUN"  # run id: the fencing token of this attempt at this site
SITE = "SKEP_SITE"  # name of this site
SITE_RANK = "SKEP_SITE_RANK"  # 0 .. SITE_COUNT-1, stable over the attempts of one share
SITE_COUNT = "SKEP_SITE_COUNT"  # sites that the job was placed on
CHIP = "SKEP_CHIP"  # chip kind of this run
CHIPS = "SKEP_CHIPS"  # chips of this run, at this site
CHIP_SPEED = "SKEP_CHIP_SPEED"  # FLOP/s to which each chip is held; absent: not held
PEERS = "SKEP_PEERS"  # "site=host:port,…": where the other sites' runs accept exchange
LISTEN = "SKEP_LISTEN"  # "host:port" where rank 0 of this run accepts exchange
PROXY = "SKEP_PROXY"  # "host:port" of an HTTP CONNECT proxy for dialling peers; absent: direct
RELAY = "SKEP_RELAY"  # "host:port" of a relay, for sites that cannot be dialled
TOKEN_FILE = "SKEP_TOKEN_FILE"  # file with the job's exchange token (never the token itself)
PROGRESS_FILE = "SKEP_PROGRESS_FILE"  # append one JSON object a line: shown and kept by skep
CHECKPOINT_DIR = "SKEP_CHECKPOINT_DIR"  # outlives the attempts of this job at this site
WORK_DIR = "SKEP_WORK_DIR"  # the job's unpacked workdir


def parse_address(text: str) -> tuple[str, int]:
    """``"host:port"`` as (host, port). Raises ``ValueError`` when it is not of that form."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port")
    return host, int(port)


def relay_key(token: bytes) -> str:
    """What a relay has to know to serve a job (hex); the token does not follow from it."""
    return hmac.new(token, b"skep-train-2 relay", hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class RunEnv:
    """The ``SKEP_*`` part, parsed. ``alone`` is true where there is no other site."""

    job: str = ""
    run: str = ""
    site: str = "local"
    site_rank: int = 0
    site_count: int = 1
    chip: str = ""
    chips: int = 1
    chip_speed: float | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    listen: str = ""
    proxy: str = ""
    relay: str = ""
    token_file: str = ""
    progress_file: str = ""
    checkpoint_dir: str = ""
    work_dir: str = ""

    @property
    def alone(self) -> bool:
        return not self.peers and not self.listen and not self.relay

    def to_environ(self) -> dict[str, str]:
        """The variables to set; empty and absent values are left out."""
        pairs = {
            JOB: self.job,
            RUN: self.run,
            SITE: self.site,
            SITE_RANK: str(self.site_rank),
            SITE_COUNT: str(self.site_count),
            CHIP: self.chip,
            CHIPS: str(self.chips),
            CHIP_SPEED: "" if self.chip_speed is None else repr(self.chip_speed),
            PEERS: ",".join(f"{site}={address}" for site, address in self.peers.items()),
            LISTEN: self.listen,
            PROXY: self.proxy,
            RELAY: self.relay,
            TOKEN_FILE: self.token_file,
            PROGRESS_FILE: self.progress_file,
            CHECKPOINT_DIR: self.checkpoint_dir,
            WORK_DIR: self.work_dir,
        }
        return {name: value for name, value in pairs.items() if value}


def from_environ(environ: Mapping[str, str]) -> RunEnv:
    """Read the ``SKEP_*`` variables; absent ones keep their defaults. Raises ``ValueError``."""
    speed = environ.get(CHIP_SPEED)
    peers = [item.partition("=") for item in environ.get(PEERS, "").split(",") if item]
    return RunEnv(
        job=environ.get(JOB, ""),
        run=environ.get(RUN, ""),
        site=environ.get(SITE, "local"),
        site_rank=int(environ.get(SITE_RANK, "0")),
        site_count=int(environ.get(SITE_COUNT, "1")),
        chip=environ.get(CHIP, ""),
        chips=int(environ.get(CHIPS, "1")),
        chip_speed=float(speed) if speed else None,
        peers={site: address for site, _, address in peers},
        listen=environ.get(LISTEN, ""),
        proxy=environ.get(PROXY, ""),
        relay=environ.get(RELAY, ""),
        token_file=environ.get(TOKEN_FILE, ""),
        progress_file=environ.get(PROGRESS_FILE, ""),
        checkpoint_dir=environ.get(CHECKPOINT_DIR, ""),
        work_dir=environ.get(WORK_DIR, ""),
    )
