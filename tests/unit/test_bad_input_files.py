"""Bad files, as a user meets them: one line with field, value and what is allowed; exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.job import JOB_FIELDS
from skep.files.load import load_any
from skep.files.policy import load_policy
from skep.files.pool import load_pool

JOB = "name: tiny\nrun: python train.py\n"
CHIP = "chips: [{kind: core, idle_power: 50 W}]\n"
NAMES = "allowed: 1 to 64 letters, digits and . _ - (a letter or digit first and last)"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")


def refused(name: str, text: str, load: Callable[[str], object]) -> str:
    Path(name).write_text(text)
    with pytest.raises(InputError) as caught:
        load(name)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            JOB + "chip: 6\n",
            "job.yaml: chip: got 6; no such field (did you mean 'chips'?); "
            f"allowed: {', '.join(JOB_FIELDS)}",
        ),
        (
            JOB + "chips: many!\n",
            f"job.yaml: chips: got 'many!'; {NAMES}",
        ),
        (
            JOB + "retries: often\n",
            "job.yaml: retries: got 'often'; allowed: a whole number from 0 to 10,000",
        ),
        (
            JOB + "chips: {kind: cpu-core, count: -3}\n",
            "job.yaml: chips.count: got -3; allowed: a whole number of 1 or more",
        ),
        (JOB + "chips: 0\n", "job.yaml: chips: got 0; allowed: a whole number of 1 or more"),
        (
            JOB + "workdir: nowhere\n",
            "job.yaml: workdir: got 'nowhere'; there is no {folder}/nowhere; "
            "allowed: a folder that exists",
        ),
        (
            JOB + "workdir: a-file\n",
            "job.yaml: workdir: got 'a-file'; that is a file; allowed: a folder",
        ),
        (
            "name: tiny\nrun: [python\n",
            "job.yaml: line 3, column 1: got the end; not YAML: did not find expected ',' or ']'",
        ),
        (
            "name: tiny\n\trun: x\n",
            "job.yaml: line 2, column 1: got 'run: x'; "
            "not YAML: found a tab character that violates indentation",
        ),
        (
            'name: "a\\e[31mb"\nrun: x\n',
            "job.yaml: name: got 'a\\x1b[31mb'; allowed: text without control characters",
        ),
        (
            'name: "a\\nb"\nrun: x\n',
            f"job.yaml: name: got 'a\\nb'; {NAMES}",
        ),
        (
            'name: "a\\u200eb"\nrun: x\n',
            f"job.yaml: name: got 'a\\u200eb'; {NAMES}",
        ),
    ],
)
def test_jobs(text: str, line: str, tmp_path: Path) -> None:
    assert refused("job.yaml", text, load_any) == line.replace("{folder}", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            CHIP + "sites:\n- {name: a, pools: [{chip: core}]}\n- {name: a, pools: [{chip: core}]}",
            "pool.yaml: sites[1].name: got 'a'; allowed: a name that sites[0] does not have",
        ),
        (
            CHIP + "sites: [{name: a, pools: [{chip: core, nodes: 4}], "
            "power: {cap: 100 W, pue: 1.5}}]",
            "pool.yaml: sites[0].power.cap: got '100 W'; "
            "allowed: 300 W or more, what the 4 idle chips of a draw at a PUE of 1.5",
        ),
        (
            'chips: [{kind: core}]\nsites: [{name: "a\\eb", pools: [{chip: core}]}]',
            "pool.yaml: sites[0].name: got 'a\\x1bb'; allowed: text without control characters",
        ),
    ],
)
def test_pools(text: str, line: str) -> None:
    assert refused("pool.yaml", text, load_pool) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "queues: [{name: a}, {name: a}]",
            "policy.yaml: queues[1].name: got 'a'; allowed: a name that queues[0] does not have",
        ),
        (
            "rules: [{id: a, effect: forbid, reason: b}]",
            "policy.yaml: rules[0].effect: got 'forbid'; allowed: 'allow', 'refuse' or 'license'",
        ),
        (
            "rules: [{id: a, effect: allow, reason: b, since: 2026-02-30}]",
            "policy.yaml: rules[0].since: got '2026-02-30'; allowed: a date such as '2026-01-31'",
        ),
        (
            "rules: [{id: a, effect: allow, reason: b, since: 2026-02-01, until: 2026-01-01}]",
            "policy.yaml: rules[0].until: got '2026-01-01'; allowed: 2026-02-01 (since) or later",
        ),
        (
            "rules:\n- {id: a, effect: allow, reason: b}\n- {id: a, effect: allow, reason: b}",
            "policy.yaml: rules[1].id: got 'a'; allowed: a name that rules[0] does not have",
        ),
    ],
)
def test_policies(text: str, line: str) -> None:
    assert refused("policy.yaml", text, load_policy) == line


@pytest.mark.parametrize("name", ["job.yaml", "job.sbatch"])
def test_a_job_file_of_100_mb(name: str) -> None:
    with Path(name).open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(InputError) as caught:
        load_any(name)
    most = "1 MiB" if name.endswith("yaml") else "64 KiB"
    assert str(caught.value) == f"{name}: file: got 95.4 MiB; allowed: at most {most}"


def test_files_that_are_not_there_or_are_folders() -> None:
    for load in (load_any, load_pool, load_policy):
        with pytest.raises(InputError, match=r"^x\.yaml: file: got nothing; allowed: a file"):
            load("x.yaml")
        with pytest.raises(InputError, match=r"^\.: file: got a folder; allowed: a file$"):
            load(".")


def test_a_workdir_that_may_not_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("locked").mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    assert refused("job.yaml", JOB + "workdir: locked", load_any) == (
        "job.yaml: workdir: got 'locked'; it may not be read; allowed: a readable folder"
    )
