"""hpcsim over a trace in the Standard Workload Format: prints its own CPU seconds as JSON.

    python run_hpcsim.py TRACE.swf NODES GPUS_PER_NODE FOLDER fifo|easy

Started by benchmarks/twin.py with the interpreter of a virtual environment that has hpcsim. A job
without an architecture works at one iteration a second and GPU: its run time is then that of the
trace.
"""

import json
import sys
import time

from hpcsim.cluster.cluster import Cluster, ClusterConfig
from hpcsim.cluster.hardware import GPUType
from hpcsim.scheduler.schedulers import SCHEDULER_REGISTRY
from hpcsim.simulator.engine import SimulationEngine
from hpcsim.workload.job import TrainingJob


def main() -> None:
    trace, nodes, size, _, kind = sys.argv[1:6]
    jobs = []
    with open(trace, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(";"):
                continue
            part = line.split()
            chips, took = int(part[7]), float(part[3])
            job = TrainingJob(job_id=part[0], submit_time=float(part[1]))
            job.arch = None
            job.num_gpus_requested = job.min_gpus = job.max_gpus = chips
            job.num_iterations = int(took) * chips
            job.memory_per_gpu_gb = 0.0
            jobs.append(job)
    config = ClusterConfig("peer", [(GPUType.V100, int(nodes), int(size))])
    cluster = Cluster(config)
    name = {"fifo": "fifo", "easy": "backfill"}[kind]
    chosen = next(c for n, c in SCHEDULER_REGISTRY.items() if n.startswith(name))
    end = max(j.submit_time + j.num_iterations for j in jobs) * 2
    began = time.process_time()
    engine = SimulationEngine(cluster, chosen(cluster), jobs, max_sim_time=end)
    engine.METRIC_INTERVAL = 1e12  # its samples of the whole cluster are not what is compared
    engine.run()
    cpu = time.process_time() - began
    print("RESULT " + json.dumps({"cpu_s": cpu, "ended": len(engine._completed)}))


if __name__ == "__main__":
    main()
