"""How many chips, of which kind, a Slurm batch script asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from skep.errors import InputError
from skep.files.pool import catalogue
from skep.files.problems import NOTHING
from skep.files.sbatch_options import Option
from skep.files.yaml import Value

Options = Mapping[str, Option]

CORE = "cpu-core"
_GPU = re.compile(r"(?:gres/)?gpu(?::(?P<kind>[A-Za-z][^:=]*))?(?:[:=](?P<count>[0-9]{1,9}))?")
_GPUS = re.compile(r"(?:(?P<kind>[A-Za-z][^:]*):)?(?P<count>[0-9]{1,9})")


def counts(options: Options, source: str) -> dict[str, int]:
    """``nodes``, ``ntasks`` and ``cpus-per-task`` as Slurm completes them."""
    nodes = _number(options, "nodes", 1, source)
    per_node = _number(options, "ntasks-per-node", 1, source)
    return {
        "nodes": nodes,
        "ntasks": _number(options, "ntasks", nodes * per_node, source),
        "cpus-per-task": _number(options, "cpus-per-task", 1, source),
    }


def chip_requests(
    options: Options, kinds: Collection[str] | None, source: str
) -> tuple[list[Value], list[str]]:
    """The alternatives for ``chips``, and notes.

    GPUs where any are asked for, else ``ntasks * cpus-per-task`` chips of kind ``cpu-core``.
    """
    asked = counts(options, source)
    found = _gpus(options, asked, source)
    if found is None:
        return [{"kind": CORE, "count": asked["ntasks"] * asked["cpus-per-task"]}], []
    kind, count = found
    if not kind:
        note = "GPUs of no type: any chip kind will do; --gres=gpu:TYPE:COUNT asks for one kind"
        return [{"count": count}], [note]
    known = catalogue() if kinds is None else kinds
    return [{"kind": name, "count": count} for name in _kinds(kind, known)], []


def _kinds(kind: str, known: Collection[str]) -> list[str]:
    """Chip kinds that a GPU type means: ``h100`` is any ``h100-…``; an unknown one is itself."""
    word = kind.lower()
    return [k for k in known if k == word or k.startswith(f"{word}-")] or [kind]


def _gpus(options: Options, asked: Mapping[str, int], source: str) -> tuple[str, int] | None:
    """``(type or "", GPUs in all)``; None where the script asks for none."""
    for name, times in (
        ("gpus", 1),
        ("gpus-per-node", asked["nodes"]),
        ("gpus-per-task", asked["ntasks"]),
    ):
        if name in options:
            kind, count = _typed(options[name], _GPUS, options[name].value, source)
            return kind, count * times
    for item in options["gres"].value.split(",") if "gres" in options else ():
        if item.startswith(("gpu", "gres/gpu")):
            kind, count = _typed(options["gres"], _GPU, item, source)
            return kind, count * asked["nodes"]
    return None


def _typed(option: Option, pattern: re.Pattern[str], text: str, source: str) -> tuple[str, int]:
    match = pattern.fullmatch(text)
    count = int(match["count"] or "1") if match else 0
    if match is None or not count:
        form = "gpu:TYPE:COUNT or gpu:COUNT" if option.name == "gres" else "TYPE:COUNT or COUNT"
        raise _bad(option, f"allowed: {form}, one kind of chips for a job", source)
    return match["kind"] or "", count


def _number(options: Options, name: str, default: int, source: str) -> int:
    """A whole number; of a range ``MIN-MAX`` of nodes its least."""
    option = options.get(name)
    if option is None:
        return default
    text = option.value.partition("-")[0] if name == "nodes" else option.value
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise _bad(option, "allowed: a whole number of 1 or more", source)
    return int(text)


def _bad(option: Option, allowed: str, source: str) -> InputError:
    where = f"line {option.line}, --{option.name}"
    return InputError(where, option.value or NOTHING, allowed, source=source)
