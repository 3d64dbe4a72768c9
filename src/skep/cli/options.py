"""Options that many commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skep.cli.complete import job_names

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="SKEP_HOME",
        help="State folder (default: ~/.local/state/skep).",
        show_default=False,
        file_okay=False,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", envvar="SKEP_SERVER", help="Address of a control plane.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JobRef = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id, start of an id, or name (the newest of that name).",
        autocompletion=job_names,
    ),
]
JobRefs = Annotated[
    list[str],
    typer.Argument(metavar="JOB...", help="Ids or names.", autocompletion=job_names),
]
