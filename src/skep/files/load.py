"""Reads whatever ``skep run`` is given: a job file or a Slurm batch script."""

from __future__ import annotations

from pathlib import Path

from skep.files.job import MOST_BYTES, job_from_mapping, job_mapping
from skep.files.loaded import Loaded
from skep.files.sbatch import load_sbatch
from skep.files.yaml import read_text

_SCRIPTS = frozenset({".sbatch", ".slurm", ".sh", ".bash", ".sl"})


def load_any(path: str | Path) -> Loaded:
    """The job of the file at ``path``, with notes to show.

    A batch script where the name ends in ``.sbatch``, ``.slurm``, ``.sl``, ``.sh`` or ``.bash``,
    or the text begins with ``#!``; else a job file. Raises ``InputError``.
    """
    path = Path(path)
    if path.suffix in _SCRIPTS:
        return load_sbatch(path)
    text = read_text(path, MOST_BYTES)
    if text.startswith("#!"):
        return load_sbatch(path)
    source = str(path)
    return Loaded(job_from_mapping(job_mapping(text, source), source, folder=path.parent))
