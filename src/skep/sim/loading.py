"""Reads a scenario file and builds what it describes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from skep.control.electricity import Electricity, Tables
from skep.control.topology import topology
from skep.errors import InputError, nearest
from skep.files.chips import Written, full_chips, full_span
from skep.files.policy import load_policy
from skep.files.pool import catalogue, load_pool, resolve_chips
from skep.files.problems import check, printable
from skep.files.supply import load_supply
from skep.files.yaml import MIB, Value, parse_mapping, read_text
from skep.model.policy import Policy
from skep.model.site import Pool
from skep.sim.faults import breaks
from skep.sim.pools import generated_pool
from skep.sim.report import SimulationReport, summarize
from skep.sim.scenario import Scenario
from skep.sim.twin import Twin
from skep.sim.workload import workload
from skep.store.memory import MemoryStore

MOST_BYTES = 16 * MIB
_HOUR = 3600.0


def load_scenario(path: str | Path) -> Scenario:
    """The scenario of the file at ``path``, checked. Raises ``InputError``."""
    path = Path(path)
    source = printable(str(path))
    written: Written = {}
    data = parse_mapping(read_text(path, MOST_BYTES), str(path))
    full = {name: _with_jobs(name, value, source, written) for name, value in data.items()}
    scenario = check(Scenario, full, source=source, written=written)
    return scenario.model_copy(update=_paths(scenario, path.parent))


def _with_jobs(name: str, value: Value, source: str, written: Written) -> Value:
    """The short forms of ``chips`` and ``span`` in the jobs, in full."""
    if name not in ("jobs", "arrivals") or not isinstance(value, list):
        return value
    return [_with_job((name, row), item, source, written) for row, item in enumerate(value)]


def _with_job(at: tuple[int | str, ...], item: Value, source: str, written: Written) -> Value:
    job = item.get("job") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(job, dict):
        return item
    full, short = dict(job), Written()
    if at[0] == "arrivals":
        full = {"name": "generated", "run": "work", **full}
    if "chips" in full:
        full["chips"] = full_chips(full["chips"], 1, source, short)
    if "span" in full:
        full["span"] = full_span(full["span"], short)
    written |= {(*at, "job", *key): (*at, "job", *place) for key, place in short.items()}
    return {**item, "job": full}


def _paths(scenario: Scenario, folder: Path) -> Mapping[str, str]:
    """Paths relative to the scenario file, made whole."""
    named = {"pool": scenario.pool, "policy": scenario.policy}
    return {
        field: str((folder / Path(given).expanduser()).absolute())
        for field, given in named.items()
        if isinstance(given, str)
    }


def pool_of(scenario: Scenario) -> Pool:
    """The scenario's pool, read or made up. Raises ``InputError``."""
    if isinstance(scenario.pool, str):
        return load_pool(scenario.pool)
    return generated_pool(scenario.pool, catalogue(), scenario.name)


def policy_of(scenario: Scenario) -> Policy:
    """The scenario's policy. Raises ``InputError``."""
    given = scenario.policy
    return load_policy(given) if isinstance(given, str) else given


def twin_of(scenario: Scenario) -> Twin:
    """A twin that is ready to run. Raises ``InputError``."""
    pool = pool_of(scenario)
    columns = topology(pool, resolve_chips(pool))
    for row, fault in enumerate(scenario.faults):
        if fault.site and fault.site not in columns.row:
            allowed = (
                f"no such site{nearest(fault.site, columns.names)}; allowed: a site of the pool"
            )
            raise InputError(f"faults[{row}].site", fault.site, allowed)
    start = scenario.starts_at
    electricity = Electricity(
        columns,
        start,
        hours=math.ceil(scenario.duration / _HOUR) + 1,
        tables=_tables(pool) if scenario.supply else {},
        on=scenario.supply,
    )
    return Twin(columns, policy_of(scenario), MemoryStore(), electricity, start, scenario.engine)


def _tables(pool: Pool) -> Tables:
    """The columns of sites whose supply is a file."""
    files = {s.name: s.power.supply.file for s in pool.sites if s.power and s.power.supply.file}
    tables = {name: load_supply(path) for name, path in files.items()}
    return {name: (table.start, table.columns) for name, table in tables.items()}


def simulate(scenario: Scenario, seed: int | None = None) -> SimulationReport:
    """Run the scenario; ``seed`` replaces its own. Raises ``InputError``."""
    twin, seed = twin_of(scenario), scenario.seed if seed is None else seed
    arrivals = workload(scenario.jobs, scenario.arrivals, seed, scenario.duration)
    faults = breaks(
        scenario.faults, scenario.failures, twin.topology.names, seed, scenario.duration
    )
    began = time.perf_counter()
    twin.run(arrivals, faults, scenario.duration)
    wall = time.perf_counter() - began
    if twin.control is not None:
        twin.watch.check_all(twin.control, twin.acknowledged, twin.agenda.now)
    return summarize(twin, scenario.name, seed, wall)
