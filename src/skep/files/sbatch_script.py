"""The command that runs a Slurm batch script at a site: the script as it is, by its own shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from skep.files.sbatch_chips import counts
from skep.files.sbatch_options import Option


def run_text(text: str, name: str, options: Mapping[str, Option], source: str) -> str:
    """A shell command: sets Slurm's variables where the site has not, then runs the script."""
    end = "SKEP_END_OF_SCRIPT"
    while end in text:
        end += "_"
    body = text if text.endswith("\n") else text + "\n"
    shell = " ".join(shlex.quote(word) for word in text.split("\n", 1)[0][2:].split(None, 1))
    return (
        "\n".join(_variable(*pair) for pair in _variables(name, options, source).items())
        + f"\ncat > .slurm_script <<'{end}'\n{body}{end}\nexec {shell} ./.slurm_script\n"
    )


def _variable(name: str, value: str) -> str:
    return f'export {name}="${{{name}:-{value}}}"'


def _variables(name: str, options: Mapping[str, Option], source: str) -> dict[str, str]:
    """What Slurm documents as a batch script's environment, as far as skep knows it."""
    asked = counts(options, source)
    nodes, tasks = str(asked["nodes"]), str(asked["ntasks"])
    variables = {
        "SLURM_JOB_ID": "$SKEP_JOB",
        "SLURM_JOB_NAME": name,
        "SLURM_SUBMIT_DIR": "$PWD",
        "SLURM_NNODES": nodes,
        "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NTASKS": tasks,
        "SLURM_NPROCS": tasks,
        "SLURM_CPUS_ON_NODE": str(
            max(1, asked["ntasks"] // asked["nodes"]) * asked["cpus-per-task"]
        ),
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }
    for option in ("cpus-per-task", "ntasks-per-node"):
        if option in options:
            variables[f"SLURM_{option.upper().replace('-', '_')}"] = options[option].value
    return variables
