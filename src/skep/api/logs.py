"""Pages through the logs of a job's runs; the cursor holds an offset per run and process."""

from __future__ import annotations

import json

from skep.errors import InputError
from skep.model.views import JobDetail, LogPart, Logs
from skep.store.logs import LogFolder


def read_logs(
    folder: LogFolder,
    job: JobDetail,
    site: str,
    run: str,
    process: str,
    cursor: str,
    limit: int,
) -> Logs:
    """At most ``limit`` bytes of log text after ``cursor``, of the runs that are asked for."""
    offsets = _decode(cursor)
    parts: list[LogPart] = []
    for view in job.runs:
        if (site and view.site != site) or (run and view.run != run):
            continue
        for name in folder.processes(view.run):
            if limit <= 0 or (process and name != process):
                continue
            key = f"{view.run}/{name}"
            start = offsets.get(key, 0)
            text, end = folder.read(view.run, name, start, limit)
            if end > start:
                parts.append(
                    LogPart(run=view.run, site=view.site, process=name, offset=start, text=text)
                )
                offsets[key] = end
                limit -= end - start
    over = job.phase in ("succeeded", "failed", "cancelled")
    return Logs(parts=tuple(parts), cursor=json.dumps(offsets), ended=over and not parts)


def _decode(cursor: str) -> dict[str, int]:
    try:
        data = json.loads(cursor or "{}")
        return {str(key): int(value) for key, value in data.items()}
    except (ValueError, AttributeError, TypeError):
        raise InputError("cursor", cursor, "allowed: the cursor of an earlier answer") from None
