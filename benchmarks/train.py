"""One model over slow links: skep.train beside torch DDP, torchft and hivemind, in one go.

    python benchmarks/train.py [--parts links,equal,loss,unequal,learners,faults] [--only NAMES]
                               [--sizes 4x128,8x512] [--rates 100,10,1] [--rtt MS] [--steps N]
                               [--seeds 1,2,3] [--json FILE] [--again] [--at-once N]

Sites are network namespaces (root), links are shaped by tbf in both directions, and each step is
padded to the time of a virtual chip, so that the network and not the noise of this machine is
measured. With ``--rtt`` two sites are joined by a forwarder of packets that also delays them
(``sites/tunnel.py``). ``share`` is the ideal time (steps times chip time) over the wall time;
``calm`` the same without the seconds in which the machine was too slow for the chip (contention);
``load`` is the machine's average of a minute. Bytes are the kernel's counter of the site's link,
headers and control included. All are means over sites and seeds; ``+-`` is the standard deviation
over seeds of what is left of it. What failed is told with the reason and is in no mean.
The peers live in an environment of their own that is made under build/peers on first use.

``links`` measures the systems over shaped links and, with ``--curve``, the time to a fixed loss
(``sites/summary.py`` says how that is defined; it needs the rates 100, 1 and 0);
``equal`` the loss of all systems after equally many tokens at each of four sites;
``loss`` the loss at equal tokens against data parallelism, four virtual sites; ``unequal`` chips of
1, 1, 1/4 and 1/4 of a speed against the strong ones alone, in the same time; ``learners``
and ``faults`` are ``benchmarks/learners.py`` and ``benchmarks/faults.py``. With ``--json`` each
row is kept as it ends, and what the file has is not measured again without ``--again``, so that a
long table can be made in several sittings; figures of other parts are kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "sites"))
import beside
import net
import quality
from kept import Kept

PARTS = "links,equal,loss,unequal,learners,faults"


def numbers(text: str) -> list[int]:
    """From "1,2,3"."""
    return [int(word) for word in text.split(",")]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="links", help="with commas; all")
    parser.add_argument(
        "--only", type=beside.systems, default="skep int4,ddp fp16", help="with commas; all"
    )
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3], help="with commas")
    parser.add_argument("--sizes", type=beside.sizes, default="4x128", help="LAYERSxWIDTH@CHIP_S")
    parser.add_argument("--loss-steps", type=int, default=600, help="of each site")
    parser.add_argument("--loss-batch", type=int, default=2, help="windows of 32 bytes a step")
    parser.add_argument("--loss-rate", type=float, default=1.0, help="of the learning rate")
    parser.add_argument(
        "--loss-ways",
        default="int8,int4,int2",
        help="codecs, each also with +lengthen (longer steps), +own (clipped by each site's norm)",
    )
    parser.add_argument("--loss-clip", type=float, default=1.0, help="norm; 0: not clipped")
    parser.add_argument("--fault-rounds", type=int, default=200)
    parser.add_argument("--rates", default="100,1", help="Mbit/s, with commas; 0: not shaped")
    parser.add_argument("--rtt", type=float, default=0.0, help="ms, of two sites; 0: none added")
    parser.add_argument("--steps", type=int, default=60, help="of the part links")
    parser.add_argument("--sites", type=int, default=2, help="of the part links")
    parser.add_argument("--equal-steps", type=int, default=200, help="of the part equal")
    parser.add_argument("--equal-step-s", type=float, default=0.2, help="chip of the part equal")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that one run may take")
    parser.add_argument("--curve", action="store_true", help="held-out loss every ten steps")
    parser.add_argument("--at-once", type=int, default=1, help="seeds side by side, given cores")
    parser.add_argument("--json", help="figures and records are kept here")
    parser.add_argument("--again", action="store_true", help="measure what the file has already")
    chosen = parser.parse_args()
    if chosen.rtt and chosen.sites != 2:
        parser.error(f"--rtt joins two sites, not {chosen.sites}")
    chosen.parts = (PARTS if chosen.parts == "all" else chosen.parts).split(",")
    for part in set(chosen.parts) - set(PARTS.split(",")):
        parser.error(f"--parts: no {part!r} in {PARTS}")
    return chosen


def links(chosen: argparse.Namespace, kept: Kept) -> None:
    """One row per size, system and rate."""
    rates = [float(text) for text in chosen.rates.split(",")]
    rows = beside.cases(chosen.only, chosen.sizes, rates, chosen.seeds, chosen)
    how = beside.How(chosen.limit, chosen.curve, chosen.at_once)
    kept.records = beside.table(rows, how, kept.records, kept.keep)


def equal(chosen: argparse.Namespace, kept: Kept) -> None:
    """One row per system: the loss after equally many tokens at each of four sites."""
    wanted = [*chosen.only, *beside.systems("alone")]
    same = argparse.Namespace(steps=chosen.equal_steps, sites=4, rtt=0.0)
    small = [beside.Size(4, 128, chosen.equal_step_s)]
    how = beside.How(chosen.limit, False, chosen.at_once)
    rows = beside.cases(wanted, small, [0.0], chosen.seeds, same)
    kept.records = beside.table(rows, how, kept.records, kept.keep)


def storms(chosen: argparse.Namespace) -> dict[str, Any]:
    """Figures of the parts in which things fail."""
    figures: dict[str, Any] = {}
    if "learners" in chosen.parts:
        import learners

        figures |= learners.measure(32, 4.0, 125.0, 1)
    if "faults" in chosen.parts:
        import faults

        found = faults.proof(chosen.fault_rounds, 1)
        figures |= {name: found[name] for name in ("fault_rounds", "fault_loss_gap_pct")}
        figures["kill_stall_s"] = found["hit"]["blocked_s"]
        figures["fault_account_wrong"] = len(found["hit"]["wrong"])
    return figures


def main() -> None:
    """Measure what is asked for, print tables, keep figures."""
    chosen = options()
    kept = Kept(chosen.json, chosen.again)
    measured = {"links": links, "equal": equal}
    for part, measure in measured.items():
        if part in chosen.parts and (reason := net.possible()):
            print(f"{part} skipped: {reason}")
        elif part in chosen.parts:
            measure(chosen, kept)
    if "loss" in chosen.parts:
        how = (chosen.loss_batch, chosen.loss_rate, chosen.loss_ways, chosen.loss_clip)
        kept.figures |= quality.gaps(chosen.loss_steps, chosen.seeds, *how)
    if "unequal" in chosen.parts:
        kept.figures |= quality.unequal(chosen.loss_steps, chosen.seeds, chosen.loss_batch)
    kept.figures |= storms(chosen)
    kept.keep(kept.records)
    for name, value in sorted(kept.figures.items()):
        print(f"{name:<48} {value:.4g}")


if __name__ == "__main__":
    main()
