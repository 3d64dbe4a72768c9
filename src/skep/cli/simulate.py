"""``skep simulate``: a scenario, or a trace on a pool, in simulated time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from skep.errors import InputError

if TYPE_CHECKING:
    from skep.cli.replay import Asked

BROKEN_PROMISE = 1  # exit code where something happened that must never happen
STDOUT = "-"


class OptionalJson(TyperCommand):
    """``--json`` alone prints; ``--json FILE.json`` writes the file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, filled(args))


def filled(args: Sequence[str]) -> list[str]:
    """``args`` with a value for each ``--json`` that has none."""
    made: list[str] = []
    for word, after in zip(args, [*args[1:], ""], strict=True):
        made.append(word)
        if word == "--json" and after != STDOUT and not after.endswith(".json"):
            made.append(STDOUT)
    return made


def simulate(
    scenario: Annotated[
        Path | None,
        typer.Argument(metavar="[SCENARIO]", help="A scenario file.", show_default=False),
    ] = None,
    pool: Annotated[
        Path | None, typer.Option("--pool", help="A pool file.", show_default=False)
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="Jobs: .swf, .swf.gz, .csv or .parquet.", show_default=False),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Of the trace, where its name does not tell."),
    ] = None,
    part: Annotated[int, typer.Option("--part", help="Which list, of formats with several.")] = 1,
    policy: Annotated[
        list[Path] | None,
        typer.Option("--policy", help="A policy file; again for each to compare."),
    ] = None,
    conditions: Annotated[
        Path | None,
        typer.Option("--scenario", help="Failures, checkpoints, slow nodes.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="In place of the scenario's own.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="So many seeds.")] = 1,
    scale: Annotated[
        int, typer.Option("--scale", min=1, help="The trace and the pool so many times.")
    ] = 1,
    copies: Annotated[
        int | None,
        typer.Option("--copies", min=1, help="The trace so many times, not the pool."),
    ] = None,
    load: Annotated[float, typer.Option("--load", help="Submissions so many times as fast.")] = 1.0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Only the first so many jobs.")
    ] = None,
    every: Annotated[str, typer.Option("--every", help="Decide at most so often (as 30s).")] = "0s",
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML report.", show_default=False)
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a line for each job.", show_default=False),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option("--timeline", help="Write a CSV line for each span.", show_default=False),
    ] = None,
    as_json: Annotated[
        str | None,
        typer.Option("--json", metavar="[FILE]", help="Print JSON, or write it to FILE.json."),
    ] = None,
) -> int:
    """Run a scenario or replay a trace in simulated time.

    What decides is the product's own scheduler. A scenario file simulates control plane and agents
    message by message. With --pool and --trace the jobs of a trace are replayed, under one policy
    or several side by side.
    """
    if scenario is not None:
        if pool is not None or trace is not None:
            given = "--pool" if pool is not None else "--trace"
            raise InputError("scenario", str(scenario), f"allowed: a scenario file, or {given} ..")
        return _scenario(scenario, seed, as_json)
    if pool is None or trace is None:
        missing = "--pool" if pool is None else "--trace"
        raise InputError(missing, "", "allowed: a scenario file, or --pool and --trace")
    from skep.cli.replay import Asked, replay

    asked: Asked = Asked(
        pool=pool, trace=trace, form=form, part=part, policies=tuple(policy or ()),
        conditions=conditions, seed=seed or 0, seeds=seeds, scale=scale, copies=copies, load=load,
        jobs=jobs, every=every, report=report, table=table, timeline=timeline, as_json=as_json,
    )  # fmt: skip
    return replay(asked)


def _scenario(path: Path, seed: int | None, as_json: str | None) -> int:
    from skep.cli.output import show, show_json
    from skep.cli.scenario import figures, power
    from skep.sim.loading import load_scenario
    from skep.sim.loading import simulate as run

    found = run(load_scenario(path), seed)
    if as_json == STDOUT:
        show_json(found.to_json())
    elif as_json is not None:
        write_json(Path(as_json), found.to_json())
    if as_json != STDOUT:
        show(figures(found), "", power(found))
    return BROKEN_PROMISE if found.violations else 0


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON document. Raises ``InputError`` where the file cannot be written."""
    from pydantic_core import to_json

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_json(value, indent=1, inf_nan_mode="null") + b"\n")
    except OSError as error:
        raise InputError("--json", str(path), f"cannot be written: {error.strerror}") from None
    print(f"written: {path}", file=sys.stderr)
