"""Reads Slurm batch scripts as they are: ``docs/guides/slurm-scripts.md`` says what counts."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skep import units
from skep.errors import InputError
from skep.files.job import with_workdir
from skep.files.loaded import Loaded
from skep.files.problems import NOTHING, check, printable
from skep.files.sbatch_chips import chip_requests
from skep.files.sbatch_options import Option, read_options
from skep.files.sbatch_script import run_text
from skep.files.yaml import KIB, read_text
from skep.model.job import Job

MOST_BYTES = 64 * KIB

_REFUSED = {
    "array": "allowed: one job for each script; submit it once for each index",
    "dependency": "allowed: jobs that wait for no other; submit it when the other has ended",
    "hold": "allowed: jobs that may start; submit it when it may",
    "begin": "allowed: jobs that may start now; submit it then",
    "test-only": "allowed: jobs that may start",
}
_NUMBERS = frozenset({"nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "nice"})
_GPUS = frozenset({"gres", "gpus", "gpus-per-node", "gpus-per-task"})
_WORDS = frozenset({"job-name", "time", "chdir", "export", "requeue", "no-requeue"})
_SILENT = frozenset({"comment", "quiet", "verbose", "parsable", "ignore-pbs", "no-kill"})
_KNOWN = _NUMBERS | _GPUS | _WORDS | _SILENT
_NOTES = {
    "partition": "skep has one pool, and a script's job goes to the queue 'default'",
    "account": "a script's job goes to the queue 'default'",
    "qos": "a script's job goes to the queue 'default'",
    "output": "what it prints is kept by skep: skep logs JOB",
    "error": "what it prints is kept by skep: skep logs JOB",
    "mem": "chips come with their memory",
    "mem-per-cpu": "chips come with their memory",
    "mem-per-gpu": "chips come with their memory",
    "mail-type": "skep sends no mail",
    "mail-user": "skep sends no mail",
}
_NO_LIMIT = ("0", "unlimited", "infinite")


def load_sbatch(
    path: str | Path,
    *,
    kinds: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The job of the batch script at ``path``, with notes on what does not count in skep.

    ``kinds`` are the chip kinds among which a GPU type such as ``h100`` is looked up (default:
    skep's catalogue); ``environ`` is where ``--export=NAME`` takes values from (default: this
    process's). Raises ``InputError``.
    """
    path = Path(path)
    source = printable(str(path))
    text = read_text(path, MOST_BYTES)
    _check_text(text, source)
    asked = _Asked(source, {o.name: o for o in read_options(text, source)})
    asked.refuse()
    chips, count_notes = chip_requests(asked.options, kinds, source)
    spec = {
        "name": _name(asked, path),
        "run": run_text(text, _name(asked, path), asked.options, source),
        "workdir": asked.value("chdir") or str(path.absolute().parent),
        "env": _env(asked, os.environ if environ is None else environ),
        "chips": chips,
        "per": "site",
        "priority": -max(-1000, min(1000, asked.number("nice", 0))),
        "time_limit": _time_limit(asked),
        "retries": 0,
        "on_site_loss": "fail" if _last(asked, "no-requeue", "requeue") else "replace",
    }
    job = with_workdir(check(Job, spec, source=source), path.parent, source)
    return Loaded(job, (*asked.notes(), *count_notes, *_script_notes(text)))


@dataclass(slots=True)
class _Asked:
    """The options of one script; the last of a name counts."""

    source: str
    options: Mapping[str, Option] = field(default_factory=dict)

    def value(self, name: str) -> str:
        option = self.options.get(name)
        return option.value if option else ""

    def number(self, name: str, default: int) -> int:
        if name not in self.options:
            return default
        text = self.value(name)
        if not re.fullmatch(r"-?[0-9]{1,10}", text):
            raise self.bad(name, "allowed: a whole number")
        return int(text)

    def bad(self, name: str, allowed: str) -> InputError:
        option = self.options[name]
        value: object = option.value or NOTHING
        return InputError(f"line {option.line}, --{name}", value, allowed, source=self.source)

    def refuse(self) -> None:
        """Raise for what would do something else in skep than the script wants."""
        for name, allowed in _REFUSED.items():
            if name in self.options:
                raise self.bad(name, allowed)

    def notes(self) -> list[str]:
        return [
            f"line {o.line}: --{printable(o.name)} is not used: {_NOTES.get(o.name, _UNUSED)}"
            for o in self.options.values()
            if o.name not in _KNOWN
        ]


_UNUSED = "it has no meaning in skep"


def _check_text(text: str, source: str) -> None:
    first = text.split("\n", 1)[0]
    if not first.startswith("#!") or not first[2:].strip():
        allowed = "allowed: a script whose first line names its shell, such as '#!/bin/bash'"
        raise InputError("line 1", first[:80] or NOTHING, allowed, source=source)
    if "\r\n" in text:
        allowed = r"allowed: lines that end in \n (run dos2unix)"
        raise InputError("line 1", first[:80], allowed, source=source)
    if "\0" in text:
        raise InputError("file", "\0", "allowed: a text file", source=source)


def _name(asked: _Asked, path: Path) -> str:
    """The job's name; what a name of skep cannot hold becomes ``-``."""
    text = asked.value("job-name") or path.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:64].strip("._-") or "sbatch"


def _last(asked: _Asked, name: str, other: str) -> bool:
    """Whether ``name`` was given, and ``other`` not after it."""
    this, that = asked.options.get(name), asked.options.get(other)
    return this is not None and (that is None or that.line < this.line)


def _time_limit(asked: _Asked) -> float | None:
    """Seconds: a plain number is minutes in Slurm; 0 is no limit."""
    text = asked.value("time")
    if "time" not in asked.options or text.lower() in _NO_LIMIT:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return 60.0 * int(text)
    try:
        if not re.fullmatch(r"[0-9:-]+", text):
            raise ValueError
        return units.parse_duration(text) or None
    except ValueError:
        forms = "allowed: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS"
        raise asked.bad("time", forms) from None


def _env(asked: _Asked, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that ``--export`` names; ``ALL`` exports nothing: sites are other machines."""
    env: dict[str, str] = {}
    for item in filter(None, asked.value("export").split(",")):
        name, equals, value = item.partition("=")
        if item in ("ALL", "NONE", "NIL") or (not equals and name not in environ):
            continue
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("SKEP_"):
            raise asked.bad("export", "allowed: ALL, NONE, NAME or NAME=value, with commas between")
        env[name] = value if equals else environ[name]
    return env


def _script_notes(text: str) -> list[str]:
    body = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    if any(re.search(r"(^|[\s;&|(])srun\s", line) for line in body):
        return ["the script calls srun, which only sites with Slurm have"]
    return []
