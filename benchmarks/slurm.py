"""Slurm's own controller and skep, on the same emulated pool: jobs placed per second of CPU time.

    python benchmarks/slurm.py [--nodes 2000 10000] [--jobs N] [--json FILE]

Debian's slurmctld with nodes in state CLOUD: resumed by /bin/true, so that jobs are placed on nodes
that do not exist and show CONFIGURING. One-node jobs of 8 GPUs (GRES) come as one job array.
Counted: jobs that hold nodes, over the CPU time of slurmctld from the submission on. skep: its
control plane (submit, cycle, commit into SQLite as in production) on a pool of as many nodes, the
same jobs, CPU time of this process. Installs slurmctld by apt where it is missing, run as root.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skep.control.draft import Draft
from skep.control.electricity import Electricity
from skep.control.service import Control
from skep.control.topology import topology
from skep.files.pool import resolve_chips
from skep.model.event import SiteJoined
from skep.model.job import ChipRequest, Job
from skep.model.policy import Policy
from skep.model.site import NodePool, Pool, Site
from skep.store.sql import open_store

PACKAGES = ("slurmctld", "slurm-client", "slurm-wlm-basic-plugins", "munge")
SIZES = (2_000, 10_000, 60_000, 125_000)
JOBS = {2_000: 1_000, 10_000: 600, 60_000: 120, 125_000: 60}  # Slurm places one in a second there
NODE = 8
MOST_WAIT = 180.0  # s that Slurm may take for a size
RANGE = 60_000  # names in one range of nodes: Slurm takes 65,536 at most

CONF = """
ClusterName=bench
SlurmctldHost={host}
SlurmctldPort={port}
SlurmdPort={other}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmctldLogFile={folder}/ctld.log
SlurmctldDebug=error
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MaxJobCount=200000
MaxArraySize=100001
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=default_queue_depth=100000,max_sched_time=30,sched_min_interval=0,batch_sched_delay=0,bf_max_job_test=1
MessageTimeout=100
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=-1
ResumeTimeout=3600
SlurmctldParameters=cloud_dns,idle_on_node_suspend
SlurmctldTimeout=600
SlurmdTimeout=0
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--jobs", type=int, help="of each size; default: fewer the larger")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    there = _there()
    print("jobs placed per second of its own CPU time; ratio: skep with submissions / Slurm")
    print(
        f"{'nodes':>9} {'chips':>9} {'jobs':>6} {'Slurm':>9} {'skep':>9} {'of it placing':>14} "
        f"{'ratio':>7}"
    )
    for nodes in given.nodes:
        jobs = given.jobs or JOBS.get(nodes, max(1, min(nodes // 2, 600)))
        theirs = _slurm(nodes, jobs) if there else None
        ours, placing = _skep(nodes, jobs)
        ratio = f"{ours / theirs:7,.0f}" if theirs else "      –"
        told = f"{theirs:9,.1f}" if theirs else f"{'not run':>9}"
        print(
            f"{nodes:>9,} {nodes * NODE:>9,} {jobs:>6,} {told} {ours:9,.0f} "
            f"{placing:14,.0f} {ratio}"
        )
        figures[f"skep_jobs_per_cpu_s_{nodes}"] = ours
        if theirs:
            figures[f"slurm_jobs_per_cpu_s_{nodes}"] = theirs
            figures["slurm_ratio"] = ours / theirs
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def _there() -> bool:
    """Whether slurmctld is installed, after trying to."""
    if shutil.which("slurmctld") and shutil.which("munged"):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("slurmctld is not installed; as root on Debian this installs it")
        return False
    print("installing slurmctld by apt (once)")
    words = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        print("  it could not be installed")
    return done.returncode == 0


# Slurm


def _slurm(nodes: int, jobs: int) -> float | None:
    """Jobs placed per second of slurmctld's CPU time; None where it does not start."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        env = _configured(folder, nodes)
        with _munge(folder) as munge, _controller(folder, env) as process:
            if munge is None or not _answers(env, process):
                print((folder / "ctld.log").read_text()[-500:] if process else "no munge")
                return None
            return _measured(process.pid, env, jobs)


def _configured(folder: Path, nodes: int) -> dict[str, str]:
    for part in ("state", "spool"):
        (folder / part).mkdir()
    lines = []
    for first in range(0, nodes, RANGE):
        last = min(first + RANGE, nodes) - 1
        lines.append(
            f"NodeName=r{first // RANGE}n[0-{last - first}] CPUs=64 RealMemory=1000000 "
            f"Gres=gpu:{NODE} State=CLOUD"
        )
    port, other = _port(), _port()
    conf = CONF.format(
        host=socket.gethostname(), port=port, other=other, folder=folder, user=getpass.getuser(),
        nodes="\n".join(lines),
    )  # fmt: skip
    (folder / "slurm.conf").write_text(conf)
    (folder / "gres.conf").write_text("AutoDetect=off\n")
    return os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}


def _port() -> int:
    """A free port below the ephemeral ones."""
    for port in range(21_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            if port not in _taken:
                _taken.add(port)
                return port
    raise RuntimeError("no free port")


_taken: set[int] = set()


@contextmanager
def _munge(folder: Path) -> Iterator[subprocess.Popen[bytes] | None]:
    """A munged of our own: key, socket and log in the folder."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    words = [
        "munged", "--foreground", "--force", f"--key-file={key}",
        f"--socket={folder}/munge.sock", f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            if (folder / "munge.sock").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        try:
            yield process if process.poll() is None else None
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def _controller(folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    words = ["slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf")]
    with (
        (folder / "ctld.out").open("wb") as out,
        subprocess.Popen(words, env=env, stdout=out, stderr=out) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(env: dict[str, str], process: subprocess.Popen[bytes]) -> bool:
    for _ in range(240):
        if process.poll() is not None:
            return False
        done = _ask(env, "scontrol", "ping")
        if "is UP" in done:
            return True
        time.sleep(0.5)
    return False


def _ask(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _measured(pid: int, env: dict[str, str], jobs: int) -> float | None:
    script = "#!/bin/sh\nsleep 1000000\n"
    before = _cpu(pid)
    submit = ["sbatch", "-N1", "-n1", f"--gres=gpu:{NODE}", f"--array=1-{jobs}", "-o", "/dev/null"]
    done = subprocess.run(
        submit, env=env, input=script, capture_output=True, text=True, check=False
    )
    if not re.search(r"\d+", done.stdout):
        print(done.stderr.strip())
        return None
    placed, until = 0, time.monotonic() + MOST_WAIT
    while placed < jobs and time.monotonic() < until:
        time.sleep(1.0)
        placed = len(_ask(env, "squeue", "-h", "-r", "-t", "CF,R", "-o", "%i").split())
    spent = _cpu(pid) - before
    return placed / spent if placed and spent else None


def _cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# skep


def _skep(nodes: int, jobs: int) -> tuple[float, float]:
    """Jobs per CPU second: submitted one by one (each durable), decided in one cycle (durable).

    The second figure leaves the submissions out: Slurm's come as one array.
    """
    pools = (NodePool(chip="h100-sxm", nodes=nodes, chips_per_node=NODE, nodes_per_block=32),)
    pool = Pool(name="bench", sites=(Site(name="one", engine="simulated", pools=pools),))
    columns = topology(pool, resolve_chips(pool))
    with tempfile.TemporaryDirectory(prefix="skep-") as folder:
        store = open_store(Path(folder))
        now = 1_000_000.0
        electricity = Electricity(columns, now, hours=1, on=False)
        control = Control(columns, Policy(), store, electricity, now)
        draft = Draft(control.world)
        draft.add(SiteJoined(at=now, site="one", agent="bench"))
        draft.commit(store)
        control.world.heard["one"] = now
        spec = Job(name="j", run="sleep", chips=(ChipRequest(count=NODE, kind="h100-sxm"),))
        began = time.process_time()
        for row in range(jobs):
            control.submit(spec, "u", f"j{row}", now)
        submitted = time.process_time()
        control.cycle(now)
        ended = time.process_time()
        placed = sum(bool(job.live()) for job in control.world.jobs.values())
        store.close()
    assert placed == jobs, f"{placed} of {jobs} were placed"
    return placed / (ended - began), placed / (ended - submitted)


if __name__ == "__main__":
    main()
