"""From submit to start on the embedded pool: 200 small jobs, one after another and all at once.

    python benchmarks/latency.py [--jobs N]

Starts the example pool with ``skep up``, submits over HTTP as the command does, and takes the
times from the event log: ``Submitted`` to the first ``RunStarted``. Wall-clock, so noisy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skep.client import Client
from skep.model.job import Job

ROOT = Path(__file__).parents[1]
SKEP = Path(sys.executable).with_name("skep")


def main() -> None:
    """Print one row per way of submitting."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=200)
    count = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SKEP_HOME"] = folder
        subprocess.run([SKEP, "up", "--pool", ROOT / "examples/pool.yaml"], check=True)
        try:
            client = _client(Path(folder))
            print(f"{'jobs':>5} {'way':<18} {'median s':>9} {'p99 s':>9} {'jobs/s':>8}")
            _row(client, count, "one after another", at_once=False)
            _row(client, count, "all at once", at_once=True)
        finally:
            subprocess.run([SKEP, "down", "--force"], check=False)


def _client(home: Path) -> Client:
    import json

    server = json.loads((home / "server.json").read_text())
    return Client(server["url"], token=(home / "tokens/admin").read_text().strip())


def _row(client: Client, count: int, way: str, *, at_once: bool) -> None:
    began = time.monotonic()
    ids = []
    for n in range(count):
        ids.append(client.submit(Job(name=f"small-{int(at_once)}-{n}", run="true")).id)
        if not at_once:
            _ended(client, ids[-1])
    for job in ids:
        _ended(client, job)
    took = time.monotonic() - began
    waits = sorted(_latency(client, job) for job in ids)
    p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    median = statistics.median(waits)
    print(f"{count:>5} {way:<18} {median:>9.3f} {p99:>9.3f} {count / took:>8.1f}", flush=True)


def _ended(client: Client, job: str) -> None:
    after = 0
    while True:
        page = client.events(job, after=after, wait=10)
        after = page.next
        if any(e.event.kind == "job_ended" for e in page.events):
            return


def _latency(client: Client, job: str) -> float:
    view = client.job(job)
    assert view.started_at is not None
    return view.started_at - view.submitted_at


if __name__ == "__main__":
    main()
