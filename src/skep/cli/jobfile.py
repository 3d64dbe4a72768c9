"""From the file that a user names to the job that is sent: read, changed by options, packed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.client import Client
from skep.errors import InputError
from skep.files.bundle import pack
from skep.files.job import job_from_mapping
from skep.files.load import load_any
from skep.files.loaded import Loaded
from skep.model.job import Job

SOURCE = "command line"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What options say instead of the file; None or empty: as in the file."""

    name: str | None = None
    chips: str | None = None
    env: tuple[str, ...] = ()
    priority: int | None = None
    queue: str | None = None

    def any(self) -> bool:
        return self != Overrides()


def read(path: Path, overrides: Overrides) -> Loaded:
    """The job of a file with ``overrides`` in it, checked as a whole. Raises ``InputError``."""
    loaded = load_any(path)
    if not overrides.any():
        return loaded
    data: dict[str, Any] = loaded.job.model_dump(mode="json", exclude={"bundle"}, exclude_none=True)
    changed = {"name": overrides.name, "priority": overrides.priority, "queue": overrides.queue}
    data |= {name: value for name, value in changed.items() if value is not None}
    if overrides.chips is not None:
        data["chips"] = _chips(overrides.chips, loaded.job)
    data["env"] = data["env"] | _env(overrides.env)
    return Loaded(job_from_mapping(data, SOURCE), loaded.notes)


def _chips(text: str, job: Job) -> dict[str, Any]:
    kind, _, count = text.rpartition(":")
    if not count.isdigit():
        raise InputError("--chips", text, "allowed: COUNT or KIND:COUNT, such as h100-sxm:8")
    asked: dict[str, Any] = {"count": int(count)}
    if known := kind or job.chips[0].kind:
        asked["kind"] = known
    return asked


def _env(pairs: tuple[str, ...]) -> dict[str, str]:
    env = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError("--env", pair, "allowed: NAME=VALUE")
        env[name] = value
    return env


def send_workdir(job: Job, client: Client) -> Job:
    """The job with the digest of its workdir, which the control plane then has."""
    if job.workdir is None:
        return job
    digest, content = pack(job.workdir)
    client.upload(digest, content)
    return job.model_copy(update={"bundle": digest})
