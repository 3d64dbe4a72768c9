"""The figures of benchmarks/train.py: means over seeds, time to a loss, gaps, and what is kept."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SITES = Path(__file__).parents[2] / "benchmarks/sites"


@pytest.fixture(scope="module")
def bench() -> Iterator[Namespace]:
    """The modules beside, kept and summary of the benchmark."""
    sys.path.insert(0, str(SITES))
    import beside
    import kept
    import summary

    yield Namespace(beside=beside, kept=kept, summary=summary)
    sys.path.remove(str(SITES))


def record(system: str, mbit: float = 0.0, seed: int = 1, **more: Any) -> dict[str, Any]:
    """Of two sites that found the same; ``loss`` and ``curve`` of both."""
    steps, chip = more.pop("steps", 100), more.pop("chip_s", 0.4)
    wall = more.pop("step_s", chip) * steps
    site = {
        "steps": steps,
        "wall_s": wall,
        "contention_s": 0.0,
        "share": chip * steps / wall,
        "share_without_contention": chip * steps / wall,
        "bytes_per_token": more.pop("bytes", 50.0),
        "heldout": more.pop("loss", 3.0),
        "curve": more.pop("curve", []),
    }
    found = {"size": "4x128", "system": system, "mbit": mbit, "rtt_ms": 0.0, "steps": steps}
    found |= {"chip_s": chip, "sites": 2, "seed": seed, "failed": "", "load": 0.0}
    return found | {"found": [site, site]} | more


def law(scale: float, slower: float = 1.0) -> list[list[float]]:
    """Looks at a loss that falls with the root of steps, ``slower`` times later."""
    return [[steps, scale * (steps / slower) ** -0.5, 0.0] for steps in range(10, 101, 10)]


def test_shares_are_means_over_the_seeds_that_ended(bench: Namespace) -> None:
    records = [
        record("skep int4", 100.0, 1, step_s=0.4, bytes=60.0),
        record("skep int4", 100.0, 2, step_s=0.8, bytes=50.0),
        record("skep int4", 100.0, 3, found=[], failed="not over after 300 s"),
        record("skep int4", 100.0, 1, size="8x512", step_s=1.6),
    ]
    found = bench.summary.figures(records)
    assert found["ideal_share_100mbit"] == pytest.approx(0.75)
    assert found["ideal_share_100mbit_skep_int4"] == found["ideal_share_100mbit"]
    assert found["ideal_share_100mbit_skep_int4_8x512"] == pytest.approx(0.25)
    assert found["bytes_per_token_int4"] == pytest.approx(55.0)


def test_a_row_tells_why_a_seed_failed_and_leaves_it_out(bench: Namespace) -> None:
    good, bad = record("hivemind", 1.0), record("hivemind", 1.0, 2, found=[], failed="too slow")
    told = bench.summary.row([good, bad])
    assert "seed 2 failed: too slow" in told
    assert " 3.0000 " in told
    assert "seed 2 failed: too slow" in bench.summary.row([bad])


def test_time_to_a_loss_counts_steps_and_waiting(bench: Namespace) -> None:
    """A fifth more steps, each half as long again: 1.8 of the time."""
    records = [
        record("skep int4", 0.0, curve=law(9.0)),
        record("skep int4", 1.0, curve=law(9.0, slower=1.2), step_s=0.6),
    ]
    found = bench.summary.figures(records)
    assert found["time_to_loss_1mbit"] == pytest.approx(1.8)
    assert found["time_to_loss_1mbit_target"] == pytest.approx(9.0 * (100 / 1.2) ** -0.5)
    assert "time_to_loss_1mbit_chosen" not in found


def test_a_faster_chip_on_a_faster_link_is_as_hard(bench: Namespace) -> None:
    """The longer run counts; the shorter one has a name with its steps."""
    records = [
        record("skep int4", 1.0, steps=50, curve=law(9.0, slower=1.5)[:5]),
        record("skep int4", 0.0, steps=50, curve=law(9.0)[:5]),
        record("skep int4", 4.0, chip_s=0.1, step_s=0.11, curve=law(9.0)),
        record("skep int4", 0.0, chip_s=0.1, curve=law(9.0)),
        record("skep int4", 1.0, chip_s=0.1, curve=law(9.0, slower=9.0)),  # four times as hard
    ]
    found = bench.summary.figures(records)
    assert found["time_to_loss_1mbit"] == pytest.approx(1.1)
    assert found["time_to_loss_1mbit_skep_int4_50_steps"] == pytest.approx(1.5)
    assert found["ideal_share_1mbit"] == pytest.approx(1.0)


def test_chance_of_single_looks_is_averaged_out(bench: Namespace) -> None:
    """Seeds that are off by as much in both directions come to the law between them."""
    points = law(9.0)
    up = [[steps, loss * 1.05, 0.0] for steps, loss, _ in points]
    down = [[steps, loss * 0.95, 0.0] for steps, loss, _ in points]
    records = [record("skep int4", 1.0, 1, curve=up), record("skep int4", 1.0, 2, curve=down)]
    curve = bench.summary.curve(records)
    assert bench.summary.steps_to(9.0 * 80**-0.5, curve) == pytest.approx(80.0)
    assert bench.summary.steps_to(0.5, curve) is None  # far beyond what was made


@pytest.mark.parametrize("points", [[], [(10, 3.0)], [(10, 3.0), (20, 3.0), (30, 3.1)]])
def test_no_law_where_the_loss_does_not_fall(bench: Namespace, points: list[Any]) -> None:
    assert bench.summary.law(points) is None
    assert bench.summary.steps_to(2.9, points) is None


def test_peers_are_given_their_own_curve_with_free_communication(bench: Namespace) -> None:
    records = [
        record("skep chosen", 1.0, curve=law(9.0)),
        record("ddp fp16", 0.0, curve=law(9.0, slower=0.5)),
        record("ddp fp16", 1.0, steps=4, step_s=16.0),
        record("hivemind", 0.0, curve=law(9.0)),
        record("hivemind", 1.0, found=[], failed="not over"),
    ]
    found = bench.summary.figures(records)
    assert found["time_to_loss_vs_ddp"] == pytest.approx(20.0)  # 40 times a step, half the steps
    assert "time_to_loss_vs_hivemind" not in found
    assert "time_to_loss_vs_torchft" not in found


def test_gaps_are_over_data_parallelism_at_as_many_steps_and_sites(bench: Namespace) -> None:
    records = [
        record("ddp fp16", seed=seed, sites=4, loss=loss) for seed, loss in ((1, 1.9), (2, 2.1))
    ]
    records += [
        record("hivemind", sites=4, loss=2.2),
        record("skep int4", sites=4, steps=50, loss=9.0),  # another run
        record("skep int4", sites=4, loss=2.05),
        record("alone", sites=1, loss=2.5),
        record("torchft", loss=2.5),  # two sites
    ]
    found = bench.summary.gaps(records)
    gaps = {key: value for key, value in found.items() if "gap" in key}
    assert gaps == {
        "loss_gap_4_sites_hivemind_pct": pytest.approx(10.0),
        "loss_gap_4_sites_skep_int4_pct": pytest.approx(2.5),
        "loss_gap_4_sites_alone_pct": pytest.approx(25.0),
    }


def test_sizes_have_a_chip_or_are_told_one(bench: Namespace) -> None:
    small, other = bench.beside.sizes("4x128, 2x64@0.25")
    assert (small.parameters, small.chip_s, other.chip_s) == (870_656, 0.4, 0.25)
    for wrong in ("4x129", "4", "4x128@soon"):
        with pytest.raises(ArgumentTypeError, match="LAYERSxWIDTH@SECONDS"):
            bench.beside.sizes(wrong)


def test_systems_are_named_or_all(bench: Namespace) -> None:
    assert [system.name for system in bench.beside.systems("hivemind, torchft")] == [
        "hivemind",
        "torchft",
    ]
    assert "alone" not in [system.name for system in bench.beside.systems("all")]
    with pytest.raises(ArgumentTypeError, match="no 'nccl' in skep int4, "):
        bench.beside.systems("nccl")


def test_what_waits_for_all_gradients_makes_fewer_steps(bench: Namespace) -> None:
    ddp = next(system for system in bench.beside.SYSTEMS if system.lockstep)
    assert [ddp.fitting(mbit, 60, 870_656) for mbit in (0.0, 100.0, 10.0, 1.0)] == [60, 60, 43, 4]


def test_what_is_kept_is_not_measured_again(
    bench: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, int]] = []

    def measure(case: Any, how: Any) -> dict[str, Any]:
        measured.append((case.system, case.seed))
        return record(case.system, case.mbit, case.seed, steps=case.steps, loss=len(measured))

    def run(seeds: list[int], again: bool = False) -> dict[str, Any]:
        kept = bench.kept.Kept(str(tmp_path / "kept.json"), again)
        wanted = bench.beside.systems("hivemind")
        chosen = Namespace(steps=60, rtt=0.0, sites=2)
        rows = bench.beside.cases(wanted, bench.beside.sizes("4x128"), [100.0], seeds, chosen)
        how = bench.beside.How(1.0, False)
        kept.records = bench.beside.table(rows, how, kept.records, kept.keep)
        return json.loads((tmp_path / "kept.json").read_text())

    monkeypatch.setattr(bench.beside, "measure", measure)
    run([1, 2])
    assert len(run([1, 2, 3])["records"]) == 3
    assert measured == [("hivemind", 1), ("hivemind", 2), ("hivemind", 3)]
    whole = run([2], again=True)
    assert measured[3:] == [("hivemind", 2)]
    assert sorted((r["seed"], r["found"][0]["heldout"]) for r in whole["records"]) == [
        (1, 1),
        (2, 4),
        (3, 3),
    ]
