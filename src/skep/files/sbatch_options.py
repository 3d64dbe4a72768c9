"""The ``#SBATCH`` lines of a Slurm batch script, as option and value."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from skep.errors import InputError

SHORT = {
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "I": "immediate",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "O": "overcommit",
    "Q": "quiet",
    "S": "core-spec",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "i": "input",
    "k": "no-kill",
    "m": "distribution",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
ALONE = frozenset(
    {
        "contiguous",
        "exclusive",
        "get-user-env",
        "hold",
        "ignore-pbs",
        "immediate",
        "no-kill",
        "no-requeue",
        "overcommit",
        "oversubscribe",
        "parsable",
        "quiet",
        "reboot",
        "requeue",
        "spread-job",
        "test-only",
        "use-min-nodes",
        "verbose",
        "wait",
    }
)
"""Options that take no value from the next word."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a ``#SBATCH`` line, by its long name; ``value`` "" where there is none."""

    name: str
    value: str
    line: int


def read_options(text: str, source: str) -> list[Option]:
    """All options before the first command, in order; the last of a name counts, as in Slurm."""
    found: list[Option] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            break
        if line.startswith("#SBATCH") and line[7:8] in ("", " ", "\t"):
            found.extend(_of_line(line[7:], number, source))
    return found


def _of_line(text: str, line: int, source: str) -> Iterator[Option]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(
            f"line {line}", text.strip(), f"not readable: {error}", source=source
        ) from None
    if words and words[0] in ("hetjob", "packjob"):
        allowed = "allowed: one kind of chips for a job; give each part a script of its own"
        raise InputError(f"line {line}", words[0], allowed, source=source)
    while words:
        word = words.pop(0)
        name, value, given = _split(word)
        if not name:
            allowed = "allowed: options such as --nodes=2 or -N 2"
            raise InputError(f"line {line}", word, allowed, source=source)
        if not given and name not in ALONE and words and not words[0].startswith("-"):
            value = words.pop(0)
        yield Option(name, value, line)


def _split(word: str) -> tuple[str, str, bool]:
    """``(long name, value, whether a value was given)``; the name is "" where it is no option."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, value, bool(equals)
    if word.startswith("-") and len(word) > 1:
        name, value = SHORT.get(word[1], word[1]), word[2:].removeprefix("=")
        return name, value, bool(value)
    return "", "", False
