"""``skep trace``: look at a trace, or write it as skep's own table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson
from skep.errors import InputError

if TYPE_CHECKING:
    from skep.sim.trace import Trace

app = typer.Typer(
    name="trace", help="Look at a trace of jobs, or convert it.", no_args_is_help=True
)

_File = Annotated[
    Path, typer.Argument(metavar="TRACE", help="A file, or a folder of some formats.")
]
_Format = Annotated[
    str | None, typer.Option("--format", help="Of the trace, where its name does not tell.")
]
_Part = Annotated[int, typer.Option("--part", help="Which list, of formats with several.")]


@app.command()
def show(trace: _File, form: _Format = None, part: _Part = 1, as_json: AsJson = False) -> None:
    """Tell what a trace holds."""
    from skep.cli.output import show as print_
    from skep.cli.output import show_json
    from skep.cli.tables import table
    from skep.sim.readers.read import read_trace
    from skep.units import duration

    found = read_trace(trace, form, part)
    facts = _facts(found)
    if as_json:
        show_json(dict(facts))
        return
    made = table("", found.name, right=(found.name,))
    for name, value in facts.items():
        told = duration(value) if name.endswith("_s") else f"{value:,.1f}".removesuffix(".0")
        made.add_row(name.removesuffix("_s").replace("_", " "), told)
    print_(made)


def _facts(found: Trace) -> dict[str, float]:
    import numpy as np

    span = max(found.span, 1.0)
    return {
        "jobs": len(found),
        "left_out": found.left_out,
        "from_first_to_last_s": found.span,
        "mean_run_s": float(found.duration.mean()),
        "median_run_s": float(np.median(found.duration)),
        "longest_run_s": float(found.duration.max()),
        "mean_chips": float(found.chips.mean()),
        "most_chips": int(found.chips.max()),
        "chips_that_all_work_would_keep_busy": found.work / span,
        "queues": len(found.queues),
        "users": len(found.users),
        "with_estimates": int((~np.isnan(found.estimate)).sum()),
    }


@app.command()
def convert(
    trace: _File,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .csv or .parquet file.")],
    form: _Format = None,
    part: _Part = 1,
) -> None:
    """Write a trace as skep's own table of jobs."""
    from skep.cli.output import note
    from skep.sim.readers.read import read_trace
    from skep.sim.readers.table import write_csv, write_parquet

    writers = {".csv": write_csv, ".parquet": write_parquet}
    if out.suffix not in writers:
        raise InputError("OUT", str(out), f"allowed: a name that ends in {', '.join(writers)}")
    found = read_trace(trace, form, part)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writers[out.suffix](found, out)
    except OSError as error:
        raise InputError("OUT", str(out), f"cannot be written: {error.strerror}") from None
    note(f"{len(found):,} jobs written to {out}")
