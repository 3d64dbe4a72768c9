"""Words of other tools, and what they are called here."""

from __future__ import annotations

_CHIPS = "here: chips, such as 'chips: h100-sxm:8'"
_RUN = "here: run, one shell command or several lines"
_SPAN = "here: chips counts them all, span says over how many sites"
_ENV = "here: env, a mapping of names to text"
_DIR = "here: workdir, a folder sent along"
_LIMIT = "here: time_limit, such as '2h30m'"

JOB_HINTS = {
    # SkyPilot
    "num_nodes": _SPAN,
    "accelerators": _CHIPS,
    "resources": _CHIPS,
    "envs": _ENV,
    "file_mounts": _DIR,
    "any_of": "here: chips takes a list of alternatives",
    # dstack
    "commands": _RUN,
    "init": "here: setup, run once at each site",
    "gpu": _CHIPS,
    "max_duration": _LIMIT,
    "working_dir": _DIR,
    "retry": "here: retries, a whole number",
    # Kubernetes
    "command": _RUN,
    "args": _RUN,
    "image": "no container image; here: setup prepares a site, run is a shell command",
    "replicas": _SPAN,
    "parallelism": _SPAN,
    "backoffLimit": "here: retries, a whole number",
    "activeDeadlineSeconds": _LIMIT,
    "apiVersion": "this is no Kubernetes object; here: name, run and chips at the top",
    "metadata": "here: name at the top",
    "spec": "here: its fields at the top",
    "priorityClassName": "here: priority, a number or a class of the policy",
    # Slurm
    "nodes": _SPAN,
    "gres": _CHIPS,
    "gpus": _CHIPS,
    "ntasks": _CHIPS,
    "cpus": "here: chips, such as 'chips: cpu-core:4'",
    "time": _LIMIT,
    "partition": "here: chips says the kind, queue says the queue",
    "account": "here: queue",
    # Ray
    "entrypoint": _RUN,
    "runtime_env": "here: env, workdir and setup",
    # Of a request for chips
    "type": "here: kind",
    "model": "here: kind",
}
