"""AccaSim over a trace in the Standard Workload Format: prints its own CPU seconds as JSON.

    python run_accasim.py TRACE.swf NODES CORES_PER_NODE FOLDER

Started by benchmarks/twin.py with the interpreter of a virtual environment that has AccaSim.
"""

import collections
import collections.abc
import json
import os
import sys
import time

# AccaSim 1.1.3 is of 2021: what it imports was since moved or renamed.
for name in ("Mapping", "MutableMapping", "Sequence", "Iterable", "Callable"):
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))
if not hasattr(time, "clock"):
    time.clock = time.perf_counter  # type: ignore[attr-defined]

from accasim.base.allocator_class import FirstFit  # noqa: E402
from accasim.base.scheduler_class import EASYBackfilling, FirstInFirstOut  # noqa: E402
from accasim.base.simulator_class import Simulator  # noqa: E402


def main() -> None:
    trace, nodes, cores, folder, kind = sys.argv[1:6]
    os.chdir(folder)
    config = os.path.join(folder, "accasim-system.json")
    with open(config, "w", encoding="utf-8") as out:
        json.dump(
            {
                "groups": {"node": {"core": int(cores), "mem": 1_000_000_000}},
                "resources": {"node": int(nodes)},
                "start_time": 0,
            },
            out,
        )
    chosen = {"fifo": FirstInFirstOut, "easy": EASYBackfilling}[kind]
    began = time.process_time()
    simulator = Simulator(
        trace, config, chosen(FirstFit()), scheduling_output=True, pprint_output=False,
        benchmark_output=False, statistics_output=True,
    )  # fmt: skip
    files = simulator.start_simulation()
    cpu = time.process_time() - began
    print(
        "RESULT "
        + json.dumps({"cpu_s": cpu, "files": {k: str(v) for k, v in (files or {}).items()}})
    )


if __name__ == "__main__":
    main()
