"""Real processes: a job stopped for another goes on from its checkpoint; an elastic one grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.engines.journal import alive_twice, read
from tests.integration.test_cli_pool import LIMIT, Shell, alive, until

POLICY = "preemption: true\n"
# Counts to 40 and notes each number in its checkpoint; tells where it began.
WORK = """
run: |
  at=$(cat $SKEP_CHECKPOINT_DIR/at 2>/dev/null || echo 0)
  echo began at $at
  trap 'echo told to stop at $at; exit 0' TERM
  while [ $at -lt 40 ]; do at=$((at + 1)); echo $at > $SKEP_CHECKPOINT_DIR/at; sleep 0.25; done
  echo counted to $at
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    made.skep("up", "--pool", str(made.pool), "--policy", str(policy))
    yield made
    made.start("down", "--force").wait(LIMIT)
    assert not any(alive(pid) for pid in made.children().values())
    records = [r for path in made.home.path.rglob("journal.jsonl") for r in read(path)]
    assert records
    assert not alive_twice(records)


def submit(shell: Shell, name: str, text: str) -> None:
    shell.skep("submit", str(shell.job(name, text)))


def test_a_job_that_gives_way_goes_on_from_its_checkpoint(shell: Shell) -> None:
    low = f"chips: 2\nper: site\nduration: 1h\ncheckpoint_every: 1s\ngrace: 5s{WORK}"
    submit(shell, "low", low)
    until(lambda: "began at 0" in shell.skep("logs", "low"), "it does not start")
    submit(shell, "high", "chips: 2\nper: site\npriority: 5\nrun: echo here instead; sleep 1")
    until(lambda: shell.phase("high") == "succeeded", "the high one does not run")
    until(lambda: shell.phase("low") == "succeeded", "the low one does not go on")
    logs = shell.skep("logs", "low")
    assert "told to stop" in logs  # it had its notice, and its grace
    began = [int(line.rsplit(" ", 1)[1]) for line in logs.splitlines() if "began at" in line]
    assert len(began) == 2
    assert began[1] > 0
    assert "counted to 40" in logs
    assert "stopped for high" in shell.skep("why", "low").replace("\n", " ")
    runs = json.loads(shell.skep("show", "low", "--json"))["runs"]
    assert [run["phase"] for run in runs] == ["stopped", "succeeded"]


def test_an_elastic_job_takes_chips_that_come_free(shell: Shell) -> None:
    submit(shell, "first", "chips: 2\nper: site\nrun: sleep 4")
    until(lambda: shell.phase("first") == "running", "the first one does not start")
    grows = "span: {min: 1, max: 2}\nelastic: {min: 1, max: 3}\nper: site\nduration: 1h\n"
    submit(shell, "grows", f"{grows}run: echo $SKEP_SITE joined; sleep 60")
    until(lambda: shell.phase("grows") == "running", "it does not start")
    until(lambda: "north joined" in shell.skep("logs", "grows"), "it does not grow")
    assert "south joined" in shell.skep("logs", "grows")
    assert "grows by" in shell.skep("why", "grows")


def test_a_job_moves_from_a_site_that_is_evacuated(shell: Shell) -> None:
    """A new policy for a pool that is up: the job stops at north and goes on at south."""
    mark, kept = shell.folder / "go-on", shell.folder / "kept"
    work = WORK.replace("[ $at -lt 40 ]", f"[ ! -e {mark} ]")
    here = f"chips: 1\ndata: [north]\nduration: 1h\ngrace: 5s\ncheckpoint: {kept}{work}"
    submit(shell, "moves", here)
    until(lambda: "began at 0" in shell.skep("logs", "moves"), "it does not start")
    assert json.loads(shell.skep("show", "moves", "--json"))["sites"] == ["north"]
    shell.skep("down", "--keep-jobs")
    policy = shell.folder / "evacuate.yaml"
    policy.write_text("evacuate: [north]\n")
    shell.skep("up", "--pool", str(shell.pool), "--policy", str(policy))
    until(lambda: shell.skep("logs", "moves").count("began at") == 2, "it does not move")
    mark.write_text("")
    until(lambda: shell.phase("moves") == "succeeded", "it does not go on at south")
    detail = json.loads(shell.skep("show", "moves", "--json"))
    assert [(run["site"], run["phase"]) for run in detail["runs"]] == [
        ("north", "stopped"),
        ("south", "succeeded"),
    ]
    assert detail["moves"] == 1
    began = [x for x in shell.skep("logs", "moves").splitlines() if "began at" in x]
    assert int(began[1].rsplit(" ", 1)[1]) > 0  # from its checkpoint
    told = shell.skep("why", "moves").replace("\n", " ")
    assert "moves from north to 1 cpu-core at south: north is evacuated" in told
    assert "moves (" in told
    assert "has succeeded" in told
    assert "moved once" in shell.skep("show", "moves")
