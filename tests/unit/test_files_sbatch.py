"""Slurm batch scripts as they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.load import load_any
from skep.files.loaded import Loaded
from skep.files.sbatch import load_sbatch
from skep.model.job import ChipRequest

KINDS = ("cpu-core", "h100-sxm", "h100-pcie", "a100-sxm-80gb")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(*lines: str, body: str = "echo hi", shell: str = "#!/bin/bash", **environ: str) -> Loaded:
    options = "\n".join(f"#SBATCH {line}" for line in lines)
    Path("script.sbatch").write_text(f"{shell}\n{options}\n{body}\n")
    return load_sbatch("script.sbatch", kinds=KINDS, environ=environ)


def refusal(*lines: str, body: str = "echo hi", shell: str = "#!/bin/bash") -> str:
    with pytest.raises(InputError) as caught:
        load(*lines, body=body, shell=shell)
    return str(caught.value)


def run(loaded: Loaded, **environ: str) -> str:
    """What the job prints, run as an engine runs it."""
    folder = Path("work")
    folder.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "SKEP_JOB": "job-7", **environ}
    done = subprocess.run(
        ["/bin/sh", "-c", loaded.job.run], cwd=folder, env=env, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def core(count: int) -> tuple[ChipRequest, ...]:
    return (ChipRequest(kind="cpu-core", count=count),)


def test_a_script_without_options_takes_one_core_and_runs_once(tmp_path: Path) -> None:
    job = load().job
    assert (job.name, job.per, job.chips) == ("script.sbatch", "site", core(1))
    assert (job.retries, job.on_site_loss, job.time_limit) == (0, "replace", None)
    assert job.workdir == str(tmp_path)
    assert job.span.most == 1


@pytest.mark.parametrize(
    ("lines", "chips"),
    [
        (["-n 4"], core(4)),
        (["-n4", "-c 2"], core(8)),
        (["--ntasks=4", "--cpus-per-task=2"], core(8)),
        (["-N 3"], core(3)),
        (["--nodes 2-4"], core(2)),
        (["-N2 --ntasks-per-node=4 -c 3"], core(24)),
        (["-N 2 # two of them"], core(2)),
        (["-n 2", "-n 5"], core(5)),
        (["--gres=gpu:2"], (ChipRequest(count=2),)),
        (["--gres=gpu"], (ChipRequest(count=1),)),
        (["--gres=gpu:a100-sxm-80gb:2"], (ChipRequest(kind="a100-sxm-80gb", count=2),)),
        (
            ["-N 2", "--gres=gpu:h100:8"],
            (ChipRequest(kind="h100-sxm", count=16), ChipRequest(kind="h100-pcie", count=16)),
        ),
        (
            ["--gres gpu:H100:8"],
            (ChipRequest(kind="h100-sxm", count=8), ChipRequest(kind="h100-pcie", count=8)),
        ),
        (["--gres=gpu:tesla:1"], (ChipRequest(kind="tesla", count=1),)),
        (["--gres=shard:1,gpu:tesla:2"], (ChipRequest(kind="tesla", count=2),)),
        (["--gres=craynetwork:1"], core(1)),
        (["--gpus=4"], (ChipRequest(count=4),)),
        (["-G tesla:4", "-N 2"], (ChipRequest(kind="tesla", count=4),)),
        (["--gpus-per-node=tesla:4", "-N 2"], (ChipRequest(kind="tesla", count=8),)),
        (["--gpus-per-task=1", "-n 6"], (ChipRequest(count=6),)),
    ],
)
def test_chips(lines: list[str], chips: tuple[ChipRequest, ...]) -> None:
    assert load(*lines).job.chips == chips


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 1800),
        ("30:30", 1830),
        ("2:00:00", 7200),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-00:00:01", 86401),
        ("0", None),
        ("UNLIMITED", None),
        ("infinite", None),
    ],
)
def test_times_are_those_of_slurm(written: str, seconds: float | None) -> None:
    assert load(f"--time={written}").job.time_limit == seconds
    assert load(f"-t {written}").job.time_limit == seconds


def test_names_folders_and_priority(tmp_path: Path) -> None:
    Path("code").mkdir()
    job = load("-J my-job", "-D code", "--nice=50").job
    assert (job.name, job.workdir, job.priority) == ("my-job", str(tmp_path / "code"), -50)
    assert load("--nice=-2000000").job.priority == 1000
    assert load("--job-name='my job/1'").job.name == "my-job-1"
    assert load("--job-name='///'").job.name == "sbatch"


def test_requeue_says_what_a_lost_site_means() -> None:
    assert load("--requeue").job.on_site_loss == "replace"
    assert load("--no-requeue").job.on_site_loss == "fail"
    assert load("--no-requeue", "--requeue").job.on_site_loss == "replace"


def test_exports_are_taken_by_name_and_never_all() -> None:
    got = load("--export=ALL,A=1,B,GONE", B="from here", SECRET="no")
    assert got.job.env == {"A": "1", "B": "from here"}
    assert load("--export=NONE", B="x").job.env == {}
    assert load("--export=ALL", B="x").job.env == {}
    assert load(B="x").job.env == {}


def test_options_end_at_the_first_command_and_comments_do_not_count() -> None:
    got = load("-n 2", body="\n# SBATCH -n 3\n##SBATCH -n 4\n#SBATCH -c 3\ncd .\n#SBATCH -n 9")
    assert got.job.chips == core(6)


def test_what_has_no_meaning_here_is_noted() -> None:
    got = load("-p gpu", "--mem=4G --mail-type=END", "--frobnicate much", "-o out.txt", "-v")
    assert got.notes == (
        "line 2: --partition is not used: skep has one pool, and a script's job goes to the "
        "queue 'default'",
        "line 3: --mem is not used: chips come with their memory",
        "line 3: --mail-type is not used: skep sends no mail",
        "line 4: --frobnicate is not used: it has no meaning in skep",
        "line 5: --output is not used: what it prints is kept by skep: skep logs JOB",
    )
    assert load("-n 2").notes == ()


def test_gpus_without_a_type_and_srun_are_noted() -> None:
    assert load("--gpus=2").notes == (
        "GPUs of no type: any chip kind will do; --gres=gpu:TYPE:COUNT asks for one kind",
    )
    srun = ("the script calls srun, which only sites with Slurm have",)
    assert load(body="srun hostname").notes == srun
    assert load(body="cd x && srun -n 2 hostname").notes == srun
    assert load(body="# srun is not used\necho srun-less").notes == ()


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (
            ["--array=1-10"],
            "line 2, --array: got '1-10'; "
            "allowed: one job for each script; submit it once for each index",
        ),
        (
            ["-d afterok:1"],
            "line 2, --dependency: got 'afterok:1'; "
            "allowed: jobs that wait for no other; submit it when the other has ended",
        ),
        (
            ["-H"],
            "line 2, --hold: got nothing; allowed: jobs that may start; submit it when it may",
        ),
        (
            ["-n 1", "hetjob"],
            "line 3: got 'hetjob'; "
            "allowed: one kind of chips for a job; give each part a script of its own",
        ),
        (["-n 0"], "line 2, --ntasks: got '0'; allowed: a whole number of 1 or more"),
        (["-c=-2"], "line 2, --cpus-per-task: got '-2'; allowed: a whole number of 1 or more"),
        (["--nodes=few"], "line 2, --nodes: got 'few'; allowed: a whole number of 1 or more"),
        (["--ntasks="], "line 2, --ntasks: got nothing; allowed: a whole number of 1 or more"),
        (
            ["--gres=gpu:a:b:1"],
            "line 2, --gres: got 'gpu:a:b:1'; "
            "allowed: gpu:TYPE:COUNT or gpu:COUNT, one kind of chips for a job",
        ),
        (
            ["--gpus=a:1,b:2"],
            "line 2, --gpus: got 'a:1,b:2'; "
            "allowed: TYPE:COUNT or COUNT, one kind of chips for a job",
        ),
        (
            ["--gpus=0"],
            "line 2, --gpus: got '0'; allowed: TYPE:COUNT or COUNT, one kind of chips for a job",
        ),
        (
            ["--time=2h"],
            "line 2, --time: got '2h'; "
            "allowed: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS",
        ),
        (["--nice=very"], "line 2, --nice: got 'very'; allowed: a whole number"),
        (
            ["--export=A-B=1"],
            "line 2, --export: got 'A-B=1'; "
            "allowed: ALL, NONE, NAME or NAME=value, with commas between",
        ),
        (
            ["nodes=2"],
            "line 2: got 'nodes=2'; allowed: options such as --nodes=2 or -N 2",
        ),
        (["-J 'open"], 'line 2: got "-J \'open"; not readable: No closing quotation'),
        (
            ["-D /not/here"],
            "workdir: got '/not/here'; there is no /not/here; allowed: a folder that exists",
        ),
    ],
)
def test_refusals(lines: list[str], line: str) -> None:
    assert refusal(*lines) == f"script.sbatch: {line}"


def test_a_script_needs_a_shell_and_unix_lines() -> None:
    said = "allowed: a script whose first line names its shell, such as '#!/bin/bash'"
    assert refusal(shell="echo hi") == f"script.sbatch: line 1: got 'echo hi'; {said}"
    assert refusal(shell="#!") == f"script.sbatch: line 1: got '#!'; {said}"
    Path("dos.sbatch").write_bytes(b"#!/bin/bash\r\necho hi\r\n")
    with pytest.raises(InputError, match="run dos2unix"):
        load_sbatch("dos.sbatch")


def test_the_script_runs_by_its_own_shell_with_slurms_variables() -> None:
    body = (
        'echo "$SLURM_JOB_NAME $SLURM_JOB_ID $SLURM_NTASKS $SLURM_NNODES $SLURM_CPUS_PER_TASK"\n'
        'echo "$SLURM_NTASKS_PER_NODE $SLURM_CPUS_ON_NODE"; echo ${BASH_VERSION:+bash}\n'
        '[ "$SLURM_SUBMIT_DIR" = "$PWD" ] && echo same\n'
        "cat <<'EOF'\n$PATH \\ `x` 'quoted'\nEOF\n"
    )
    loaded = load("-J test", "-N 2 --ntasks-per-node=4 -c 3", body=body)
    assert run(loaded) == "test job-7 8 2 3\n4 12\nbash\nsame\n$PATH \\ `x` 'quoted'\n\n".replace(
        "\n\n", "\n"
    )


def test_variables_that_the_site_sets_stay() -> None:
    loaded = load("-n 4", body='echo "$SLURM_JOB_ID $SLURM_NTASKS"')
    assert run(loaded, SLURM_JOB_ID="99", SLURM_NTASKS="2") == "99 2\n"


def test_other_shells_arguments_and_exit_codes_are_kept() -> None:
    assert run(load(shell="#!/usr/bin/env python3", body="print(1 + 1)")) == "2\n"
    assert run(load(shell="#!/bin/sh -e", body="false\necho not reached")) == ""
    loaded = load(body="exit 3")
    Path("work").mkdir(exist_ok=True)
    assert subprocess.run(["/bin/sh", "-c", loaded.job.run], cwd="work").returncode == 3


def test_a_script_may_hold_any_text() -> None:
    body = "cat <<'SKEP_END_OF_SCRIPT'\ninside\nSKEP_END_OF_SCRIPT\necho after"
    assert run(load(body=body)) == "inside\nafter\n"


def test_a_job_name_cannot_run_commands() -> None:
    assert run(load("-J '$(echo bad)\"`id`'", body="echo $SLURM_JOB_NAME")) == "echo-bad-id\n"


def test_what_is_given_decides_how_it_is_read() -> None:
    script = "#!/bin/bash\n#SBATCH -n 2\ntrue\n"
    for name in ("a.sbatch", "a.sh", "a.slurm", "plain"):
        Path(name).write_text(script)
        assert load_any(name).job.chips == core(2)
    Path("job.yaml").write_text("name: a\nrun: b\n")
    assert load_any("job.yaml").job.name == "a"


def test_types_are_looked_up_in_the_catalogue() -> None:
    Path("a.sbatch").write_text("#!/bin/bash\n#SBATCH --gpus=h100:2\n")
    kinds = [request.kind for request in load_sbatch("a.sbatch").job.chips]
    assert "h100-sxm" in kinds
    assert all(kind and kind.startswith("h100-") for kind in kinds)
