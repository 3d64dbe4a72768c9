"""``skep schema``: the JSON Schema of the files, for editors."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """The files that skep reads."""

    job = "job"
    pool = "pool"
    policy = "policy"
    scenario = "scenario"


def schema(
    kind: Annotated[Kind, typer.Argument(help="Which file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="The same: it is JSON.")] = False,
) -> None:
    """Print the JSON Schema of a job, pool, policy or scenario file."""
    from skep.files.schema import schema_text

    del as_json  # there is no other form
    print(schema_text(kind.value), end="")
