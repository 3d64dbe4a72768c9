"""The commands against a made-up control plane, by ``main`` as a shell calls it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from skep.cli import connect
from skep.cli.complete import TIME_LIMIT, job_names
from skep.cli.main import main
from skep.client import Client

NOW = time.time()
DETAIL = {
    "id": "train-1a", "name": "train", "user": "u", "queue": "default", "priority": 0,
    "phase": "running", "chips": 4, "chip": "cpu-core", "sites": ["a", "b"],
    "submitted_at": NOW - 60, "started_at": NOW - 50, "reason": "most clean power", "version": 4,
    "spec": {"name": "train", "run": "python train.py"},
    "runs": [
        {"run": "train-1a-a1-a", "attempt": 1, "site": "a", "chip": "cpu-core", "chips": 4,
         "nodes": 1, "phase": "running", "placed_at": NOW - 55, "started_at": NOW - 50}
    ],
}  # fmt: skip
VIEW = {k: v for k, v in DETAIL.items() if k not in ("spec", "runs", "version")}
WHY = {
    "id": "train-1a", "name": "train", "phase": "waiting", "summary": "no site has 9 chips free",
    "place": 2, "waiting": 3, "remedy": "5 more chips at one site",
    "refusals": [{"reason": "4 of 9 chips free", "sites": ["a", "b"]}],
    "decisions": [{"at": NOW, "text": "submitted \x1b[2Jto queue default"}],
}  # fmt: skip
SITE = {
    "name": "a", "phase": "up", "reason": "", "country": "SE", "engine": "local",
    "pools": [{"chip": "cpu-core", "chips": 4, "free": 0, "nodes": 1}], "runs": ["train-1a-a1-a"],
    "power": {"cap": 60.0, "drawn": 48.0, "sun": 0.0, "wind": 24.0, "grid": 24.0,
              "renewable": 0.5},
    "silent": 0.2,
}  # fmt: skip
HEALTH = {"pool": "p", "version": "0", "seq": 1, "sites_up": 1, "sites": 1, "waiting": 0,
          "running": 1}  # fmt: skip


class Plane:
    """Answers as a control plane does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.logs = [
            {"parts": [_part("a", "0", "one\ntw"), _part("b", "0", "B\n")], "cursor": "1",
             "ended": False},
            {"parts": [_part("a", "0", "o\nend")], "cursor": "2", "ended": False},
            {"parts": [], "cursor": "2", "ended": True},
        ]  # fmt: skip

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if "nothere" in path:
            told = {"code": "not_found", "message": "there is no job 'nothere'"}
            return httpx.Response(404, json={"error": told})
        if path.endswith("/logs"):
            return httpx.Response(200, json=self.logs.pop(0))
        answers = {
            "/v1/jobs": [VIEW] if request.method == "GET" else DETAIL,
            "/v1/jobs/train": DETAIL,
            "/v1/jobs/train/why": WHY,
            "/v1/jobs/train-1a/why": WHY,
            "/v1/jobs/train/cancel": DETAIL,
            "/v1/sites": [SITE],
            "/v1/health": HEALTH,
        }
        return httpx.Response(200, json=answers[path])


def _part(site: str, process: str, text: str) -> dict[str, object]:
    run = f"train-1a-a1-{site}"
    return {"run": run, "site": site, "process": process, "offset": 0, "text": text}


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plane:
    made = Plane()
    monkeypatch.setenv("SKEP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SKEP_SERVER", raising=False)

    def client(url: str, token: str = "", **_: object) -> Client:
        return Client(url, token, httpx.MockTransport(made), patience=0.0)

    monkeypatch.setattr(connect, "Client", client)
    return made


AT = ["--server", "http://plane:1"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ps"], ["train-1a", "running", "4 cpu-core", "a, b", "most clean power"]),
        (["show", "train"], ["python train.py", "train-1a-a1-a", "1 of any kind over 1 site"]),
        (["why", "train"], ["number 2 of 3 waiting", "2 sites: 4 of 9 chips free (a, b)",
                            "5 more chips at one site"]),
        (["sites"], ["48 W", "60 W", "50%", "SE"]),
        (["top", "--once"], ["4 of 4 chips at work", "48 W drawn, 50% of it renewable", "train"]),
        (["cancel", "train"], ["train (train-1a): cancelling"]),
        (["logs", "train"], ["a/0 | one\n", "a/0 | two\n", "b/0 | B\n", "a/0 | end\n"]),
    ],
)  # fmt: skip
def test_commands_show_what_the_control_plane_says(
    plane: Plane, capsys: pytest.CaptureFixture[str], argv: list[str], words: list[str]
) -> None:
    assert main([*argv, *AT]) == 0
    out = capsys.readouterr().out
    assert [w for w in words if w not in out] == []
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["ps"], VIEW["id"]),
        (["sites"], "a"),
        (["show", "train"], "train-1a"),
        (["why", "train"], "train-1a"),
        (["top"], "a"),
        (["cancel", "train"], "train-1a"),
    ],
)
def test_json_is_one_document_with_the_views(
    plane: Plane, capsys: pytest.CaptureFixture[str], argv: list[str], expected: str
) -> None:
    assert main([*argv, "--json", *AT]) == 0
    data = json.loads(capsys.readouterr().out)
    if argv == ["top"]:
        data = data["sites"]
    first = data[0] if isinstance(data, list) else data
    assert expected in (first.get("id"), first.get("name"))


def test_logs_as_json_are_one_part_a_line(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "train", "--json", *AT]) == 0
    parts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [p["text"] for p in parts] == ["one\ntw", "B\n", "o\nend"]


def test_logs_of_a_site_that_the_job_has_not_names_those_that_it_has(
    plane: Plane, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", "train", "--site", "zz", *AT]) == 4
    assert "it has: a" in capsys.readouterr().err


def test_all_jobs_to_cancel_are_tried_and_the_failure_is_told(
    plane: Plane, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cancel", "nothere", "train", *AT]) == 4
    told = capsys.readouterr()
    assert "train (train-1a): cancelling" in told.out
    assert told.err == "skep: there is no job 'nothere'\n"


def test_a_submit_sends_the_file_with_what_the_options_say(
    plane: Plane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: train\nrun: echo hi\nenv: {A: '1', B: '2'}\n")
    options = ["--chips", "cpu-core:3", "--env", "B=x=y", "--priority", "7", "--name", "other"]
    assert main(["submit", str(file), *options, "--json", *AT]) == 0
    spec = json.loads(plane.asked[-1].content)["spec"]
    assert (spec["name"], spec["priority"]) == ("other", 7)
    assert spec["env"] == {"A": "1", "B": "x=y"}
    assert spec["chips"] == [{"kind": "cpu-core", "count": 3, "as_good_as": None, "kinds": []}]
    assert json.loads(capsys.readouterr().out)["id"] == "train-1a"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["submit", "{file}", "--chips", "many"], "--chips: got 'many'; allowed: COUNT or"),
        (["submit", "{file}", "--chips", "0"], "chips"),
        (["submit", "{file}", "--env", "A"], "--env: got 'A'; allowed: NAME=VALUE"),
        (["submit", "{file}", "--queue", "no/slash"], "queue"),
        (["submit", "/nowhere/job.yaml"], "/nowhere/job.yaml"),
        (["submit"], "FILE"),
        (["submit", "{file}", "--priority", "high"], "integer"),
        (["schema", "jobs"], "jobs"),
        (["nosuch"], "nosuch"),
        (["ps", "--nosuch"], "--nosuch"),
        (["down", "--force", "--keep-jobs"], "--force"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    plane: Plane,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    word: str,
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: train\nrun: echo hi\n")
    argv = [a.format(file=file) for a in argv]
    assert main([*argv, *(AT if argv[0] == "submit" and len(argv) > 1 else [])]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("skep: ")
    assert told.err.count("\n") == 1
    assert word in told.err
    assert plane.asked == []


def test_without_any_control_plane_the_error_says_what_to_do(
    plane: Plane, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (["ps"], ["submit", __file__], ["cancel", "x"]):
        code = main(argv)
        err = capsys.readouterr().err
        if argv[0] != "submit":
            assert code == 3
            assert "skep up" in err
            assert "--server" in err


def test_ctrl_c_is_exit_code_130_without_a_trace(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Plane, "__call__", interrupt)
    assert main(["ps", *AT]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: skep" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0
    assert "--compare-alone" in capsys.readouterr().out
    assert main(["version", "--json"]) == 0
    assert "version" in json.loads(capsys.readouterr().out)
    assert main(["schema", "pool"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]


def test_start_up_loads_nothing_heavy() -> None:
    code = (
        "import sys, skep.cli.main;"
        "print([m for m in ('pydantic', 'httpx', 'rich.console', 'numpy', 'fastapi', 'matplotlib',"
        " 'sqlalchemy', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from skep.cli.main import main; sys.exit(main(['schema', 'job']))"
    reader = f'{sys.executable} -c "{code}" | true; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", reader], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_completion_knows_jobs_and_gives_up_in_time(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKEP_SERVER", "http://plane:1")
    assert job_names("tra") == ["train", "train-1a"]
    assert job_names("x") == []

    def slow(*_: object) -> httpx.Response:
        time.sleep(3 * TIME_LIMIT)
        return httpx.Response(200, json=[VIEW])

    monkeypatch.setattr(Plane, "__call__", slow)
    begin = time.monotonic()
    assert job_names("tra") == []
    assert time.monotonic() - begin < 2.5 * TIME_LIMIT
