"""A small ``srun`` for runs made from batch scripts: the command as many times as it has tasks.

``srun [options] command…`` starts it ``-n`` (else ``SLURM_NTASKS``) times side by side on this
machine with ``SLURM_PROCID``, ``SLURM_LOCALID`` and ``SLURM_NTASKS`` set. Options about placement
are passed over: the chips have been given already. The exit code is the largest of the tasks'.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

from skep.engines.ending import exit_code

# Short options of srun that take a value, and long ones that may be given as "--name value".
_SHORT_WITH_VALUE = frozenset("ABCDEGJLMNPSTWXcdeimnopqrtwx")
_LONG_WITH_VALUE = re.compile(
    "account|chdir|comment|constraint|distribution|error|export|gpus|gres|hint|input|job-name|jobid"
    "|mem|mpi|network|nodelist|nodes|ntasks|output|partition|qos|reservation|threads|time"
    "|(cpu|gpu|mem)-bind|(cpus|gpus|mem)-per-(cpu|gpu|task|node)|ntasks-per-(core|gpu|node|socket)"
)


def parse(arguments: list[str]) -> tuple[int | None, list[str]]:
    """The number of tasks (None where not given) and the command with its arguments."""
    tasks: int | None = None
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        name, value = _split(option)
        if value is None and _takes_value(name) and rest:
            value = rest.pop(0)
        if name in ("n", "ntasks"):
            tasks = int(value or "")
    return tasks, rest


def _split(option: str) -> tuple[str, str | None]:
    """Name and attached value: ``--ntasks=4``, ``-n4``."""
    if option.startswith("--"):
        name, given, value = option[2:].partition("=")
        return name, value if given else None
    return option[1:2], option[2:].removeprefix("=") or None


def _takes_value(name: str) -> bool:
    if len(name) == 1:
        return name in _SHORT_WITH_VALUE
    return _LONG_WITH_VALUE.fullmatch(name) is not None


def run(tasks: int, command: list[str]) -> int:
    """Start the tasks, wait for all; the largest exit code."""
    running = [_start(task, tasks, command) for task in range(tasks)]

    def end(number: int, _frame: object) -> None:
        for process in running:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return max(exit_code(process.wait()) for process in running)


def _start(task: int, tasks: int, command: list[str]) -> subprocess.Popen[bytes]:
    own = {"SLURM_PROCID": task, "SLURM_LOCALID": task, "SLURM_NTASKS": tasks, "SLURM_NODEID": 0}
    environ = os.environ | {name: str(value) for name, value in own.items()}
    return subprocess.Popen(command, env=environ)


def main() -> int:
    """The ``srun`` command. 1 for a wrong call, 127 where there is no such program."""
    try:
        given, command = parse(sys.argv[1:])
        tasks = given if given is not None else int(os.environ.get("SLURM_NTASKS", "1"))
        if not command or tasks < 1:
            raise ValueError
    except ValueError:
        sys.stderr.write("srun: allowed: srun [-n TASKS] command…\n")
        return 1
    try:
        return run(tasks, command)
    except FileNotFoundError:
        sys.stderr.write(f"srun: {command[0]}: command not found\n")
        return 127


if __name__ == "__main__":
    sys.exit(main())
