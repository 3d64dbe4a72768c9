"""Reads job files: ``docs/guides/job-file.md`` explains each field."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from skep.errors import InputError
from skep.files.chips import Written, full_chips, full_span
from skep.files.hints import JOB_HINTS
from skep.files.problems import Plain, check, field_name, printable, unknown_field
from skep.files.workload import workload_of
from skep.files.yaml import MIB, Value, parse_mapping, read_text
from skep.model.job import Job

MOST_BYTES = MIB
JOB_FIELDS = tuple(name for name in Job.model_fields if name != "bundle")
FREE_TEXT = ("run", "setup", "env")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_job(path: str | Path) -> Job:
    """The job of the file at ``path``, checked; its workdir is absolute and readable.

    Raises ``InputError``.
    """
    path = Path(path)
    text = read_text(path, MOST_BYTES)
    return job_from_mapping(job_mapping(text, str(path)), str(path), folder=path.parent)


def job_mapping(text: str, source: str) -> dict[str, Value]:
    """The fields of a job file's text, unchecked. Values of ``env`` are the text as written."""
    return parse_mapping(text, source, text_under=("env",), free=FREE_TEXT)


def job_from_mapping(
    data: Mapping[str, Value], source: str = "", *, folder: Path | None = None
) -> Job:
    """The job that ``data`` describes, short forms included. Raises ``InputError``.

    ``source`` begins each error. A relative workdir is relative to ``folder``; without a folder
    the workdir is left as it is and not looked at.
    """
    source = printable(source)
    for word in data:
        if word not in JOB_FIELDS:
            raise _unknown(word, data[word], source)
    written: Written = {}
    full = _full(data, source, written)
    if "model" in full:
        full["model"] = workload_of(full["model"], source, folder).model_dump()
    job = check(Job, full, source=source, written=written, hints=JOB_HINTS)
    _check_env(job, source)
    _check_counts(job, source, written)
    return job if folder is None else with_workdir(job, folder, source)


def _unknown(word: str, value: Value, source: str) -> InputError:
    shown = Plain("a mapping") if isinstance(value, dict) else value
    said = unknown_field(word, JOB_FIELDS, JOB_HINTS)
    return InputError(field_name((word,)), shown, said, source=source)


def _full(data: Mapping[str, Value], source: str, written: Written) -> dict[str, Value]:
    """``data`` in the model's form; fields without a value are as if they were not there."""
    full: dict[str, Value] = {name: value for name, value in data.items() if value is not None}
    elastic = full.get("elastic")
    count: Value = elastic.get("max", 1) if isinstance(elastic, dict) else 1
    if "chips" in full or elastic is not None:
        full["chips"] = full_chips(full.get("chips", {}), count, source, written)
    if "span" in full:
        full["span"] = full_span(full["span"], written)
    return full


def _check_env(job: Job, source: str) -> None:
    for name in job.env:
        if not _VARIABLE.fullmatch(name):
            allowed = "allowed: names of letters, digits and _ (a letter or _ first)"
            raise InputError("env", name, allowed, source=source)
        if name.startswith("SKEP_"):
            allowed = "allowed: names that do not begin with SKEP_ (skep sets those itself)"
            raise InputError("env", name, allowed, source=source)


def _check_counts(job: Job, source: str, written: Written) -> None:
    for row, request in enumerate(job.chips):
        at = field_name(_place(row, written))
        if job.elastic and not job.elastic.min <= request.count <= job.elastic.max:
            allowed = f"allowed: {job.elastic.min} to {job.elastic.max}, the range of elastic"
            raise InputError(at, request.count, allowed, source=source)
        if job.span.min > request.count:
            name = field_name(written.get(("span", "min"), ("span", "min")))
            allowed = f"allowed: at most {request.count}, as each site takes one chip or more"
            raise InputError(name, job.span.min, allowed, source=source)


def _place(row: int, written: Written) -> tuple[int | str, ...]:
    exact = written.get(("chips", row, "count"))
    return exact or (*written.get(("chips", row), ("chips", row)), "count")


def with_workdir(job: Job, folder: Path, source: str) -> Job:
    """``job`` with an absolute workdir, relative to ``folder``, that can be read.

    Raises ``InputError``.
    """
    if job.workdir is None:
        return job
    path = (folder / Path(job.workdir).expanduser()).absolute()
    allowed = ""
    if not path.exists():
        allowed = f"there is no {printable(str(path))}; allowed: a folder that exists"
    elif not path.is_dir():
        allowed = "that is a file; allowed: a folder"
    elif not os.access(path, os.R_OK | os.X_OK):
        allowed = "it may not be read; allowed: a readable folder"
    if allowed:
        raise InputError("workdir", job.workdir, allowed, source=source)
    return job.model_copy(update={"workdir": os.path.normpath(path)})
