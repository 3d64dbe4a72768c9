"""One model over slow links: skep.train beside torch DDP, torchft and hivemind, in one go.

    python benchmarks/train.py [--parts links,loss,unequal,learners,faults] [--only NAMES]
                               [--rates 100,10,1] [--rtt MS] [--steps N] [--json FILE]

Sites are network namespaces (root), links are shaped by tbf in both directions, and each step is
padded to the time of a virtual chip, so that the network and not the noise of this machine is
measured. With ``--rtt`` two sites are joined by a forwarder of packets that also delays them
(``sites/tunnel.py``). ``share`` is the ideal time (steps times chip time) over the wall time;
``calm`` the same without the seconds in which the machine was too slow for the chip (contention,
which is told); ``load`` is the machine's average of a minute.
Bytes are the kernel's counter of the site's link, headers and control included. The peers live in
an environment of their own that is made under build/peers on first use.

``links`` measures the systems over shaped links, and the time to a loss that all of them reach;
``loss`` the loss at equal tokens against data parallelism, four virtual sites; ``unequal`` chips of
1, 1, 1/4 and 1/4 of a speed against the strong ones alone, in the same time; ``learners``
and ``faults`` are ``benchmarks/learners.py`` and ``benchmarks/faults.py``. With ``--json`` the
figures of parts that were run before are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "sites"))
import net
import quality
import summary

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build/peers"
H = 20


@dataclass(frozen=True)
class System:
    """What is measured: a script under benchmarks/sites and its settings."""

    name: str
    script: str
    how: dict[str, Any]
    foreign: bool = False
    step_bits: float = 0.0  # that each step has to wait for, on each link

    def fitting(self, mbit: float | None, steps: int) -> int:
        """As many steps as a minute of waiting allows, 4 at least."""
        if not self.step_bits or not mbit:
            return steps
        return max(min(steps, int(60.0 * mbit * 1e6 / self.step_bits)), 4)


SYSTEMS = [
    System("skep int4", "with_skep.py", {"codec": "int4", "interval_steps": H}),
    System("skep int2", "with_skep.py", {"codec": "int2", "interval_steps": H}),
    System("skep sparse", "with_skep.py", {"codec": "sparse", "interval_steps": H}),
    System("skep chosen", "with_skep.py", {}),
    System("ddp fp16", "with_ddp.py", {"fp16": True}, step_bits=16 * 870_656),
    System("torchft", "with_torchft.py", {"fragments": 1}, True),
    System("torchft stream", "with_torchft.py", {"fragments": 2, "delay": 5}, True),
    System(
        "torchft long",
        "with_torchft.py",
        {"fragments": 2, "delay": 8, "timeout": 600, "init_sync": False},
        True,
    ),
    System("hivemind", "with_hivemind.py", {}, True),
]


def peers() -> str:
    """The Python of the peers' environment, made if it is not there yet."""
    python = PEERS / "bin/python"
    if not (PEERS / "made").exists():
        import torch

        version = torch.__version__
        venv.create(PEERS, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", f"torch=={version}"]
        subprocess.run([*install, "numpy", "torchft==0.2.0", "hivemind==1.1.12"], check=True)
        (PEERS / "made").touch()
    return str(python)


def measure(
    system: System, mbit: float | None, steps: int, chosen: argparse.Namespace
) -> list[dict[str, Any]]:
    """The figures of each site; an empty list when a site did not end in time."""
    python = peers() if system.foreign else sys.executable
    far = net.Far(mbit, chosen.rtt) if chosen.rtt else net.Net(chosen.sites, mbit)
    with far as made, tempfile.TemporaryDirectory() as folder:
        running, outs = [], []
        for site in range(chosen.sites):
            out = Path(folder) / f"{site}.json"
            words = ["--site", site, "--hosts", ",".join(made.hosts), "--steps", steps]
            words += [
                "--step-s",
                chosen.step_s,
                "--seed",
                chosen.seed,
                "--how",
                json.dumps(system.how),
            ]
            words += ["--layers", chosen.layers, "--width", chosen.width]
            words += ["--out", out, *(["--curve"] if chosen.curve else [])]
            script = Path(__file__).parent / "sites" / system.script
            log = Path(folder) / f"{site}.log"
            running.append(made.start(site, python, str(script), *map(str, words), log=log))
            outs.append(out)
        end = time.monotonic() + chosen.limit
        for site, process in enumerate(running):
            try:
                process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
            if not outs[site].exists():
                print((Path(folder) / f"{site}.log").read_text()[-1500:], file=sys.stderr)
        return [json.loads(out.read_text()) for out in outs if out.exists()]


def row(name: str, rate: float | None, sites: list[dict[str, Any]]) -> None:
    link = "none" if rate is None else f"{rate:g}"
    if not sites:
        print(f"{name:<16} {link:>6}  did not end in time", flush=True)
        return
    mean = {k: statistics.mean(s[k] for s in sites) for k in sites[0] if _number(sites[0][k])}
    blocked = f"{mean['blocked_s']:.3f}" if "blocked_s" in mean else "-"
    print(
        f"{name:<16} {link:>6} {mean['share']:>7.3f} {mean['share_without_contention']:>7.3f} "
        f"{mean['contention_s']:>8.2f} {blocked:>9} {mean['bytes_per_token']:>9.1f} "
        f"{mean['heldout']:>8.4f} {mean.get('round', mean.get('committed', 0)):>7.0f} "
        f"{os.getloadavg()[0]:>5.1f}",
        flush=True,
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="links", help="with commas; all")
    parser.add_argument("--only", default="skep int4,ddp fp16", help="systems, with commas; all")
    parser.add_argument("--seeds", default="1,2,3", help="of the part loss")
    parser.add_argument("--loss-steps", type=int, default=600, help="of each site")
    parser.add_argument("--loss-batch", type=int, default=2, help="windows of 32 bytes a step")
    parser.add_argument("--loss-rate", type=float, default=1.0, help="of the learning rate")
    parser.add_argument(
        "--loss-ways", default="int8,int4,int2", help="codecs, each also with +lengthen"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the part links")
    parser.add_argument("--layers", type=int, default=4, help="of the model of the part links")
    parser.add_argument("--width", type=int, default=128, help="8 layers of 512: 25 M parameters")
    parser.add_argument("--fault-rounds", type=int, default=200)
    parser.add_argument("--rates", default="100,1", help="Mbit/s, with commas; 0: not shaped")
    parser.add_argument("--rtt", type=float, default=0.0, help="ms, of two sites; 0: none added")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--step-s", type=float, default=0.4)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one run may take")
    parser.add_argument("--curve", action="store_true", help="held-out loss every ten steps")
    parser.add_argument("--json")
    chosen = parser.parse_args()
    if chosen.rtt and chosen.sites != 2:
        parser.error(f"--rtt joins two sites, not {chosen.sites}")
    return chosen


def links(chosen: argparse.Namespace) -> dict[str, Any]:
    """One row per system and rate."""
    if reason := net.possible():
        print(f"skipped: {reason}")
        return {}
    wanted = [name.strip() for name in chosen.only.split(",")]
    print(
        f"{'system':<16} {'Mbit/s':>6} {'share':>7} {'calm':>7} {'contend s':>8} {'blocked s':>9} "
        f"{'B/token':>9} {'heldout':>8} {'rounds':>7} {'load':>5}"
    )
    figures: dict[str, Any] = {"raw": []}
    for system in SYSTEMS:
        if wanted != ["all"] and system.name not in wanted:
            continue
        for rate in (float(text) or None for text in chosen.rates.split(",")):
            sites = measure(system, rate, system.fitting(rate, chosen.steps), chosen)
            row(system.name, rate, sites)
            figures |= named(system.name, rate, sites, chosen.rtt)
            if not chosen.rtt:
                figures["raw"].append([system.name, rate or 0.0, sites])
    return figures


def kept(path: str | None, figures: dict[str, Any], step_s: float) -> dict[str, Any]:
    """``figures`` with those that ``path`` held before, and what follows from both."""
    before: dict[str, Any] = {}
    if path and Path(path).exists():
        before = json.loads(Path(path).read_text())
    raw = {(name, rate): sites for name, rate, sites in before.get("raw", [])}
    raw |= {(name, rate): sites for name, rate, sites in figures.get("raw", [])}
    whole = before | figures | summary.times(raw, step_s)
    return whole | {"raw": [[name, rate, sites] for (name, rate), sites in raw.items()]}


def storms(parts: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """Figures of the parts in which things fail."""
    figures: dict[str, Any] = {}
    if "learners" in parts:
        import learners

        figures |= learners.measure(32, 4.0, 125.0, 1)
    if "faults" in parts:
        import faults

        found = faults.proof(chosen.fault_rounds, 1)
        figures |= {name: found[name] for name in ("fault_rounds", "fault_loss_gap_pct")}
        figures["kill_stall_s"] = found["hit"]["blocked_s"]
        figures["fault_account_wrong"] = len(found["hit"]["wrong"])
    return figures


def main() -> None:
    """Measure what is asked for, print tables, keep figures."""
    chosen = options()
    every = "links,loss,unequal,learners,faults" if chosen.parts == "all" else chosen.parts
    parts, seeds = every.split(","), [int(seed) for seed in chosen.seeds.split(",")]
    figures: dict[str, Any] = {}
    if "links" in parts:
        figures |= links(chosen)
    if "loss" in parts:
        how = (chosen.loss_batch, chosen.loss_rate, chosen.loss_ways)
        figures |= quality.gaps(chosen.loss_steps, seeds, *how)
    if "unequal" in parts:
        figures |= quality.unequal(chosen.loss_steps, seeds, chosen.loss_batch)
    figures |= storms(parts, chosen)
    whole = kept(chosen.json, figures, chosen.step_s)
    for name, value in whole.items():
        if not isinstance(value, list):
            print(f"{name:<40} {value:.4g}")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(whole, indent=2))


def named(
    name: str, rate: float | None, sites: list[dict[str, Any]], rtt: float = 0.0
) -> dict[str, float]:
    """The flat figures that others read."""
    if not sites:
        return {}
    share = statistics.mean(site["share_without_contention"] for site in sites)
    size = statistics.mean(site["bytes_per_token"] for site in sites)
    link = "unshaped" if rate is None else f"{rate:g}mbit"
    link += f"_{rtt:g}ms" if rtt else ""
    key = name.replace(" ", "_")
    found = {f"ideal_share_{link}_{key}": share, f"bytes_per_token_{key}": size}
    if name == "skep int4" and not rtt:
        found |= {f"ideal_share_{link}": share, "bytes_per_token_int4": size}
    return found


if __name__ == "__main__":
    main()
