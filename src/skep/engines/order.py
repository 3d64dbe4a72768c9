"""From an order to the sheet of a run on this machine: counts, folders, environment."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from skep.engines.base import Material
from skep.engines.ending import Over
from skep.engines.folder import RunFolder
from skep.engines.loading import Setting
from skep.engines.sheet import RANK_NAMES, Sheet
from skep.model.message import Order
from skep.runenv import RunEnv

# Variables of the agent that never reach a job: skep's own, another launcher's, and secrets.
_FOREIGN = ("SKEP_", "SLURM_", "TORCHELASTIC_")
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY")


def sheet_of(
    order: Order,
    setting: Setting,
    folder: RunFolder,
    material: Material,
    environ: Mapping[str, str],
) -> Sheet:
    """The resolved run; raises ``Over`` where the order cannot be followed here."""
    spec, share, site = order.spec, order.share, setting.site
    exchange = order.site_count > 1 or spec.span.most > 1
    checkpoint = _checkpoint(order, folder)
    known = RunEnv(
        job=order.job,
        run=order.run,
        site=site.name,
        site_rank=share.rank,
        site_count=order.site_count,
        chip=share.chip,
        chips=share.chips,
        chip_speed=order.chip_speed,
        proxy=setting.proxy,
        relay=setting.relay if exchange else "",
        token_file=str(folder.token) if material.token else "",
        progress_file=str(folder.progress),
        checkpoint_dir=str(checkpoint),
        work_dir=str(folder.work),
    )
    skep = {k: v for k, v in asdict(known).items() if k not in ("peers", "listen")}
    return Sheet(
        run=order.run,
        job=order.job,
        attempt=order.attempt,
        share=share.rank,
        command=spec.run,
        setup=spec.setup,
        host=site.address,
        processes={"chip": share.chips, "node": share.nodes, "site": 1}[spec.per],
        nodes=1 if spec.per == "site" else share.nodes,
        exchange=exchange,
        fenced=spec.on_site_loss != "wait",
        grace=order.grace,
        time_limit=spec.time_limit,
        bundle="" if material.bundle is None else str(material.bundle),
        digest=spec.bundle or "",
        checkpoint=str(checkpoint),
        inbound=site.inbound,
        env=_environ(order, folder, environ),
        skep=skep,
    )


def _checkpoint(order: Order, folder: RunFolder) -> Path:
    """The job's own folder at this site, a folder below it, or the absolute path as given."""
    own = folder.site.checkpoint(order.job)
    path = (own / (order.spec.checkpoint or "")).resolve()
    asked = Path(order.spec.checkpoint or "")
    if not asked.is_absolute() and not path.is_relative_to(own.resolve()):
        raise Over("failed", f"checkpoint: {asked} leaves the job's own folder at the site")
    return path


def _environ(order: Order, folder: RunFolder, agent: Mapping[str, str]) -> dict[str, str]:
    spec = order.spec
    environ = inherited(agent)
    environ["PYTHONUNBUFFERED"] = "1"
    if spec.per == "chip" and order.share.chips > 1:
        environ.setdefault("OMP_NUM_THREADS", "1")
    environ |= spec.env
    first = [str(Path(sys.executable).parent)]
    if "SLURM_NTASKS" in spec.env:
        first.insert(0, str(folder.path / "bin"))
        environ.setdefault("SLURM_JOB_ID", order.job)
        environ.setdefault("SLURM_SUBMIT_DIR", str(folder.work))
    environ["PATH"] = os.pathsep.join([*first, environ.get("PATH", os.defpath)])
    return environ


def inherited(agent: Mapping[str, str]) -> dict[str, str]:
    """The agent's variables without skep's own, another launcher's, and what looks secret."""
    return {
        name: value
        for name, value in agent.items()
        if not name.startswith(_FOREIGN)
        and name not in RANK_NAMES
        and not any(word in name.upper() for word in _SECRET)
    }


def write_srun(folder: RunFolder) -> None:
    """Put the ``srun`` of runs made from batch scripts into the run's ``bin``."""
    shim = folder.path / "bin" / "srun"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m skep.engines.srun "$@"\n')
    shim.chmod(0o755)
