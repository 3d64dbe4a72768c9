"""One function for all formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skep.errors import InputError, nearest
from skep.sim.readers.gavel import read_gavel
from skep.sim.readers.openb import read_openb
from skep.sim.readers.philly import read_philly
from skep.sim.readers.pollux import read_pollux
from skep.sim.readers.swf import read_swf
from skep.sim.readers.table import read_csv, read_parquet
from skep.sim.trace import Trace

FORMATS: dict[str, Callable[..., Trace]] = {
    "swf": read_swf,
    "csv": read_csv,
    "parquet": read_parquet,
    "philly": read_philly,
    "openb": read_openb,
    "pollux": read_pollux,
    "gavel": read_gavel,
}
PARTED = ("pollux", "gavel")
_ENDINGS = {".swf": "swf", ".swf.gz": "swf", ".csv": "csv", ".parquet": "parquet"}


def read_trace(path: Path, form: str | None = None, part: int = 1) -> Trace:
    """The trace at ``path``; its format by its ending, where ``form`` does not say it.

    ``part`` chooses one of the lists of formats that have several. Raises ``InputError``.
    """
    if form is not None and form not in FORMATS:
        allowed = f"allowed: {', '.join(FORMATS)}{nearest(form, FORMATS)}"
        raise InputError("format", form, allowed)
    if not path.exists():
        raise InputError("trace", str(path), "no such file")
    found = form or next((f for end, f in _ENDINGS.items() if path.name.endswith(end)), None)
    if found is None:
        allowed = f"allowed: a name that ends in {', '.join(_ENDINGS)}, or --format"
        raise InputError("trace", str(path), allowed)
    more: dict[str, Any] = {"part": part} if found in PARTED else {}
    return FORMATS[found](path, **more)
