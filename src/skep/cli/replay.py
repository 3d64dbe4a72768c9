"""A trace on a pool under some policies: reads, replays, tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skep.errors import InputError
from skep.units import parse_duration

if TYPE_CHECKING:
    from rich.table import Table

    from skep.model.policy import Policy
    from skep.model.site import Pool
    from skep.sim.conditions import Conditions
    from skep.sim.study import Study, Told
    from skep.sim.trace import Trace

_BIND_UP_TO = 200_000  # jobs: so far runs are bound to nodes, which tells how nodes are broken up


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``skep simulate`` for a trace."""

    pool: Path
    trace: Path
    form: str | None
    part: int
    policies: tuple[Path, ...]
    conditions: Path | None
    seed: int
    seeds: int
    scale: int
    copies: int | None
    load: float
    jobs: int | None
    every: str
    report: Path | None
    table: Path | None
    timeline: Path | None
    as_json: str | None


def replay(asked: Asked) -> int:
    """Replay and tell. Raises ``InputError``."""
    from skep.cli.output import show, show_json
    from skep.cli.simulate import STDOUT, write_json
    from skep.sim.study import to_json

    found = _study(asked)
    if asked.report is not None:
        _write_report(asked.report, found)
    _write_tables(asked, found)
    if asked.as_json == STDOUT:
        show_json(to_json(found))
        return 0
    if asked.as_json is not None:
        write_json(Path(asked.as_json), to_json(found))
    show(_heading(found), "", _table(found))
    return 0


def _study(asked: Asked) -> Study:
    from skep.files.pool import load_pool
    from skep.sim.conditions import Conditions, load_conditions
    from skep.sim.readers.read import read_trace
    from skep.sim.scaling import multiplied, scaled

    period = _period(asked.every)
    conditions = load_conditions(asked.conditions) if asked.conditions else Conditions()
    policies = _policies(asked)
    pool = multiplied(load_pool(asked.pool), asked.scale)
    source = read_trace(asked.trace, asked.form, asked.part)
    copies = asked.copies if asked.copies is not None else asked.scale

    def traced(seed: int) -> Trace:
        return scaled(source, copies=copies, load=asked.load, seed=seed, jobs=asked.jobs)

    seeds = list(range(asked.seed, asked.seed + asked.seeds))
    return _run(pool, traced, policies, conditions, seeds, period, drawn=copies > 1)


def _period(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError("--every", text, str(error)) from None


def _policies(asked: Asked) -> list[tuple[str, Policy]]:
    """Each policy under a name of its own: its file's, numbered where two are called the same."""
    from skep.files.policy import load_policy
    from skep.model.policy import Policy

    if not asked.policies:
        return [("default", Policy())]
    made: list[tuple[str, Policy]] = []
    for path in asked.policies:
        taken = sum(name.split(" #")[0] == path.stem for name, _ in made)
        made.append((f"{path.stem} #{taken + 1}" if taken else path.stem, load_policy(path)))
    return made


def _run(
    pool: Pool,
    traced: object,
    policies: list[tuple[str, Policy]],
    conditions: Conditions,
    seeds: list[int],
    period: float,
    *,
    drawn: bool,
) -> Study:
    from skep.sim.study import study

    if len(seeds) > 1 and not (conditions.random or drawn):
        note = "nothing here is random: one seed says all"
        print(note, file=sys.stderr)
        seeds = seeds[:1]
    assert callable(traced)
    trace = traced(seeds[0])
    with _progress(len(trace), [name for name, _ in policies], seeds) as told:
        return study(
            pool,
            trace,
            policies,
            conditions,
            seeds=seeds,
            traces=traced if drawn and len(seeds) > 1 else None,
            period=period,
            by_node=len(trace) <= _BIND_UP_TO,
            told=told,
        )


@contextmanager
def _progress(jobs: int, policies: list[str], seeds: list[int]) -> Iterator[Told]:
    """A bar over all replays with the time left; none where nobody watches."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from skep.cli.output import console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} jobs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    out = console(stderr=True)
    order = {key: row for row, key in enumerate((p, s) for p in policies for s in seeds)}
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        whole = bar.add_task("replaying", total=jobs * len(order))

        def told(policy: str, seed: int, done: int, now: float) -> None:
            name = f"{policy}, seed {seed}" if len(seeds) > 1 else policy
            text = f"{name}, day {now / 86400:.1f}"
            bar.update(whole, completed=order[policy, seed] * jobs + done, description=text)

        yield told


def _write_report(path: Path, found: Study) -> None:
    from skep.web.simulation import write_simulation

    try:
        write_simulation(path, found, f"{found.trace.name} on {found.topology.pool.name}")
    except OSError as error:
        raise InputError("--report", str(path), f"cannot be written: {error.strerror}") from None
    print(f"written: {path}", file=sys.stderr)


def _write_tables(asked: Asked, found: Study) -> None:
    from skep.sim.study import write_csv, write_timeline

    tables = (("--csv", asked.table, write_csv), ("--timeline", asked.timeline, write_timeline))
    for option, path, write in tables:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(found, path)
        except OSError as error:
            raise InputError(option, str(path), f"cannot be written: {error.strerror}") from None
        print(f"written: {path}", file=sys.stderr)


def _heading(found: Study) -> str:
    seeds = len(found.outcomes[0].runs)
    left = f"; {found.trace.left_out:,} records were no jobs" if found.trace.left_out else ""
    many = f", {seeds} seeds" if seeds > 1 else ""
    return (
        f"{found.trace.name}: {len(found.trace):,} jobs on {found.chips:,} chips at "
        f"{len(found.topology.names):,} sites{many}{left}{_refusals(found)}"
    )


def _refusals(found: Study) -> str:
    """How many jobs each policy refuses, and the first one's reason."""
    told = ""
    for outcome in found.outcomes:
        if refused := outcome.runs[0].refused:
            whose = f" by {outcome.policy}" if len(found.outcomes) > 1 else ""
            told += f"; {refused:,} refused{whose}: {next(iter(outcome.record.refused.values()))}"
    return told


def _table(found: Study) -> Table:
    from skep.cli.tables import table
    from skep.web.simulation import lines

    names = [outcome.policy for outcome in found.outcomes]
    made = table("", *names, right=tuple(names))
    for line in lines(found):
        cells = [" ".join(filter(None, (c.text, c.half, c.change))) for c in line.cells]
        made.add_row(line.name, *cells)
    return made
