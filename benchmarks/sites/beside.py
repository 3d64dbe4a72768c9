"""skep.train and its peers over shaped links: one process per site, one record per measurement.

A record holds what was measured (size, system, rate, round trip, steps, chip, sites, seed) and what
each site found, or why there is nothing. ``summary`` makes figures of records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import net
import summary

SITES = Path(__file__).parent
PEERS = SITES.parents[1] / "build/peers"
MAKING = threading.Lock()  # of the environment: seeds are measured side by side
H = 20
CONTEXT = 128


@dataclass(frozen=True)
class Size:
    """A model of so many layers of such a width, and the seconds of a step of its virtual chip."""

    layers: int
    width: int
    chip_s: float

    @property
    def name(self) -> str:
        return f"{self.layers}x{self.width}"

    @property
    def parameters(self) -> int:
        """Of ``toy.Toy``."""
        ends = (256 + CONTEXT + 256 + 2) * self.width
        return ends + self.layers * (12 * self.width**2 + 4 * self.width)


CHIPS = {"4x128": 0.4, "6x256": 0.8, "8x512": 2.0}  # four times what this takes on one of our cores


def sizes(text: str) -> list[Size]:
    """From "4x128,8x512@3": layers x width, and the chip's seconds where they are not known.

    ArgumentTypeError tells what is wrong with it.
    """
    found = []
    for word in text.split(","):
        shape, _, chip = word.strip().partition("@")
        try:
            layers, width = (int(number) for number in shape.split("x"))
            seconds = float(chip) if chip else CHIPS[f"{layers}x{width}"]
        except (ValueError, KeyError):
            known = ", ".join(CHIPS)
            told = f"{word!r} is no LAYERSxWIDTH@SECONDS (without @SECONDS: {known})"
            raise argparse.ArgumentTypeError(told) from None
        found.append(Size(layers, width, seconds))
    return found


@dataclass(frozen=True)
class System:
    """What is measured: a script beside this one and its settings."""

    name: str
    script: str
    how: dict[str, Any]
    foreign: bool = False
    lockstep: bool = False  # each step waits for all gradients, in two bytes each

    def fitting(self, mbit: float, steps: int, parameters: int) -> int:
        """As many steps as a minute of waiting allows, 4 at least."""
        if not self.lockstep or not mbit:
            return steps
        return max(min(steps, int(60.0 * mbit * 1e6 / (16 * parameters))), 4)


SYSTEMS = [
    System("skep int4", "with_skep.py", {"codec": "int4", "interval_steps": H}),
    System("skep int2", "with_skep.py", {"codec": "int2", "interval_steps": H}),
    System("skep sparse", "with_skep.py", {"codec": "sparse", "interval_steps": H}),
    System("skep chosen", "with_skep.py", {}),
    System("skep lengthen", "with_skep.py", {"lengthen": True}),
    System("ddp fp16", "with_ddp.py", {"fp16": True}, lockstep=True),
    System("torchft", "with_torchft.py", {"fragments": 1}, True),
    System("torchft stream", "with_torchft.py", {"fragments": 2, "delay": 5}, True),
    System(
        "torchft long",
        "with_torchft.py",
        {"fragments": 2, "delay": 8, "timeout": 600, "init_sync": False},
        True,
    ),
    System("hivemind", "with_hivemind.py", {}, True),
    System("alone", "with_ddp.py", {}),
]


def systems(names: str) -> list[System]:
    """Those named, with commas; "all". ArgumentTypeError for one that is not there."""
    wanted = [name.strip() for name in names.split(",")]
    if wanted == ["all"]:
        return [system for system in SYSTEMS if system.name != "alone"]
    there = {system.name: system for system in SYSTEMS}
    if missing := [name for name in wanted if name not in there]:
        raise argparse.ArgumentTypeError(f"no {missing[0]!r} in {', '.join(there)}")
    return [there[name] for name in wanted]


@dataclass(frozen=True)
class Case:
    """One measurement."""

    size: str
    system: str
    mbit: float  # 0: not shaped
    rtt_ms: float
    steps: int
    chip_s: float
    sites: int
    seed: int


@dataclass(frozen=True)
class How:
    """What does not change what is measured."""

    limit_s: float
    curve: bool
    at_once: int = 1


def peers() -> str:
    """The Python of the peers' environment, made if it is not there yet."""
    python = PEERS / "bin/python"
    with MAKING:
        if not (PEERS / "made").exists():
            import torch

            version = torch.__version__
            venv.create(PEERS, with_pip=True)
            install = [python, "-m", "pip", "install", "-q", f"torch=={version}"]
            subprocess.run([*install, "numpy", "torchft==0.2.0", "hivemind==1.1.12"], check=True)
            (PEERS / "made").touch()
    return str(python)


def cases(
    wanted: Sequence[System], models: Sequence[Size], rates: Sequence[float], seeds: Sequence[int],
    chosen: argparse.Namespace,
) -> Iterator[list[Case]]:  # fmt: skip
    """Those that make one row: they differ by their seeds only."""
    for size in models:
        for system in wanted:
            for rate in rates:
                steps = system.fitting(rate, chosen.steps, size.parameters)
                sites = 1 if system.name == "alone" else chosen.sites
                first = Case(
                    size.name, system.name, rate, chosen.rtt, steps, size.chip_s, sites, seeds[0]
                )
                yield [replace(first, seed=seed) for seed in seeds]


def table(
    rows: Iterator[list[Case]],
    how: How,
    known: list[dict[str, Any]],
    keep: Callable[[list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """One printed row per size, system and rate; what ``known`` has is not measured again.

    Returns all records, the known ones first; ``keep`` is called with them after each row.
    """
    print(summary.HEAD, flush=True)
    records = list(known)
    for row in rows:
        done = {summary.case(record): record for record in records}
        new = [case for case in row if tuple(asdict(case).values()) not in done]
        with ThreadPoolExecutor(how.at_once) as pool:
            records += pool.map(lambda case: measure(case, how), new)
        done = {summary.case(record): record for record in records}
        print(summary.row([done[tuple(asdict(case).values())] for case in row]), flush=True)
        keep(records)
    return records


def measure(case: Case, how: How) -> dict[str, Any]:
    """The record of one measurement: the figures of each site, or why one has none."""
    system = next(system for system in SYSTEMS if system.name == case.system)
    python = peers() if system.foreign else sys.executable
    rate = case.mbit or None
    far = net.Far(rate, case.rtt_ms) if case.rtt_ms else net.Net(case.sites, rate)
    with far as made, tempfile.TemporaryDirectory() as folder:
        running = []
        for site in range(case.sites):
            words = words_for(case, system, site, made.hosts, Path(folder), how.curve)
            log = Path(folder) / f"{site}.log"
            running.append(made.start(site, python, *words, log=log))
        end, failed = time.monotonic() + how.limit_s, ""
        for process in running:
            try:
                process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                failed = f"not over after {how.limit_s:g} s"
        outs = [Path(folder) / f"{site}.json" for site in range(case.sites)]
        found = [json.loads(out.read_text()) for out in outs if out.exists()]
        logs = [(Path(folder) / f"{site}.log").read_text() for site in range(case.sites)]
    if len(found) < case.sites and not failed:
        failed = "a site ended early"
    if failed:
        print("\n".join(log[-1500:] for log in logs), file=sys.stderr, flush=True)
        failed += "; last words: " + (logs[0].strip().splitlines() or ["none"])[-1][:200]
    load = os.getloadavg()[0]
    return asdict(case) | {"found": [] if failed else found, "failed": failed, "load": load}


def words_for(
    case: Case, system: System, site: int, hosts: list[str], folder: Path, curve: bool
) -> list[str]:
    """The command line of one site, without the Python."""
    layers, width = case.size.split("x")
    words = [SITES / system.script, "--site", site, "--hosts", ",".join(hosts)]
    words += ["--steps", case.steps, "--step-s", case.chip_s, "--seed", case.seed]
    words += ["--layers", layers, "--width", width, "--how", json.dumps(system.how)]
    words += ["--out", folder / f"{site}.json", *(["--curve"] if curve else [])]
    return [str(word) for word in words]
